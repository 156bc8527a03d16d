/** How many shards a worker holds at once. Pure. */

/**
 * Work that stands ready beside the shard that ends: longer than a slow storage and queue take for the next one, and
 * enough texts of like lengths.
 */
const READY_MS = 6000;
/** Of the vectors that are held until their shards are complete. */
const MAX_HELD_BYTES = 256 * 1024 ** 2;
const [LEAST, MOST] = [2, 16];
/** Of the newest shard in what one is taken to be. */
const NEWEST_WEIGHT = 0.5;

interface RunShard {
  tokens: number;
  /** Of its stored vectors. */
  resultBytes: number;
}

/**
 * As many as keep the device busy while others are fetched and stored: two where one takes long, so that other
 * workers find the rest, more on a fast device.
 */
export class Prefetch {
  readonly #configured: number;
  #usual: RunShard | undefined;

  /** 0: found from the shards that run. */
  constructor(configured: number) {
    this.#configured = configured;
  }

  noted({ tokens, resultBytes }: RunShard): void {
    const { tokens: tokensBefore, resultBytes: bytesBefore } = this.#usual ?? { tokens, resultBytes };
    this.#usual = {
      tokens: tokensBefore + NEWEST_WEIGHT * (tokens - tokensBefore),
      resultBytes: bytesBefore + NEWEST_WEIGHT * (resultBytes - bytesBefore),
    };
  }

  /** `tokensPerSecond`: the device's rate, 0 where it is not known. */
  shards(tokensPerSecond: number): number {
    if (this.#configured > 0) return this.#configured;
    const { tokens, resultBytes } = this.#usual ?? { tokens: 0, resultBytes: 0 };
    if (tokens === 0 || tokensPerSecond === 0) return LEAST;
    const ready = 1 + Math.ceil((READY_MS * tokensPerSecond) / (1000 * tokens));
    const held = Math.floor(MAX_HELD_BYTES / Math.max(1, resultBytes));
    return Math.max(LEAST, Math.min(MOST, ready, held));
  }
}
