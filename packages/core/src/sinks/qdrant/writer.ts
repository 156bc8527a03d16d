import { setImmediate as nextTurn } from 'node:timers/promises';
import type { QdrantConnection, SinkObserver } from './client.ts';
import type { QdrantDestination } from './destination.ts';
import {
  aloneBytes,
  type EncodedPoint,
  encodePoint,
  type PackLimits,
  PointPacker,
  QDRANT_BODY_LIMIT_BYTES,
} from './encoding.ts';
import { QdrantFailure } from './failure.ts';
import { type PointId, partPointIdOf } from './pointId.ts';
import { pointsOf, type SinkDocument } from './points.ts';

export interface WriteTarget {
  connection: QdrantConnection;
  /** Where the points go: while a replacement is built aside, its own name. */
  collection: string;
  destination: Pick<
    QdrantDestination,
    'vectors' | 'payload' | 'text' | 'colbertOverflow' | 'deleteStaleChunks'
  >;
  jobId: string;
  limits: PackLimits;
  /** Requests that one shard may have in flight; the connection's own limit stands above it. */
  concurrency: number;
}

/** What became of some documents. A document is written when Qdrant has applied every point of it. */
export interface WriteReport {
  documents: number;
  points: number;
  /** Of request bodies that Qdrant took. */
  bytes: number;
  retries: number;
  slowDowns: number;
  /** Points removed because their document has fewer now. */
  stalePoints: number;
  /** Texts whose ColBERT was too large, whatever became of it. */
  colbertOverflowed: number;
  /** Documents that Qdrant will not take, or that cannot be sent: `sink_rejected`, and why. */
  failed: { id: string; message: string }[];
}

/** Documents looked at together: the unit of the look-ups before and after writing. */
const GROUP_DOCUMENTS = 256;
/** Encoded bytes after which other work of this thread gets its turn. */
const BYTES_A_TURN = 262_144;

/**
 * Upserts documents and returns when Qdrant has applied them. Running it again writes the same points again.
 * Throws `sink_unavailable` when Qdrant stays away, `sink_rejected` when it refuses for a reason that is not
 * a document's own (the key, a missing collection), and the signal's reason.
 */
export async function writeDocuments(
  target: WriteTarget,
  documents: Iterable<SinkDocument> | AsyncIterable<SinkDocument>,
  options: { signal?: AbortSignal; observer?: SinkObserver } = {},
): Promise<WriteReport> {
  const run = new WriteRun(target, options);
  let group: SinkDocument[] = [];
  for await (const document of documents) {
    group.push(document);
    if (group.length < GROUP_DOCUMENTS) continue;
    await run.writeGroup(group);
    group = [];
  }
  if (group.length > 0) await run.writeGroup(group);
  return run.report;
}

class WriteRun {
  readonly report: WriteReport = {
    documents: 0,
    points: 0,
    bytes: 0,
    retries: 0,
    slowDowns: 0,
    stalePoints: 0,
    colbertOverflowed: 0,
    failed: [],
  };
  readonly #target: WriteTarget;
  readonly #options: { signal?: AbortSignal; observer: SinkObserver };
  readonly #inFlight = new Set<Promise<void>>();
  #rejected = new Map<string, string>();

  constructor(target: WriteTarget, options: { signal?: AbortSignal; observer?: SinkObserver }) {
    const { report } = this;
    const { signal, observer } = options;
    this.#target = target;
    this.#options = {
      ...(signal && { signal }),
      observer: {
        onWritten: (points, bytes) => {
          report.bytes += bytes;
          observer?.onWritten?.(points, bytes);
        },
        onRetry: () => {
          report.retries++;
          observer?.onRetry?.();
        },
        onSlowDown: () => {
          report.slowDowns++;
          observer?.onSlowDown?.();
        },
        onStall: (reason) => observer?.onStall?.(reason),
      },
    };
  }

  async writeGroup(documents: readonly SinkDocument[]): Promise<void> {
    this.#rejected = new Map();
    await this.#deleteStale(documents);
    try {
      await this.#load(documents);
    } finally {
      // Nothing of this group may still be on its way when the caller hears of a failure.
      await Promise.allSettled(this.#inFlight);
    }
    for (const [id, message] of this.#rejected) this.report.failed.push({ id, message });
    for (const document of documents) {
      if (this.#rejected.has(document.id)) continue;
      const made = pointsOf(document, this.#target.destination, this.#target.jobId);
      this.report.documents++;
      this.report.points += 'points' in made ? made.points.length : 0;
    }
  }

  /**
   * Removes the points that an earlier run made of these documents and this one will not. Before writing:
   * a document's first point tells how many there were, and writing makes it forget.
   */
  async #deleteStale(documents: readonly SinkDocument[]): Promise<void> {
    const { connection, collection, destination, jobId } = this.#target;
    if (!destination.deleteStaleChunks) return;
    const firstPoints = documents.map(({ id }) => partPointIdOf(id, 0));
    const origins = await connection.origins(collection, firstPoints, this.#options);
    const stale: PointId[] = [];
    for (const document of documents) {
      const before = origins.get(partPointIdOf(document.id, 0));
      if (before === undefined || before === null || before.id !== document.id) continue;
      const made = pointsOf(document, destination, jobId);
      const now = 'points' in made ? made.points.length : 0;
      for (let ordinal = now; ordinal < before.points; ordinal++)
        stale.push(partPointIdOf(document.id, ordinal));
    }
    if (stale.length === 0) return;
    await connection.deletePoints(collection, stale, this.#options);
    this.report.stalePoints += stale.length;
  }

  /** Sends everything unconfirmed but the last request, then makes sure that every point has arrived. */
  async #load(documents: readonly SinkDocument[]): Promise<void> {
    const expected: PointId[] = [];
    let waiting: EncodedPoint[] | undefined;
    for await (const request of this.#requests(documents, expected)) {
      if (waiting) await this.#sendSoon(waiting);
      waiting = request;
    }
    await Promise.all(this.#inFlight);
    if (waiting === undefined) return;
    await this.#send(waiting, true);
    await this.#confirm(documents, expected);
  }

  /** Groups of points for one request each. Encoding is work for the processor: others get their turn in between. */
  async *#requests(documents: readonly SinkDocument[], made?: PointId[]): AsyncGenerator<EncodedPoint[]> {
    const { destination, jobId, limits } = this.#target;
    const packer = new PointPacker(limits);
    const owners = new Map<PointId, string>();
    let sinceTurn = 0;
    for (const document of documents) {
      const result = pointsOf(document, destination, jobId);
      if ('refused' in result) {
        this.#rejected.set(document.id, result.refused);
        continue;
      }
      const { points, overflowed } = result;
      const clash = points.map((point) => owners.get(point.id)).find((owner) => owner !== undefined);
      if (clash !== undefined) {
        this.#rejected.set(document.id, `Document ${JSON.stringify(clash)} has the same point id.`);
        continue;
      }
      if (made) this.report.colbertOverflowed += overflowed;
      for (const point of points) {
        const encoded = encodePoint(point, this.#target.connection.wire);
        if (aloneBytes(encoded) > QDRANT_BODY_LIMIT_BYTES) {
          this.#rejected.set(
            document.id,
            `A point of ${encoded.bytes.length} bytes does not fit into one request; Qdrant takes ${QDRANT_BODY_LIMIT_BYTES}.`,
          );
          break;
        }
        owners.set(point.id, document.id);
        made?.push(point.id);
        const full = packer.add(encoded);
        if (full) yield full;
        sinceTurn += encoded.bytes.length;
        if (sinceTurn < BYTES_A_TURN) continue;
        sinceTurn = 0;
        await nextTurn();
        this.#options.signal?.throwIfAborted();
      }
    }
    const rest = packer.take();
    if (rest) yield rest;
  }

  /** Returns when there is room for another request, not when this one is done. */
  async #sendSoon(points: EncodedPoint[]): Promise<void> {
    const sending = this.#send(points, false);
    this.#inFlight.add(sending);
    // The failure is met by whoever awaits the set; here it only must not count as unhandled.
    sending.then(
      () => this.#inFlight.delete(sending),
      () => undefined,
    );
    while (this.#inFlight.size >= this.#target.concurrency) await Promise.race(this.#inFlight);
  }

  /**
   * One upsert. Refused points are looked for by halves, so that a document fails alone; that also finds
   * its way below a batch limit of the server's strict mode.
   */
  async #send(points: readonly EncodedPoint[], confirm: boolean): Promise<void> {
    const { connection, collection } = this.#target;
    try {
      const bytes = await connection.upsert(collection, points, { ...this.#options, confirm });
      this.#options.observer.onWritten?.(points.length, bytes);
    } catch (error) {
      if (!(error instanceof QdrantFailure) || !isAboutPoints(error)) throw error;
      if (points.length === 1) {
        this.#rejected.set(points[0]!.documentId, error.message);
        return;
      }
      const middle = points.length >> 1;
      await this.#send(points.slice(0, middle), confirm);
      await this.#send(points.slice(middle), confirm);
    }
  }

  /**
   * The confirmed write says that the requests before it are done where it landed. A cluster has several
   * such places, and a server that was killed may have lost some: so each point is asked for, and those that
   * are missing or are another job's are written again, confirmed.
   */
  async #confirm(documents: readonly SinkDocument[], expected: readonly PointId[]): Promise<void> {
    const { connection, collection, jobId } = this.#target;
    const missing = new Set<PointId>();
    for (let begin = 0; begin < expected.length; begin += GROUP_DOCUMENTS) {
      const ids = expected.slice(begin, begin + GROUP_DOCUMENTS);
      const origins = await connection.origins(collection, ids, this.#options);
      for (const id of ids) if (origins.get(id)?.job !== jobId) missing.add(id);
    }
    if (missing.size === 0) return;
    const affected = documents.filter(({ id }) => !this.#rejected.has(id));
    for await (const points of this.#requests(affected)) {
      const again = points.filter((point) => missing.has(point.id));
      if (again.length > 0) await this.#send(again, true);
    }
  }
}

/** Refused because of what was in it, not because of who asked or where it went. */
function isAboutPoints({ retryable, httpStatus }: QdrantFailure): boolean {
  return !retryable && (httpStatus === 400 || httpStatus === 413 || httpStatus === 422);
}
