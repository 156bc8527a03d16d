import type { EncodedPoint } from './encoding.ts';

/** A way to upsert. */
export interface Upserts {
  /**
   * One attempt. With `confirm` it returns when the points are applied, otherwise when Qdrant has accepted them into
   * its log. Bytes of the request. Throws QdrantFailure, or the signal's reason.
   */
  upsert(
    collection: string,
    points: readonly EncodedPoint[],
    options: { confirm: boolean; signal?: AbortSignal | undefined },
  ): Promise<number>;
  close(): Promise<void>;
}

/** Where upserts go, whatever the way. */
export interface UpsertServer {
  apiKey?: string;
  /** Of one attempt. */
  timeoutMs: number;
  /** Requests in flight at most. */
  concurrency: number;
}
