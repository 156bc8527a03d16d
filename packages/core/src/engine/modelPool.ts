import { TrivecError } from '../errors.ts';
import type { ModelDescription } from '../models/folder.ts';
import type { Engine } from './types.ts';

interface Slot {
  engine: Promise<Engine>;
  bytes: number;
  users: number;
  usedAt: number;
}

/** A job would else keep its model in use, and any other one out, until it ends. Far above the loading of a small model. */
const PATIENCE_MS = 10_000;

/**
 * Engines that are loaded when they are needed, within a bound on the bytes of their files. The one unused longest makes
 * room; one in use never does: then the next waits, and after a while new uses of what is loaded wait behind it. A model
 * larger than the bound runs alone.
 */
export class ModelPool {
  readonly #maxBytes: number;
  readonly #open: (model: ModelDescription, device: string) => Promise<Engine>;
  readonly #patienceMs: number;
  readonly #slots = new Map<string, Slot>();
  #waiting: (() => void)[] = [];
  /** Openings come one after the other, so that two don't take the same room. */
  #turn: Promise<unknown> = Promise.resolve();
  #clock = 0;
  /** Since when somebody waits for room; undefined while nobody does. */
  #waitingSinceMs: number | undefined;
  #closed = false;

  constructor(
    maxBytes: number,
    open: (model: ModelDescription, device: string) => Promise<Engine>,
    { patienceMs = PATIENCE_MS }: { patienceMs?: number } = {},
  ) {
    this.#maxBytes = maxBytes;
    this.#open = open;
    this.#patienceMs = patienceMs;
  }

  /** Names of the models that are loaded now. */
  get loaded(): string[] {
    return [...this.#slots.keys()];
  }

  /** Throws what loading throws as `model_unavailable`, and `shutting_down`; else what `work` throws. */
  async use<T>(model: ModelDescription, device: string, work: (engine: Engine) => Promise<T>): Promise<T> {
    const slot = await this.#take(model, device);
    try {
      let engine: Engine;
      try {
        engine = await slot.engine;
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw new TrivecError('model_unavailable', `${model.info.name} cannot be loaded: ${reason}`, {
          cause,
        });
      }
      return await work(engine);
    } finally {
      slot.users--;
      slot.usedAt = ++this.#clock;
      this.#wake();
    }
  }

  async #take(model: ModelDescription, device: string): Promise<Slot> {
    const key = `${model.info.name} on ${device}`;
    const found = this.#hasPatience() ? this.#join(key) : undefined;
    if (found !== undefined) return found;
    const turn = this.#turn.then(async () => this.#join(key) ?? this.#openSlot(key, model, device));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  #hasPatience(): boolean {
    return this.#waitingSinceMs === undefined || performance.now() - this.#waitingSinceMs < this.#patienceMs;
  }

  #join(key: string): Slot | undefined {
    if (this.#closed) throw new TrivecError('shutting_down', 'The engine is closing.');
    const slot = this.#slots.get(key);
    if (slot !== undefined) slot.users++;
    return slot;
  }

  async #openSlot(key: string, model: ModelDescription, device: string): Promise<Slot> {
    await this.#makeRoom(model.bytes);
    if (this.#closed) throw new TrivecError('shutting_down', 'The engine is closing.');
    const slot: Slot = { engine: this.#open(model, device), bytes: model.bytes, users: 1, usedAt: 0 };
    this.#slots.set(key, slot);
    // A failed one is not kept: the next use tries again.
    slot.engine.catch(() => this.#slots.delete(key));
    return slot;
  }

  async #makeRoom(bytes: number): Promise<void> {
    while (!this.#closed && this.#slots.size > 0 && this.#bytes() + bytes > this.#maxBytes) {
      const [idle] = [...this.#slots]
        .filter(([, slot]) => slot.users === 0)
        .sort(([, a], [, b]) => a.usedAt - b.usedAt);
      if (idle === undefined) {
        this.#waitingSinceMs ??= performance.now();
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
        continue;
      }
      const [key, slot] = idle;
      this.#slots.delete(key);
      await slot.engine.then(
        (engine) => engine.close(),
        () => undefined,
      );
    }
    this.#waitingSinceMs = undefined;
  }

  #bytes(): number {
    return [...this.#slots.values()].reduce((sum, slot) => sum + slot.bytes, 0);
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Lets running batches end. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    const slots = [...this.#slots.values()];
    this.#slots.clear();
    await Promise.all(
      slots.map(({ engine }) =>
        engine.then(
          (open) => open.close(),
          () => undefined,
        ),
      ),
    );
  }
}
