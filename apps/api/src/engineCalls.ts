import type { Config } from '@trivec/core/config';
import type { EngineTask, ReplyTo } from '@trivec/core/engine/tasks';
import { TrivecError } from '@trivec/core/errors';
import { isBlank } from '@trivec/core/jobs/textRules';
import type { ModelInfo } from '@trivec/core/models/modelInfo';
import type { InteractiveLane } from '@trivec/core/replies/interactiveLane';
import type { Metrics } from '@trivec/core/telemetry/metrics';
import type { Admission, Turn } from './admission.ts';

/** Who asks, and how long they wait. */
export interface Caller {
  /** Whose turn it is when many wait. */
  client: string;
  /** At most REQUEST_TIMEOUT_MS, which it is when absent. */
  timeoutMs?: number | undefined;
  signal: AbortSignal;
}

export interface EngineCallsDeps {
  lane: Pick<InteractiveLane, 'request'>;
  admission: Admission;
  config: Pick<Config, 'maxInputChars' | 'requestTimeoutMs'>;
  metrics: Metrics;
  batchTokens(fingerprint: string): number;
}

/** A run of items that travels as one task. */
export interface Part<T> {
  items: T[];
  /** Where its first item stands in the whole. */
  offset: number;
  /** Estimated tokens. */
  cost: number;
}

const MAX_PART_ITEMS = 256;
const UNKNOWN_BATCH_TOKENS = 16_384;
/** UTF-16 units a token: about 4 in English, 1 to 2 in Chinese. What is wrong evens out; only turns depend on it. */
const CHARS_PER_TOKEN = 3;
const FRAME_TOKENS = 2;

/** Work for the engines: admitted or refused at once, cut into parts of about one batch, each in its turn. */
export class EngineCalls {
  readonly #deps: EngineCallsDeps;

  constructor(deps: EngineCallsDeps) {
    this.#deps = deps;
  }

  /** One task for all that is asked, however small. */
  async ask<Task extends EngineTask>(
    fingerprint: string,
    task: Task,
    caller: Caller,
    cost = 1,
  ): Promise<ReplyTo<Task>> {
    const turn = this.#turn(caller, cost, this.#deadline(caller));
    this.#admit(fingerprint, turn);
    return this.#send(fingerprint, task, turn);
  }

  /**
   * A task a part, their replies in order. Where one part is refused, the others are withdrawn. Errors that name an
   * item by its place in the part (`input[3]`) are told again with its place in the whole, as `nameOf` calls it.
   */
  async askParts<T, Task extends EngineTask>(
    model: ModelInfo,
    items: readonly T[],
    costOf: (item: T) => number,
    taskOf: (items: T[]) => Task,
    caller: Caller,
    nameOf: (index: number) => string,
  ): Promise<ReplyTo<Task>[]> {
    const parts = cut(items, costOf, this.#deps.batchTokens(model.fingerprint) || UNKNOWN_BATCH_TOKENS);
    const deadlineAtMs = this.#deadline(caller);
    const total = parts.reduce((sum, { cost }) => sum + cost, 0);
    this.#admit(model.fingerprint, this.#turn(caller, total, deadlineAtMs));
    const abandoned = new AbortController();
    const signal = AbortSignal.any([caller.signal, abandoned.signal]);
    try {
      return await Promise.all(
        parts.map(async ({ items: part, offset, cost }) => {
          try {
            const turn = this.#turn({ ...caller, signal }, cost, deadlineAtMs);
            return await this.#send(model.fingerprint, taskOf(part), turn);
          } catch (error) {
            throw renamed(error, offset, nameOf);
          }
        }),
      );
    } catch (error) {
      abandoned.abort();
      throw error;
    }
  }

  #send<Task extends EngineTask>(fingerprint: string, task: Task, turn: Turn): Promise<ReplyTo<Task>> {
    const { admission, lane } = this.#deps;
    return admission.run(fingerprint, turn, () =>
      lane.request<Task, ReplyTo<Task>>(fingerprint, task, {
        deadlineAtMs: turn.deadlineAtMs,
        signal: turn.signal,
      }),
    );
  }

  #admit(fingerprint: string, turn: Turn): void {
    try {
      this.#deps.admission.admit(fingerprint, turn);
    } catch (error) {
      this.#deps.metrics.requestsRefused.inc({ reason: 'queue' });
      throw error;
    }
  }

  #turn({ client, signal }: Caller, cost: number, deadlineAtMs: number): Turn {
    return { client, cost, deadlineAtMs, signal };
  }

  #deadline({ timeoutMs }: Caller): number {
    const { requestTimeoutMs } = this.#deps.config;
    return Date.now() + Math.min(timeoutMs ?? requestTimeoutMs, requestTimeoutMs);
  }
}

/** Special tokens included; never more than the model reads. */
export function estimateTokens(text: string, maxTokens: number): number {
  return Math.min(maxTokens, Math.ceil(text.length / CHARS_PER_TOKEN) + FRAME_TOKENS);
}

/**
 * Refuses what no model could want, by its name. `empty_input` (with `acceptBlank` only for a text without a
 * character), `invalid_request` for a NUL, `text_too_long`. A lone surrogate is no error: tokenizers read U+FFFD.
 */
export function checkText(
  text: string,
  param: string,
  maxInputChars: number,
  { acceptBlank = false }: { acceptBlank?: boolean | undefined } = {},
): void {
  if (text === '') throw new TrivecError('empty_input', `${param} is an empty text.`, { param });
  if (!acceptBlank && isBlank(text))
    throw new TrivecError('empty_input', `${param} is blank: it has nothing that a reader could see.`, {
      param,
    });
  if (text.includes('\0'))
    throw new TrivecError('invalid_request', `${param} has a NUL character (U+0000); leave it out.`, {
      param,
    });
  if (text.length <= maxInputChars) return;
  throw new TrivecError(
    'text_too_long',
    `${param} has ${text.length} characters (UTF-16 units); a request takes at most ${maxInputChars} a text.`,
    { param },
  );
}

/** Runs of items up to `maxCost`; a costlier one stands alone. */
export function cut<T>(items: readonly T[], costOf: (item: T) => number, maxCost: number): Part<T>[] {
  const parts: Part<T>[] = [];
  let part: Part<T> | undefined;
  for (const [index, item] of items.entries()) {
    const cost = costOf(item);
    if (part === undefined || part.cost + cost > maxCost || part.items.length >= MAX_PART_ITEMS) {
      part = { items: [], offset: index, cost: 0 };
      parts.push(part);
    }
    part.items.push(item);
    part.cost += cost;
  }
  return parts;
}

const PLACE = /^(?:input|pairs)\[(\d+)\]/;

function renamed(error: unknown, offset: number, nameOf: (index: number) => string): unknown {
  if (!(error instanceof TrivecError)) return error;
  const place = PLACE.exec(error.message)?.[1];
  if (place === undefined) return error;
  const param = nameOf(offset + Number(place));
  return new TrivecError(error.code, error.message.replace(PLACE, param), { param, cause: error });
}
