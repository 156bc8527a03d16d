import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseFilter } from './qdrantFilter.ts';
import { runQuery } from './qdrantQuery.ts';
import {
  BODY_LIMIT_BYTES,
  badFormat,
  type Id,
  isObject,
  type Json,
  parseId,
  Refusal,
} from './qdrantRules.ts';
import { compareIds, QdrantStore, requireLimit, type StoredPoint, shownPoint } from './qdrantStore.ts';

/** What goes wrong with the next requests that it is for. */
export type Fault = {
  /** All requests unless said. */
  when?: (request: { method: string; path: string; body: string }) => boolean;
  /** How many requests it meets; 1 unless said. */
  times?: number;
} & (
  | { kind: 'status'; status: number; message?: string; retryAfter?: string }
  /** The connection is cut: before anything is done, or after all of it. */
  | { kind: 'reset'; applied?: boolean }
  /** The first half of the points is written, then the connection is cut. */
  | { kind: 'half' }
  /** Acknowledged, and never written. */
  | { kind: 'lost' }
  | { kind: 'slow'; ms: number }
);

export interface SeenRequest {
  method: string;
  path: string;
  bytes: number;
}

/**
 * A Qdrant for tests: real HTTP, points in memory, strict where the real one is, and faults on demand. What
 * it answers is compared with a real server's answers in test/integration/qdrantDouble.test.ts.
 */
export class QdrantDouble {
  readonly store = new QdrantStore();
  readonly requests: SeenRequest[] = [];
  readonly apiKey: string | undefined;
  /** What it says it is. */
  version = '1.18.3';
  /** Largest number of requests in work at once. */
  maxInFlight = 0;
  #server: Server;
  #port = 0;
  #inFlight = 0;
  #faults: Fault[] = [];

  private constructor(apiKey?: string) {
    this.apiKey = apiKey;
    this.#server = this.#listener();
  }

  static async start(options: { apiKey?: string } = {}): Promise<QdrantDouble> {
    const double = new QdrantDouble(options.apiKey);
    await double.up();
    return double;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  fail(...faults: Fault[]): void {
    this.#faults.push(...faults);
  }

  heal(): void {
    this.#faults = [];
  }

  /** Connections are cut and refused until `up`. What is stored stays. */
  async down(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
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

  /** Points of a collection in the order of their ids. */
  points(collection: string): StoredPoint[] {
    return [...this.store.find(collection).points.values()].sort((a, b) => compareIds(a.id, b.id));
  }

  #listener(): Server {
    return createServer((request, response) => {
      this.maxInFlight = Math.max(this.maxInFlight, ++this.#inFlight);
      this.#serve(request, response)
        .catch((error: unknown) => {
          if (error instanceof Refusal) answer(response, error.status, { status: { error: error.message } });
          else answer(response, 500, { status: { error: `Service internal error: ${String(error)}` } });
        })
        .finally(() => {
          this.#inFlight--;
        });
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const method = request.method ?? 'GET';
    const url = new URL(request.url ?? '/', 'http://double');
    this.requests.push({ method, path: url.pathname, bytes: body.length });
    if (this.apiKey !== undefined && url.pathname !== '/' && request.headers['api-key'] !== this.apiKey) {
      response.writeHead(401, { 'content-type': 'text/plain' });
      response.end('Must provide an API key or an Authorization bearer token');
      return;
    }
    if (body.length > BODY_LIMIT_BYTES)
      throw new Refusal(
        400,
        `JSON payload (${body.length} bytes) is larger than allowed (limit: ${BODY_LIMIT_BYTES} bytes).`,
      );
    const text = body.toString('utf8');
    const fault = this.takeFault({ method, path: url.pathname, body: text });
    if (fault?.kind === 'slow') await sleep(fault.ms);
    if (fault?.kind === 'status') {
      if (fault.retryAfter !== undefined) response.setHeader('retry-after', fault.retryAfter);
      throw new Refusal(fault.status, fault.message ?? `Injected ${fault.status}`);
    }
    if (fault?.kind === 'reset' && !fault.applied) {
      request.socket.destroy();
      return;
    }
    const result = this.#handle(method, url, text, fault);
    if (fault?.kind === 'half' || fault?.kind === 'reset') request.socket.destroy();
    else if (url.pathname === '/') answer(response, 200, result as Json);
    else answer(response, 200, { result, status: 'ok', time: 0 });
  }

  /** The next fault that is for this request; it counts as met. */
  takeFault(request: { method: string; path: string; body: string }): Fault | undefined {
    const index = this.#faults.findIndex((fault) => fault.when?.(request) ?? true);
    const fault = this.#faults[index];
    if (fault === undefined) return undefined;
    const left = (fault.times ?? 1) - 1;
    if (left > 0) this.#faults[index] = { ...fault, times: left };
    else this.#faults.splice(index, 1);
    return fault;
  }

  #handle(method: string, url: URL, text: string, fault: Fault | undefined): unknown {
    const { store } = this;
    const [root, name, ...rest] = url.pathname.split('/').slice(1).map(decodeURIComponent) as [
      string,
      ...string[],
    ];
    const action = `${method} ${rest.join('/')}`;
    if (root === '') return { title: 'qdrant - vector search engine', version: this.version };
    if (root === 'aliases')
      return {
        aliases: [...store.aliases].map(([alias_name, collection_name]) => ({ alias_name, collection_name })),
      };
    if (root !== 'collections') throw new Refusal(404, '');
    if (name === undefined)
      return { collections: [...store.collections.keys()].map((each) => ({ name: each })) };
    if (name === 'aliases' && method === 'POST') {
      store.changeAliases(json(text).actions as Json[]);
      return true;
    }
    switch (action) {
      case 'GET ':
        return collectionInfo(store, name);
      case 'GET exists':
        return { exists: store.has(name) };
      case 'PUT ':
        store.create(name, json(text));
        return true;
      case 'PATCH ':
        store.update(name, json(text));
        return true;
      case 'DELETE ':
        return store.delete(name);
      case 'PUT points':
        return this.#upsert(name, url, text, fault);
      case 'POST points/delete': {
        const status = waitStatus(url);
        store.deletePoints(name, json(text));
        return { operation_id: 0, status };
      }
      default:
        return read(store, name, action, text);
    }
  }

  #upsert(name: string, url: URL, text: string, fault: Fault | undefined): unknown {
    const status = waitStatus(url);
    const points = this.store.parseUpsert(name, json(text), text);
    if (fault?.kind === 'half') this.store.apply(name, points.slice(0, points.length >> 1));
    else if (fault?.kind !== 'lost') this.store.apply(name, points);
    return { operation_id: 0, status };
  }
}

function collectionInfo(store: QdrantStore, name: string): Json {
  const { params, hnswConfig, optimizerConfig, points } = store.find(name);
  return {
    status: 'green',
    optimizer_status: 'ok',
    indexed_vectors_count: 0,
    points_count: points.size,
    segments_count: 2,
    config: {
      params,
      hnsw_config: hnswConfig,
      optimizer_config: optimizerConfig,
      wal_config: { wal_capacity_mb: 32, wal_segments_ahead: 0, wal_retain_closed: 1 },
      quantization_config: null,
    },
    payload_schema: {},
    update_queue: { length: 0 },
  };
}

function read(store: QdrantStore, name: string, action: string, text: string): unknown {
  const body = json(text);
  if (action === 'POST points') {
    if (!Array.isArray(body.ids)) throw badFormat('missing field `ids`');
    const ids = body.ids.map(parseId);
    const { points } = store.find(name);
    return ids
      .map((id: Id) => points.get(id))
      .filter((point) => point !== undefined)
      .sort((a, b) => compareIds(a.id, b.id))
      .map((point) => shownPoint(point, body.with_payload ?? false, body.with_vector));
  }
  const { points } = store.find(name);
  const all = [...points.values()].sort((a, b) => compareIds(a.id, b.id));
  switch (action) {
    case 'POST points/count':
      return { count: all.filter(parseFilter(body.filter)).length };
    case 'POST points/scroll': {
      const limit = requireLimit(body);
      const from = body.offset === undefined ? undefined : parseId(body.offset);
      const matching = all
        .filter(parseFilter(body.filter))
        .filter((point) => from === undefined || compareIds(point.id, from) >= 0);
      return {
        points: matching
          .slice(0, limit)
          .map((point) => shownPoint(point, body.with_payload ?? true, body.with_vector)),
        next_page_offset: matching[limit]?.id ?? null,
      };
    }
    case 'POST points/query':
      return {
        points: runQuery(store.find(name), body, text).map(({ point, score }) => ({
          ...shownPoint(point, body.with_payload ?? false, body.with_vector),
          version: 0,
          score: Math.fround(score),
        })),
      };
    default:
      throw new Refusal(404, '');
  }
}

function waitStatus(url: URL): string {
  const wait = url.searchParams.get('wait') ?? 'false';
  if (wait !== 'true' && wait !== 'false')
    throw new Refusal(
      400,
      'Deserialize error in query parameters: provided string was not `true` or `false`',
    );
  return wait === 'true' ? 'completed' : 'acknowledged';
}

/** serde's own words for a syntax error are not imitated, except the kinds that tests meet. */
function json(text: string): Json {
  if (/(?<!\\)(\\\\)*\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f])/i.test(text))
    throw badFormat('unexpected end of hex escape');
  try {
    const value: unknown = JSON.parse(text);
    return (isObject(value) ? value : {}) as Json;
  } catch (error) {
    throw badFormat(error instanceof Error ? error.message : String(error));
  }
}

function answer(response: ServerResponse, status: number, body: Json): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
