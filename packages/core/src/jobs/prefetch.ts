/** How many shards a worker holds at once. Pure. */

/**
 * Work that stands ready beside the shard that ends: longer than a slow storage and queue take for the next one, and
 * enough texts of like lengths. At the end of a job other workers wait no longer for what this one holds.
 */
const READY_MS = 15_000;
/** Of the vectors that are held until their shards are complete. */
const MAX_HELD_BYTES = 256 * 1024 ** 2;
const [LEAST, MOST] = [2, 8];
/** As in English, with the tokenizers of BERT and XLM-R. */
const BYTES_PER_TOKEN = 4;
/** Of the newest shard in what a token's vectors are taken to measure. */
const NEWEST_WEIGHT = 0.5;

/**
 * As many as keep the device busy while others are fetched and stored: two where one takes long, so that other
 * workers find the rest, more on a fast device. Shards are taken to be full: small ones say nothing of those to come.
 */
export class Prefetch {
  readonly #configured: number;
  readonly #shardTokens: number;
  #resultBytesPerToken: number | undefined;

  /** `prefetchShards` 0: found from the device's rate and what its vectors measure. */
  constructor({ prefetchShards, shardMaxBytes }: { prefetchShards: number; shardMaxBytes: number }) {
    this.#configured = prefetchShards;
    this.#shardTokens = shardMaxBytes / BYTES_PER_TOKEN;
  }

  /** A shard was stored. */
  noted({ tokens, resultBytes }: { tokens: number; resultBytes: number }): void {
    if (tokens === 0) return;
    const newest = resultBytes / tokens;
    const before = this.#resultBytesPerToken ?? newest;
    this.#resultBytesPerToken = before + NEWEST_WEIGHT * (newest - before);
  }

  /** `tokensPerSecond`: the device's rate, 0 where it is not known. */
  shards(tokensPerSecond: number): number {
    if (this.#configured > 0) return this.#configured;
    if (this.#resultBytesPerToken === undefined) return LEAST;
    const ready = 1 + Math.ceil((READY_MS / 1000) * (tokensPerSecond / this.#shardTokens));
    const held = Math.floor(MAX_HELD_BYTES / (this.#resultBytesPerToken * this.#shardTokens));
    return Math.max(LEAST, Math.min(MOST, ready, held));
  }
}
