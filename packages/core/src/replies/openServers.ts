import type { Presence } from '../registry/presence.ts';

/** How long the list is believed, where it is not empty. */
const CACHE_MS = 500;

/** The servers of a fingerprint that take requests. */
export class OpenServers {
  readonly presence: Presence;
  #readAtMs = 0;
  #open: readonly string[] = [];

  constructor(presence: Presence) {
    this.presence = presence;
  }

  /** As last read. */
  get open(): readonly string[] {
    return this.#open;
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
