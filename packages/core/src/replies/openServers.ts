import type { Presence } from '../registry/presence.ts';
import { AVOIDED_MS, withoutAvoided } from './directOffer.ts';

/** How long the list is believed, where it is not empty. */
const CACHE_MS = 500;

/** The servers of a fingerprint that take requests. */
export class OpenServers {
  readonly presence: Presence;
  #readAtMs = 0;
  #open: readonly string[] = [];
  readonly #avoidedUntilMs = new Map<string, number>();

  constructor(presence: Presence) {
    this.presence = presence;
  }

  /** As last read, without those that lately did not hear what they were offered. */
  hearing(): readonly string[] {
    return withoutAvoided(this.#open, this.#avoidedUntilMs, Date.now());
  }

  /** It left an offer unread. */
  avoid(server: string): void {
    const nowMs = Date.now();
    for (const [other, untilMs] of this.#avoidedUntilMs)
      if (untilMs <= nowMs) this.#avoidedUntilMs.delete(other);
    this.#avoidedUntilMs.set(server, nowMs + AVOIDED_MS);
  }

  async read(): Promise<readonly string[]> {
    if (this.#open.length === 0 || this.#readAtMs < Date.now() - CACHE_MS) {
      const members = await this.presence.list();
      this.#open = [...members].filter(([, state]) => state === 'open').map(([id]) => id);
      this.#readAtMs = Date.now();
    }
    return this.#open;
  }
}
