import { Agent } from 'undici';
import { type EncodedPoint, upsertBody } from './encoding.ts';
import { failureOfAnswer, networkFailure, QdrantFailure, timeoutFailure, unconfirmed } from './failure.ts';
import type { UpsertServer, Upserts } from './upserts.ts';

/**
 * Upserts as JSON. Not through the official client: their bodies are encoded already, and so Retry-After is read
 * whole.
 */
export class RestUpserts implements Upserts {
  readonly #server: UpsertServer;
  readonly #agent: Agent;
  readonly #origin: string;
  readonly #prefix: string;

  constructor(server: UpsertServer, { origin, prefix }: { origin: string; prefix: string }) {
    this.#server = server;
    this.#origin = origin;
    this.#prefix = prefix;
    // Below the 5 s after which Qdrant closes an idle connection, so that none is found closed.
    this.#agent = new Agent({ connections: server.concurrency, keepAliveTimeout: 4000 });
  }

  async upsert(
    collection: string,
    points: readonly EncodedPoint[],
    { confirm, signal }: { confirm: boolean; signal?: AbortSignal | undefined },
  ): Promise<number> {
    const body = upsertBody(points);
    const path = `/collections/${encodeURIComponent(collection)}/points?wait=${confirm}`;
    const answer = await this.#put(path, body, signal);
    const status = (answer as { result?: { status?: string } } | undefined)?.result?.status;
    if (confirm && status !== 'completed') throw unconfirmed(status);
    return body.length;
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #put(path: string, body: Buffer, signal: AbortSignal | undefined): Promise<unknown> {
    const { timeoutMs, apiKey } = this.#server;
    // The pool's own timeouts are only looked at every second or so.
    const timeout = AbortSignal.timeout(timeoutMs);
    try {
      const answer = await this.#agent.request({
        origin: this.#origin,
        path: this.#prefix + path,
        method: 'PUT',
        body,
        headers: {
          'content-type': 'application/json',
          ...(apiKey !== undefined && { 'api-key': apiKey }),
        },
        headersTimeout: 0,
        bodyTimeout: 0,
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      });
      const data = parseBody(await answer.body.text());
      if (answer.statusCode === 200) return data;
      const retryAfter = answer.headers['retry-after'];
      throw failureOfAnswer(answer.statusCode, data, Array.isArray(retryAfter) ? retryAfter[0] : retryAfter);
    } catch (error) {
      if (error instanceof QdrantFailure) throw error;
      signal?.throwIfAborted();
      if (timeout.aborted) throw timeoutFailure({ address: this.#origin + this.#prefix, timeoutMs });
      throw networkFailure(error, { address: this.#origin + this.#prefix });
    }
  }
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
