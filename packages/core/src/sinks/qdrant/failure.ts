import { TrivecError } from '../../errors.ts';

/**
 * What a request to Qdrant failed with. `sink_unavailable` (retryable): 408, 429, 5xx, timeouts and the
 * network. `sink_rejected`: any other answer, which the same request would only get again.
 */
export class QdrantFailure extends TrivecError {
  /** Of the answer; undefined when there was none. */
  readonly httpStatus: number | undefined;
  /** A sign that fewer requests should be in flight. */
  readonly overloaded: boolean;

  constructor(failure: {
    message: string;
    httpStatus?: number;
    overloaded: boolean;
    retryable: boolean;
    retryAfterSeconds?: number;
    cause?: unknown;
  }) {
    super(failure.retryable ? 'sink_unavailable' : 'sink_rejected', failure.message, {
      ...(failure.retryAfterSeconds !== undefined && { retryAfterSeconds: failure.retryAfterSeconds }),
      ...(failure.cause !== undefined && { cause: failure.cause }),
    });
    this.httpStatus = failure.httpStatus;
    this.overloaded = failure.overloaded;
  }
}

/**
 * The key is wrong, or may only read: nothing that a document could help, and an operator can. In the background
 * it is waited for like a server that is away.
 */
export function isKeyRefused(error: unknown): error is QdrantFailure {
  return error instanceof QdrantFailure && (error.httpStatus === 401 || error.httpStatus === 403);
}

/** What another try would only get again. */
export function isRefusal(error: unknown): error is TrivecError {
  return error instanceof TrivecError && error.code === 'sink_rejected' && !isKeyRefused(error);
}

/** It takes requests and does not answer: a timeout was waited for already. */
export function isTimeout({ httpStatus, overloaded }: QdrantFailure): boolean {
  return overloaded && httpStatus === undefined;
}

const OVERLOADED = new Set([408, 429, 503]);

/** An answer that is not 2xx. `data` is the body, parsed if it was JSON. */
export function failureOfAnswer(
  httpStatus: number,
  data: unknown,
  retryAfter: string | null | undefined,
  now = Date.now(),
): QdrantFailure {
  const retryAfterSeconds = parseRetryAfter(retryAfter, now);
  return new QdrantFailure({
    message: `Qdrant answered ${httpStatus}: ${messageOf(data)}`,
    httpStatus,
    overloaded: OVERLOADED.has(httpStatus),
    retryable: httpStatus === 408 || httpStatus === 429 || httpStatus >= 500,
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  });
}

/** Whom a request went to, for messages: an address without a key. */
export interface Asked {
  address: string;
  timeoutMs: number;
}

export function timeoutFailure({ address, timeoutMs }: Asked): QdrantFailure {
  return new QdrantFailure({
    message: `Qdrant at ${address} did not answer within ${timeoutMs} ms.`,
    overloaded: true,
    retryable: true,
  });
}

/** An answer to a confirmed write that does not say that the points are applied. */
export function unconfirmed(status: string | undefined): QdrantFailure {
  return new QdrantFailure({
    message: `Qdrant did not confirm the points: status ${JSON.stringify(status)}.`,
    overloaded: true,
    retryable: true,
  });
}

export function networkFailure(cause: unknown, { address }: Pick<Asked, 'address'>): QdrantFailure {
  return new QdrantFailure({
    message: `Qdrant at ${address} cannot be reached: ${systemReason(cause)}.`,
    overloaded: false,
    retryable: true,
    cause,
  });
}

/** An error of `@qdrant/js-client-rest` as one of ours. */
export function failureOfClient(error: unknown, asked: Asked): QdrantFailure {
  if (error instanceof QdrantFailure) return error;
  if (!(error instanceof Error)) return networkFailure(error, asked);
  if (error.name === 'QdrantClientTimeoutError') return timeoutFailure(asked);
  if (error.name === 'QdrantClientResourceExhaustedError')
    // The client reads one character of Retry-After: a lower bound, and the next answer may raise it.
    return failureOfAnswer(
      429,
      error.message,
      'retry_after' in error ? String(error.retry_after) : undefined,
    );
  if ('status' in error && typeof error.status === 'number') {
    const headers = 'headers' in error && error.headers instanceof Headers ? error.headers : undefined;
    return failureOfAnswer(
      error.status,
      'data' in error ? error.data : undefined,
      headers?.get('retry-after'),
    );
  }
  return networkFailure(error, asked);
}

/** Seconds: a number, or an HTTP date. */
function parseRetryAfter(value: string | null | undefined, nowMs: number): number | undefined {
  if (value === null || value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value);
  const atMs = Date.parse(value);
  return Number.isNaN(atMs) ? undefined : Math.max(0, Math.ceil((atMs - nowMs) / 1000));
}

const MAX_MESSAGE_CHARS = 500;

/** `{"status": {"error": "…"}}`, or the text of a proxy or of the key check. */
function messageOf(data: unknown): string {
  let text = 'no reason given';
  if (typeof data === 'string' && data.trim() !== '') text = data.trim();
  else if (typeof data === 'object' && data !== null && 'status' in data) {
    const { status } = data;
    if (typeof status === 'object' && status !== null && 'error' in status) text = String(status.error);
  }
  return text.length > MAX_MESSAGE_CHARS ? `${text.slice(0, MAX_MESSAGE_CHARS)}…` : text;
}

/** What the codes of the system, of undici and of Node say to somebody who does not know them. */
const IN_WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'the connection was cut',
  EHOSTUNREACH: 'there is no way to that machine',
  ENETUNREACH: 'there is no way to that network',
  ENOTFOUND: 'there is no machine of that name',
  EAI_AGAIN: 'no name server answers',
  ETIMEDOUT: 'that machine does not answer',
  UND_ERR_CONNECT_TIMEOUT: 'that machine does not answer',
  UND_ERR_SOCKET: 'the connection was cut',
  ERR_HTTP2_ERROR: 'what listens there does not speak gRPC',
  ERR_SSL_WRONG_VERSION_NUMBER: 'what listens there speaks no TLS, http:// may be meant',
};

/**
 * The system's own code where there is one, in words too: `fetch failed` says nothing. Of several addresses of one name,
 * the reason of the first.
 */
export function systemReason(error: unknown): string {
  let deepest = error;
  for (let cause = error; cause instanceof Error; cause = nextCause(cause)) {
    deepest = cause;
    if (!('code' in cause) || typeof cause.code !== 'string') continue;
    const { code } = cause;
    const words = code.startsWith('HPE_') ? 'what listens there does not speak HTTP/1.1' : IN_WORDS[code];
    return words === undefined ? code : `${words} (${code})`;
  }
  return deepest instanceof Error ? deepest.message : String(deepest);
}

function nextCause(error: Error): unknown {
  return error instanceof AggregateError ? error.errors[0] : error.cause;
}
