import type { ClientHttp2Stream } from 'node:http2';
import { createFileRegistry, type DescMessage, type DescMethodUnary, fromJson } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type { Transport } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import type { EncodedPoint } from './encoding.ts';
import { isTimeout, unconfirmed } from './failure.ts';
import { failureOfGrpc } from './grpcFailure.ts';
import type { UpsertServer, Upserts } from './upserts.ts';

/** UpdateStatus of points.proto. */
const COMPLETED = 2;
const STATUS_NAMES = ['unknown', 'acknowledged', 'completed', 'clock rejected', 'wait timeout'];
/** Soon: what lies between may forget a connection that nothing is sent on, and tell nobody. */
const IDLE_TIMEOUT_MS = 10_000;
/** Node refuses further requests (`ENHANCE_YOUR_CALM`) beyond 10 MB under way; what is under way is bounded elsewhere. */
const MAX_SESSION_MEMORY_MB = 4000;

/**
 * What is used of Qdrant's protobuf files. Points stand here as bytes: encoded messages, which look the same on the
 * wire.
 */
const REGISTRY = createFileRegistry(
  fromJson(FileDescriptorProtoSchema, {
    name: 'trivec/qdrant.proto',
    package: 'qdrant',
    syntax: 'proto3',
    messageType: [
      {
        name: 'UpsertPoints',
        field: [
          { name: 'collection_name', number: 1, type: 'TYPE_STRING', label: 'LABEL_OPTIONAL' },
          { name: 'wait', number: 2, type: 'TYPE_BOOL', label: 'LABEL_OPTIONAL' },
          { name: 'points', number: 3, type: 'TYPE_BYTES', label: 'LABEL_REPEATED' },
        ],
      },
      {
        name: 'PointsOperationResponse',
        field: [
          {
            name: 'result',
            number: 1,
            type: 'TYPE_MESSAGE',
            typeName: '.qdrant.UpdateResult',
            label: 'LABEL_OPTIONAL',
          },
        ],
      },
      {
        name: 'UpdateResult',
        field: [{ name: 'status', number: 2, type: 'TYPE_UINT32', label: 'LABEL_OPTIONAL' }],
      },
      {
        name: 'CollectionExistsRequest',
        field: [{ name: 'collection_name', number: 1, type: 'TYPE_STRING', label: 'LABEL_OPTIONAL' }],
      },
      { name: 'CollectionExistsResponse' },
    ],
    service: [
      {
        name: 'Points',
        method: [
          {
            name: 'Upsert',
            inputType: '.qdrant.UpsertPoints',
            outputType: '.qdrant.PointsOperationResponse',
          },
        ],
      },
      {
        name: 'Collections',
        method: [
          {
            name: 'CollectionExists',
            inputType: '.qdrant.CollectionExistsRequest',
            outputType: '.qdrant.CollectionExistsResponse',
          },
        ],
      },
    ],
  }),
  () => undefined,
);

const UPSERT = methodOf('qdrant.Points');
const COLLECTION_EXISTS = methodOf('qdrant.Collections');

/**
 * A connection that breaks says so only once its socket has closed. By then the next request may have opened another,
 * and nobody listens to the old one any more: its error would end the process.
 */
class Sessions extends Http2SessionManager {
  readonly #heard = new WeakSet<object>();

  override async request(...request: Parameters<Http2SessionManager['request']>): Promise<ClientHttp2Stream> {
    const stream = await super.request(...request);
    const { session } = stream;
    if (session !== undefined && !this.#heard.has(session)) {
      this.#heard.add(session);
      session.on('error', () => undefined);
    }
    return stream;
  }
}

interface Connection {
  sessions: Http2SessionManager;
  transport: Transport;
  /** On their way. */
  requests: number;
}

/**
 * Upserts as protobuf messages, over one HTTP/2 connection. Where a request is not answered in time, nobody knows whether
 * the server is slow or the connection dead: those that come after go by a new one, and what is on its way by the
 * old one may still be answered.
 */
export class GrpcUpserts implements Upserts {
  readonly #server: UpsertServer;
  readonly #baseUrl: string;
  readonly #headers: Record<string, string>;
  readonly #open = new Set<Connection>();
  #current: Connection | undefined;

  /** `baseUrl` with its port. Connects to nothing yet. */
  constructor(server: UpsertServer, baseUrl: string) {
    this.#server = server;
    this.#baseUrl = baseUrl;
    this.#headers = server.apiKey === undefined ? {} : { 'api-key': server.apiKey };
  }

  async upsert(
    collection: string,
    points: readonly EncodedPoint[],
    { confirm, signal }: { confirm: boolean; signal?: AbortSignal | undefined },
  ): Promise<number> {
    const input = { collectionName: collection, wait: confirm, points: points.map(({ bytes }) => bytes) };
    const answer = await this.#call(UPSERT, input, signal);
    const status = (answer as { result?: { status?: number } }).result?.status ?? 0;
    if (confirm && status !== COMPLETED) throw unconfirmed(STATUS_NAMES[status]);
    return points.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  /** Whether it answers, and takes the key. Throws QdrantFailure. */
  async check(collection: string, signal?: AbortSignal): Promise<void> {
    await this.#call(COLLECTION_EXISTS, { collectionName: collection }, signal);
  }

  async close(): Promise<void> {
    this.#current = undefined;
    for (const { sessions } of this.#open) sessions.abort();
    this.#open.clear();
  }

  async #call(
    method: DescMethodUnary,
    input: Record<string, unknown>,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    const { timeoutMs } = this.#server;
    this.#current ??= this.#connect();
    const connection = this.#current;
    connection.requests++;
    try {
      return (await connection.transport.unary(method, signal, timeoutMs, this.#headers, input)).message;
    } catch (error) {
      signal?.throwIfAborted();
      const failure = failureOfGrpc(error, { address: connection.sessions.authority, timeoutMs });
      if (isTimeout(failure) && connection === this.#current) this.#current = undefined;
      throw failure;
    } finally {
      connection.requests--;
      if (connection !== this.#current && connection.requests === 0) {
        this.#open.delete(connection);
        connection.sessions.abort();
      }
    }
  }

  #connect(): Connection {
    const baseUrl = this.#baseUrl;
    const sessions = new Sessions(
      baseUrl,
      { idleConnectionTimeoutMs: IDLE_TIMEOUT_MS },
      { maxSessionMemory: MAX_SESSION_MEMORY_MB },
    );
    const transport = createGrpcTransport({ baseUrl, sessionManager: sessions, acceptCompression: [] });
    const connection = { sessions, transport, requests: 0 };
    this.#open.add(connection);
    return connection;
  }
}

function methodOf(service: string): DescMethodUnary<DescMessage, DescMessage> {
  return REGISTRY.getService(service)!.methods[0] as DescMethodUnary;
}
