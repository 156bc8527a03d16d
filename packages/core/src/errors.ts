/**
 * Every error a client or an operator can meet: one row a code. Routes, OpenAPI, the worker's retry
 * decision and the docs read this table; nothing else maps an error to a status.
 */
export const ERRORS = {
  // the request
  invalid_json: { status: 400, retryable: false, meaning: 'The body is not JSON, or not UTF-8.' },
  invalid_line: {
    status: 400,
    retryable: false,
    meaning: 'A line of an NDJSON body is not JSON, or not UTF-8. `param` names the line.',
  },
  invalid_request: {
    status: 400,
    retryable: false,
    meaning: 'A field, parameter or header is missing, unknown, or out of its limits. `param` names it.',
  },
  no_documents: { status: 400, retryable: false, meaning: 'A job without documents.' },
  empty_input: { status: 400, retryable: false, meaning: 'A request without a text, or with an empty one.' },
  invalid_document: {
    status: 400,
    retryable: false,
    meaning:
      'A document without id or text, or with one of the wrong type. `param` names document and field.',
  },
  duplicate_id: { status: 400, retryable: false, meaning: 'Two documents of one job have the same id.' },
  unknown_output: {
    status: 400,
    retryable: false,
    meaning: 'An output that there is not, or that the model does not have.',
  },
  unknown_model: {
    status: 404,
    retryable: false,
    meaning: 'A model name that is not served here. The message lists those that are.',
  },
  text_too_long: {
    status: 422,
    retryable: false,
    meaning: 'A text over the length of the model with `truncate: false`, or over MAX_INPUT_CHARS.',
  },
  invalid_cursor: { status: 400, retryable: false, meaning: 'A cursor that this list did not give out.' },
  body_too_large: {
    status: 413,
    retryable: false,
    meaning: 'A body, or a line of one, over its limit in bytes. Inflated bytes count.',
  },
  too_many_documents: { status: 413, retryable: false, meaning: 'More documents than MAX_JOB_DOCUMENTS.' },
  unsupported_media_type: {
    status: 415,
    retryable: false,
    meaning: 'A Content-Type or Content-Encoding that the route does not take.',
  },
  upload_aborted: {
    status: 400,
    retryable: false,
    meaning: 'The sender left before the body was complete. Nothing of the job is kept.',
  },
  not_acceptable: {
    status: 406,
    retryable: false,
    meaning: 'The Accept header asks for a format that there is not.',
  },
  forbidden_host: {
    status: 403,
    retryable: false,
    meaning:
      'The Host header is not a name of this machine (a loopback bind answers to no other) nor one of ALLOWED_HOSTS.',
  },
  unauthorized: { status: 401, retryable: false, meaning: 'No API key, or one that is not known.' },
  forbidden: {
    status: 403,
    retryable: false,
    meaning: 'The key, or the page that sent the request, may not do this.',
  },
  not_found: {
    status: 404,
    retryable: false,
    meaning: 'There is no such path, or no such collection in Qdrant.',
  },
  method_not_allowed: {
    status: 405,
    retryable: false,
    meaning: 'The path is there, the method is not. `Allow` lists those there are.',
  },
  job_not_found: { status: 404, retryable: false, meaning: 'There is no such job, or another key made it.' },
  job_conflict: { status: 409, retryable: false, meaning: 'The job is in a state that does not allow this.' },
  idempotency_conflict: {
    status: 409,
    retryable: false,
    meaning: 'The idempotency key was used for another request.',
  },
  collection_conflict: {
    status: 409,
    retryable: false,
    meaning: 'The destination collection exists with other vectors.',
  },
  // the moment
  rate_limited: {
    status: 429,
    retryable: true,
    meaning: 'Too many requests in a while. `Retry-After` says when to come back.',
  },
  overloaded: {
    status: 429,
    retryable: true,
    meaning: 'The queue is full. `Retry-After` says when to come back.',
  },
  model_unavailable: {
    status: 503,
    retryable: true,
    meaning: 'The model is known, and no worker serves it now; or the worker was lost on the way.',
  },
  backend_unavailable: {
    status: 503,
    retryable: true,
    meaning: 'Redis, or the embedded database, does not answer.',
  },
  storage_unavailable: { status: 503, retryable: true, meaning: 'The storage does not answer.' },
  storage_full: { status: 507, retryable: true, meaning: 'The storage has no space left.' },
  sink_unavailable: { status: 503, retryable: true, meaning: 'The destination does not answer.' },
  shutting_down: { status: 503, retryable: true, meaning: 'The server is stopping.' },
  deadline_exceeded: {
    status: 504,
    retryable: true,
    meaning: 'The request took longer than REQUEST_TIMEOUT_MS. Its work was dropped.',
  },
  cancelled: { status: 499, retryable: false, meaning: 'The client left before the answer.' },
  // a document inside a job
  tokenizer_failed: { status: 422, retryable: false, meaning: 'The tokenizer cannot read this text.' },
  model_failed: { status: 500, retryable: false, meaning: 'The model cannot run this text.' },
  poisoned_document: {
    status: 422,
    retryable: false,
    meaning: 'The worker died on the text of this document more than once; it is not tried again.',
  },
  sink_rejected: { status: 422, retryable: false, meaning: 'The destination refused this document.' },
  // the start
  invalid_config: {
    status: 500,
    retryable: false,
    meaning: 'An option is malformed, or what it names cannot be used. The process does not start.',
  },
  invalid_model: {
    status: 500,
    retryable: false,
    meaning: 'The files of the model are not what they should be. The process does not start.',
  },
  data_dir_in_use: { status: 500, retryable: false, meaning: 'Another process holds DATA_DIR.' },
  download_failed: {
    status: 503,
    retryable: true,
    meaning:
      'A model could not be downloaded. What has come is kept, and the next attempt goes on from there.',
  },
  device_unavailable: { status: 500, retryable: false, meaning: 'The device asked for cannot be used.' },
  internal: {
    status: 500,
    retryable: false,
    meaning: 'A fault of the server. Its log has the reason under the requestId.',
  },
} as const satisfies Record<string, { status: number; retryable: boolean; meaning: string }>;

export type ErrorCode = keyof typeof ERRORS;

export interface ErrorDetails {
  /** The field, query parameter or header at fault, e.g. `documents[3].text` or `line 17`. */
  param?: string;
  retryAfterSeconds?: number;
  cause?: unknown;
}

export class TrivecError extends Error {
  override readonly name = 'TrivecError';
  readonly code: ErrorCode;
  readonly param: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.param = details.param;
    this.retryAfterSeconds = details.retryAfterSeconds;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }
}

/** Anything thrown, as a TrivecError; what is not one of ours becomes `internal`. */
export function toTrivecError(error: unknown): TrivecError {
  if (error instanceof TrivecError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new TrivecError('internal', message, { cause: error });
}
