import { QdrantClient, type Schemas } from '@qdrant/js-client-rest';
import pRetry from 'p-retry';
import { AdaptiveLimit } from './adaptiveLimit.ts';
import type { CollectionConfig, CreateCollection } from './collection.ts';
import type { EncodedPoint, Wire } from './encoding.ts';
import { failureOfClient, isTimeout, QdrantFailure } from './failure.ts';
import { GrpcUpserts } from './grpcUpserts.ts';
import type { PointId } from './pointId.ts';
import type { PointOrigin } from './points.ts';
import { RestUpserts } from './restUpserts.ts';
import type { UpsertServer } from './upserts.ts';

export interface QdrantServer extends UpsertServer {
  /** With its port; 6333 where none is given, as Qdrant's own clients have it. From configuration only. */
  url: string;
  /** Of its gRPC port, 6334 where none is given: then points are upserted there. */
  grpcUrl?: string;
  /** Attempts after the first before a request fails with `sink_unavailable`. */
  retries: number;
  /** Of the first retry; doubled for each next one, and spread by up to as much again. */
  retryDelayMs: number;
}

/** What is counted while writing; the metrics of the process listen. */
export interface SinkObserver {
  onWritten?(points: number, bytes: number): void;
  onRetry?(): void;
  onSlowDown?(): void;
  /** A request did not get through in time, or for seconds; it is tried again. */
  onStall?(reason: string): void;
}

/** A longer Retry-After is cut to this: the request then fails, and its shard goes back to the queue. */
const MAX_PAUSE_MS = 60_000;
const MAX_RETRY_DELAY_MS = 10_000;
/** A request that is tried for longer is worth saying so; what heals sooner is not. */
const STALLED_AFTER_MS = 5000;

export interface RequestOptions {
  signal?: AbortSignal | undefined;
  observer?: SinkObserver | undefined;
  /** Instead of the server's own number. */
  retries?: number;
}

/**
 * One Qdrant server. Management and queries go through its official client; upserts, which are encoded already, by
 * gRPC where it is configured, otherwise by REST.
 * Every method throws QdrantFailure: `sink_unavailable` after its retries, or `sink_rejected`.
 */
export class QdrantConnection {
  readonly #server: QdrantServer;
  readonly #client: QdrantClient;
  readonly #rest: RestUpserts;
  readonly #grpc: GrpcUpserts | undefined;
  readonly #limit: AdaptiveLimit;
  /** For messages: never the key. */
  readonly description: string;
  /** How points are to be encoded. */
  readonly wire: Wire;

  constructor(server: QdrantServer) {
    const { origin, port, prefix } = parseServerUrl(server.url, 6333);
    this.#server = server;
    this.description = `${origin}:${port}${prefix}`;
    this.#rest = new RestUpserts(server, { origin: `${origin}:${port}`, prefix });
    if (server.grpcUrl !== undefined) {
      const grpc = parseServerUrl(server.grpcUrl, 6334);
      this.#grpc = new GrpcUpserts(server, `${grpc.origin}:${grpc.port}${grpc.prefix}`);
    }
    this.wire = this.#grpc === undefined ? 'json' : 'protobuf';
    this.#limit = new AdaptiveLimit(server.concurrency);
    this.#client = new QdrantClient({
      url: origin,
      port,
      ...(prefix !== '' && { prefix }),
      // As a header: given as `apiKey`, the client writes a warning to the console for every http:// server.
      ...(server.apiKey !== undefined && { headers: { 'api-key': server.apiKey } }),
      timeout: server.timeoutMs,
      maxConnections: server.concurrency,
      checkCompatibility: false,
    });
  }

  get requestsInFlightLimit(): number {
    return this.#limit.current;
  }

  /** As the server says it; undefined where what answers says none. */
  async version(options: RequestOptions = {}): Promise<string | undefined> {
    try {
      const info = await this.#managed(() => this.#client.versionInfo(), options);
      return typeof info?.version === 'string' ? info.version : undefined;
    } catch (error) {
      // A proxy that lets only some paths through.
      if (error instanceof QdrantFailure && !error.retryable) return undefined;
      throw error;
    }
  }

  /** The configuration behind a collection's name or alias; undefined where there is neither. */
  async collectionConfig(name: string, options: RequestOptions = {}): Promise<CollectionConfig | undefined> {
    return this.#orMissing(() => this.#client.getCollection(name).then((info) => info.config), options);
  }

  /** False if it existed already. */
  async createCollection(
    name: string,
    body: CreateCollection,
    options: RequestOptions = {},
  ): Promise<boolean> {
    try {
      await this.#managed(() => this.#client.createCollection(name, body), options);
      return true;
    } catch (error) {
      if (error instanceof QdrantFailure && error.httpStatus === 409) return false;
      throw error;
    }
  }

  /** Not there is fine. */
  async deleteCollection(name: string, options: RequestOptions = {}): Promise<void> {
    await this.#orMissing(() => this.#client.deleteCollection(name), options);
  }

  /** Edges a node of the collection's graph; 0 builds none. Vectors with a setting of their own keep it. */
  async setHnswM(name: string, m: number, options: RequestOptions = {}): Promise<void> {
    await this.#managed(() => this.#client.updateCollection(name, { hnsw_config: { m } }), options);
  }

  /** What the alias points to; undefined where there is no such alias. */
  async aliasTarget(alias: string, options: RequestOptions = {}): Promise<string | undefined> {
    const { aliases } = await this.#managed(() => this.#client.getAliases(), options);
    return aliases.find(({ alias_name }) => alias_name === alias)?.collection_name;
  }

  /** Points the alias to the collection, in one step if it pointed elsewhere before. */
  async setAlias(alias: string, collection: string, options: RequestOptions = {}) {
    const actions: Schemas['AliasOperations'][] = [
      // Deleting an alias that is not there is fine.
      { delete_alias: { alias_name: alias } },
      { create_alias: { alias_name: alias, collection_name: collection } },
    ];
    await this.#managed(() => this.#client.updateCollectionAliases({ actions }), options);
  }

  /** What the points that exist among `ids` say of themselves; null for one that trivec did not write. */
  async origins(
    collection: string,
    ids: readonly PointId[],
    options: RequestOptions = {},
  ): Promise<Map<PointId, PointOrigin | null>> {
    const records = await this.#managed(
      () =>
        this.#client.retrieve(collection, { ids: [...ids], with_payload: ['trivec'], with_vector: false }),
      options,
    );
    return new Map(
      records.map(({ id, payload }) => [id, (payload?.trivec as PointOrigin | undefined) ?? null]),
    );
  }

  /** Confirmed before it returns. Ids that are not there are fine. */
  async deletePoints(
    collection: string,
    ids: readonly PointId[],
    options: RequestOptions = {},
  ): Promise<void> {
    await this.#managed(() => this.#client.delete(collection, { points: [...ids], wait: true }), options);
  }

  async query(collection: string, body: Schemas['QueryRequest'], options: RequestOptions = {}) {
    const { points } = await this.#managed(() => this.#client.query(collection, body), options);
    return points;
  }

  /** Whether the way of upserts is open: beside REST, which every other call shows. */
  async checkUpserts(collection: string, options: RequestOptions = {}): Promise<void> {
    const grpc = this.#grpc;
    if (grpc) await this.#retrying(() => grpc.check(collection, options.signal), options);
  }

  /**
   * One upsert of points of one wire, which need not be this connection's own: by REST all can go. With `confirm` it
   * returns when the points are applied, otherwise when Qdrant has accepted them into its log. Bytes of the request.
   */
  upsert(
    collection: string,
    points: readonly EncodedPoint[],
    { confirm, ...options }: RequestOptions & { confirm: boolean },
  ): Promise<number> {
    const { signal } = options;
    const way = points[0]?.wire === 'protobuf' ? this.#grpc : this.#rest;
    if (way === undefined) throw new TypeError('Points for gRPC, and no gRPC is configured');
    return this.#retrying(() => way.upsert(collection, points, { confirm, signal }), options);
  }

  /** Ends the connections. The official client has no way to close its own: they end when idle. */
  async close(): Promise<void> {
    await Promise.all([this.#rest.close(), this.#grpc?.close()]);
  }

  /** Undefined for 404. */
  async #orMissing<T>(call: () => Promise<T>, options: RequestOptions): Promise<T | undefined> {
    try {
      return await this.#managed(call, options);
    } catch (error) {
      if (error instanceof QdrantFailure && error.httpStatus === 404) return undefined;
      throw error;
    }
  }

  /** A call of the official client. */
  #managed<T>(call: () => Promise<T>, options: RequestOptions): Promise<T> {
    return this.#retrying(async () => {
      try {
        return await call();
      } catch (error) {
        throw failureOfClient(error, {
          address: this.description,
          timeoutMs: this.#server.timeoutMs,
        });
      }
    }, options);
  }

  async #retrying<T>(attempt: () => Promise<T>, options: RequestOptions): Promise<T> {
    const { signal, observer, retries = this.#server.retries } = options;
    signal?.throwIfAborted();
    const startedAtMs = performance.now();
    const result = await pRetry(() => this.#limit.run(attempt, signal), {
      retries,
      minTimeout: this.#server.retryDelayMs,
      maxTimeout: MAX_RETRY_DELAY_MS,
      factor: 2,
      randomize: true,
      ...(signal && { signal }),
      shouldRetry: ({ error }) => error instanceof QdrantFailure && error.retryable,
      onFailedAttempt: ({ error, retriesLeft }) => {
        if (!(error instanceof QdrantFailure) || !error.retryable) return;
        if (error.overloaded) {
          this.#limit.slowDown();
          observer?.onSlowDown?.();
        }
        if (error.retryAfterSeconds !== undefined)
          this.#limit.pause(Math.min(error.retryAfterSeconds * 1000, MAX_PAUSE_MS));
        if (retriesLeft === 0) return;
        observer?.onRetry?.();
        if (isTimeout(error) || performance.now() - startedAtMs >= STALLED_AFTER_MS)
          observer?.onStall?.(error.message);
      },
    });
    this.#limit.speedUp();
    return result;
  }
}

function parseServerUrl(url: string, defaultPort: number): { origin: string; port: number; prefix: string } {
  const { protocol, hostname, pathname } = new URL(url);
  // `URL` drops a port that is its protocol's default, which is not the default here.
  const port = /^[a-z]+:\/\/[^/]*?:(\d+)(?:\/|$)/i.exec(url)?.[1];
  return {
    origin: `${protocol}//${hostname}`,
    port: port === undefined ? defaultPort : Number(port),
    prefix: pathname.replace(/\/+$/, ''),
  };
}
