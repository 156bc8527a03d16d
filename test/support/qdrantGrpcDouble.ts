import { once } from 'node:events';
import { createServer, type Http2Server, type Http2ServerRequest, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Code, ConnectError, createContextKey, createContextValues } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { Fault, QdrantDouble } from './qdrantDouble.ts';
import { COLLECTION_EXISTS, type PointMessage, pointOf, UPSERT } from './qdrantMessages.ts';
import { Refusal } from './qdrantRules.ts';

const CODES: Record<number, Code> = {
  400: Code.InvalidArgument,
  401: Code.Unauthenticated,
  403: Code.PermissionDenied,
  404: Code.NotFound,
  408: Code.DeadlineExceeded,
  409: Code.AlreadyExists,
  422: Code.InvalidArgument,
  429: Code.ResourceExhausted,
  503: Code.Unavailable,
};
const [ACKNOWLEDGED, COMPLETED] = [1, 2];
const REQUEST = createContextKey<Http2ServerRequest | undefined>(undefined);

/**
 * The gRPC port of a double: the same points, key and faults, HTTP/2 without TLS. Its requests are seen with the
 * method `GRPC`.
 */
export class QdrantGrpcDouble {
  readonly #double: QdrantDouble;
  readonly #sessions = new Set<ServerHttp2Session>();
  #server: Http2Server;
  #port = 0;

  private constructor(double: QdrantDouble) {
    this.#double = double;
    this.#server = this.#listener();
  }

  static async start(double: QdrantDouble): Promise<QdrantGrpcDouble> {
    const grpc = new QdrantGrpcDouble(double);
    await grpc.up();
    return grpc;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async down(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const session of this.#sessions) session.destroy();
    await closed;
  }

  async up(): Promise<void> {
    this.#server = this.#listener();
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    if (this.#server.listening) await this.down();
  }

  #listener(): Http2Server {
    const adapter = connectNodeAdapter({
      routes: (router) => {
        router.rpc(UPSERT, async (message, { values, requestHeader }) => {
          const request = values.get(REQUEST)!;
          return this.#answer(request, requestHeader, (fault) => this.#upsert(message, fault));
        });
        router.rpc(COLLECTION_EXISTS, async (message, { values, requestHeader }) => {
          const { collectionName } = message as unknown as { collectionName: string };
          return this.#answer(values.get(REQUEST)!, requestHeader, () => ({
            result: { exists: this.#double.store.has(collectionName) },
          }));
        });
      },
      contextValues: (request) => createContextValues().set(REQUEST, request as Http2ServerRequest),
    });
    const server = createServer(adapter);
    server.on('session', (session: ServerHttp2Session) => {
      this.#sessions.add(session);
      session.on('close', () => this.#sessions.delete(session));
      session.on('error', () => undefined);
    });
    return server;
  }

  async #answer<T>(
    request: Http2ServerRequest,
    headers: Headers,
    handle: (fault: Fault | undefined) => T,
  ): Promise<T> {
    const double = this.#double;
    const path = request.url;
    double.requests.push({ method: 'GRPC', path, bytes: Number(headers.get('content-length') ?? 0) });
    if (double.apiKey !== undefined && headers.get('api-key') !== double.apiKey)
      throw new ConnectError(
        'Must provide an API key or an Authorization bearer token',
        Code.Unauthenticated,
      );
    const fault = double.takeFault({ method: 'GRPC', path, body: '' });
    if (fault?.kind === 'slow') await sleep(fault.ms);
    if (fault?.kind === 'status')
      throw new ConnectError(
        fault.message ?? `Injected ${fault.status}`,
        CODES[fault.status] ?? Code.Internal,
        fault.retryAfter === undefined ? {} : { 'retry-after': fault.retryAfter },
      );
    const cut = () => request.stream.session?.destroy();
    if (fault?.kind === 'reset' && !fault.applied) cut();
    try {
      const answer = fault?.kind === 'reset' && !fault.applied ? undefined : handle(fault);
      if (fault?.kind === 'half' || fault?.kind === 'reset') cut();
      if (answer === undefined) throw new ConnectError('cut', Code.Aborted);
      return answer;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      throw new ConnectError(error.message, CODES[error.status] ?? Code.Internal);
    }
  }

  #upsert(message: object, fault: Fault | undefined): { result: { status: number } } {
    const { store } = this.#double;
    const { collectionName, wait, points } = message as {
      collectionName: string;
      wait: boolean;
      points: PointMessage[];
    };
    if (points.some(({ vectors }) => vectors === undefined)) throw new Refusal(400, 'Expected some vectors');
    const parsed = store.parseUpsert(collectionName, { points: points.map(pointOf) }, '');
    if (fault?.kind === 'half') store.apply(collectionName, parsed.slice(0, parsed.length >> 1));
    else if (fault?.kind !== 'lost') store.apply(collectionName, parsed);
    return { result: { status: wait ? COMPLETED : ACKNOWLEDGED } };
  }
}
