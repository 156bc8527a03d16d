import { TrivecError } from '../errors.ts';
import type { TextVectors } from '../vectors/types.ts';
import { textKeys, VectorCache } from '../vectors/vectorCache.ts';

type Outcome = TextVectors | TrivecError;

/** What a call gives to those that wait for its texts: nothing for a text that failed. */
type Given = ReadonlyMap<string, TextVectors>;

/**
 * Texts that this worker has embedded for its jobs, or is embedding: boilerplate that stands in many shards of a job then
 * runs once, as long as it is remembered. What one job asked is never known to another, which could otherwise tell by
 * its speed what others embed. Texts that failed are not remembered: they may not fail again.
 */
export class JobTexts {
  readonly #cache: VectorCache;
  readonly #running = new Map<string, Promise<Given>>();

  /** JOB_TEXT_CACHE_MB of vectors; with 0 every text runs. */
  constructor({ jobTextCacheMb }: { jobTextCacheMb: number }) {
    this.#cache = new VectorCache(jobTextCacheMb);
  }

  /** Of the vectors that are remembered. */
  get bytes(): number {
    return this.#cache.bytes;
  }

  /** For one shard. All texts of a job have one model and one set of options, so that its id stands for them. */
  of(jobId: string): ShardTexts | undefined {
    return this.#cache.isOn ? new ShardTexts(this.#cache, this.#running, jobId) : undefined;
  }
}

/** Runs those texts of a shard that no other shard of its job has run, or is running. */
export class ShardTexts {
  /** Texts that need not run. */
  twins = 0;
  readonly #cache: VectorCache;
  readonly #running: Map<string, Promise<Given>>;
  readonly #keyOf: (text: string) => string | undefined;

  constructor(cache: VectorCache, running: Map<string, Promise<Given>>, jobId: string) {
    this.#cache = cache;
    this.#running = running;
    this.#keyOf = textKeys(jobId);
  }

  /**
   * One outcome a text, in order; `texts` are distinct, with their prompt. `run` gets the places of those that must run
   * now and answers in their order. What another shard does not bring to an end runs here. Throws what `run` throws,
   * and `cancelled`.
   */
  async embed(
    texts: readonly string[],
    signal: AbortSignal,
    run: (places: readonly number[]) => Promise<readonly Outcome[]>,
  ): Promise<Outcome[]> {
    const keys = texts.map(this.#keyOf);
    const outcomes: Outcome[] = new Array(texts.length);
    let open = keys.map((_, place) => place);
    while (open.length > 0) {
      const own: number[] = [];
      const others = new Map<number, Promise<Given>>();
      for (const place of open) {
        const key = keys[place];
        const known = key === undefined ? undefined : this.#cache.get(key);
        const running = key === undefined ? undefined : this.#running.get(key);
        if (known !== undefined) this.#give(outcomes, place, known.vector);
        else if (running !== undefined) others.set(place, running);
        else own.push(place);
      }
      // Before anything is waited for: of two shards that wait for each other, both get on.
      if (own.length > 0) await this.#lead(own, keys, outcomes, run);
      await settled(others.values(), signal);
      open = [];
      for (const [place, running] of others) {
        const vector = (await running).get(keys[place]!);
        if (vector === undefined) open.push(place);
        else this.#give(outcomes, place, vector);
      }
    }
    return outcomes;
  }

  #give(outcomes: Outcome[], place: number, vector: TextVectors): void {
    outcomes[place] = vector;
    this.twins++;
  }

  async #lead(
    places: readonly number[],
    keys: readonly (string | undefined)[],
    outcomes: Outcome[],
    run: (places: readonly number[]) => Promise<readonly Outcome[]>,
  ): Promise<void> {
    const given = new Map<string, TextVectors>();
    const { promise, resolve } = Promise.withResolvers<Given>();
    const own = places.flatMap((place) => keys[place] ?? []);
    for (const key of own) this.#running.set(key, promise);
    try {
      const results = await run(places);
      places.forEach((place, i) => {
        const outcome = results[i]!;
        outcomes[place] = outcome;
        const key = keys[place];
        if (key === undefined || outcome instanceof TrivecError) return;
        given.set(key, outcome);
        this.#cache.set(key, { vector: outcome });
      });
    } finally {
      for (const key of own) this.#running.delete(key);
      resolve(given);
    }
  }
}

/** Throws `cancelled` where the signal comes first. */
async function settled(promises: Iterable<Promise<unknown>>, signal: AbortSignal): Promise<void> {
  const waiting = new Set(promises);
  if (waiting.size === 0) return;
  const left = Promise.withResolvers<never>();
  const leave = () => left.reject(new TrivecError('cancelled', 'The shard was given up.'));
  signal.addEventListener('abort', leave, { once: true });
  try {
    if (signal.aborted) leave();
    await Promise.race([Promise.all(waiting), left.promise]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
