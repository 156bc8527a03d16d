import type { Backend } from '@trivec/core/backend/backend';
import { TrivecError } from '@trivec/core/errors';

/** For how long an answer is believed. */
const FRESH_MS = 1_000;

/**
 * Whether the backend answers, asked at most once a second: one that has frozen would else hold every request up until
 * its commands time out, half a minute later.
 */
export class BackendWatch {
  readonly #backend: Pick<Backend, 'ping'>;
  #answeredAtMs = Number.NEGATIVE_INFINITY;
  #asked: { atMs: number; answer: Promise<void> } | undefined;

  constructor(backend: Pick<Backend, 'ping'>) {
    this.#backend = backend;
  }

  /** `backend_unavailable` where it said so, or has not answered for `timeoutMs`: at once where that is known already. */
  async check(timeoutMs: number): Promise<void> {
    const nowMs = performance.now();
    if (nowMs - this.#answeredAtMs < FRESH_MS) return;
    this.#asked ??= { atMs: nowMs, answer: this.#ask() };
    const { atMs, answer } = this.#asked;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(silent(timeoutMs)), Math.max(0, atMs + timeoutMs - nowMs));
    });
    try {
      await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #ask(): Promise<void> {
    try {
      await this.#backend.ping();
      this.#answeredAtMs = performance.now();
    } finally {
      this.#asked = undefined;
    }
  }
}

function silent(timeoutMs: number): TrivecError {
  return new TrivecError(
    'backend_unavailable',
    `The backend has not answered for ${timeoutMs / 1000} s; nothing was begun.`,
    { retryAfterSeconds: 2 },
  );
}
