import type { Config } from '@trivec/core/config';
import { TrivecError } from '@trivec/core/errors';
import type { Metrics } from '@trivec/core/telemetry/metrics';
import type { Logger } from 'pino';
import {
  type RateLimiterAbstract,
  RateLimiterMemory,
  RateLimiterRedis,
  RateLimiterRes,
  RLWrapperTimeouts,
} from 'rate-limiter-flexible';

const WINDOW_SECONDS = 60;
/** A Redis that takes longer is counted as away. */
const REDIS_TIMEOUT_MS = 1_000;

export interface RateLimitsDeps {
  config: Pick<Config, 'rateLimitRequests' | 'rateLimitTokens' | 'keyPrefix'>;
  metrics: Pick<Metrics, 'requestsRefused'>;
  logger: Logger;
  /** Where all API processes count together; this process counts for itself without one. */
  redis?: unknown;
}

/** What is left of a client's minute. */
export interface Allowance {
  limit: number;
  remaining: number;
  resetSeconds: number;
}

/** A refusal with what the client may read of its limit. */
export class RateLimitedError extends TrivecError {
  readonly allowance: Allowance;

  constructor(what: string, allowance: Allowance) {
    super('rate_limited', `More than ${allowance.limit} ${what} in a minute.`, {
      retryAfterSeconds: Math.max(1, allowance.resetSeconds),
    });
    this.allowance = allowance;
  }
}

/**
 * Requests and tokens a minute of one client. A request is charged when it comes, its tokens when they are known: who
 * has spent a minute's tokens is refused until the minute is over. While Redis is away this process counts alone.
 */
export class RateLimits {
  readonly #deps: RateLimitsDeps;
  readonly #requests: RateLimiterAbstract | undefined;
  readonly #tokens: RateLimiterAbstract | undefined;

  constructor(deps: RateLimitsDeps) {
    const { config } = deps;
    this.#deps = deps;
    this.#requests = this.#limiter('requests', config.rateLimitRequests);
    this.#tokens = this.#limiter('tokens', config.rateLimitTokens);
  }

  /** Charges a request. Throws `rate_limited`. Nothing to tell where there is no limit. */
  async admit(client: string): Promise<Allowance | undefined> {
    const { rateLimitRequests, rateLimitTokens } = this.#deps.config;
    let allowance: Allowance | undefined;
    if (this.#requests !== undefined) {
      const state = await this.#requests.consume(client).catch((refusal: unknown) => {
        if (!(refusal instanceof RateLimiterRes)) throw refusal;
        throw this.#refusal('requests', allowanceOf(rateLimitRequests, refusal));
      });
      allowance = allowanceOf(rateLimitRequests, state);
    }
    if (this.#tokens === undefined) return allowance;
    const spent = await this.#tokens.get(client);
    if (spent === null)
      return allowance ?? { limit: rateLimitTokens, remaining: rateLimitTokens, resetSeconds: 0 };
    const tokens = allowanceOf(rateLimitTokens, spent);
    if (spent.consumedPoints >= rateLimitTokens) throw this.#refusal('tokens', tokens);
    return allowance ?? tokens;
  }

  /** What an answer has cost. Never fails: the answer is worth more than the count. */
  charge(client: string, tokens: number): void {
    this.#tokens
      ?.penalty(client, tokens)
      .catch((error: unknown) => this.#deps.logger.warn({ err: error }, 'spent tokens could not be counted'));
  }

  #limiter(what: string, points: number): RateLimiterAbstract | undefined {
    if (points === 0) return undefined;
    const { config, redis } = this.#deps;
    const options = { keyPrefix: `${config.keyPrefix}:limit:${what}`, points, duration: WINDOW_SECONDS };
    const memory = new RateLimiterMemory(options);
    if (redis === undefined) return memory;
    const shared = new RateLimiterRedis({ ...options, storeClient: redis, rejectIfRedisNotReady: true });
    return new RLWrapperTimeouts({ limiter: shared, timeoutMs: REDIS_TIMEOUT_MS, insuranceLimiter: memory });
  }

  #refusal(what: string, allowance: Allowance): RateLimitedError {
    this.#deps.metrics.requestsRefused.inc({ reason: 'rate_limit' });
    return new RateLimitedError(what, allowance);
  }
}

function allowanceOf(limit: number, { consumedPoints, msBeforeNext }: RateLimiterRes): Allowance {
  return {
    limit,
    remaining: Math.max(0, limit - consumedPoints),
    resetSeconds: Math.max(0, Math.ceil(msBeforeNext / 1000)),
  };
}
