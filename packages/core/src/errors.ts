/**
 * Every error a client or an operator can meet: one row a code. Routes, OpenAPI, the worker's retry
 * decision and the docs read this table; nothing else maps an error to a status.
 */
export const ERRORS = {
  // the request
  invalid_json: { status: 400, retryable: false },
  invalid_line: { status: 400, retryable: false },
  invalid_request: { status: 400, retryable: false },
  no_documents: { status: 400, retryable: false },
  empty_input: { status: 400, retryable: false },
  invalid_document: { status: 400, retryable: false },
  duplicate_id: { status: 400, retryable: false },
  unknown_output: { status: 400, retryable: false },
  unknown_model: { status: 404, retryable: false },
  text_too_long: { status: 422, retryable: false },
  invalid_cursor: { status: 400, retryable: false },
  body_too_large: { status: 413, retryable: false },
  too_many_documents: { status: 413, retryable: false },
  unsupported_media_type: { status: 415, retryable: false },
  upload_aborted: { status: 400, retryable: false },
  not_acceptable: { status: 406, retryable: false },
  forbidden_host: { status: 403, retryable: false },
  unauthorized: { status: 401, retryable: false },
  forbidden: { status: 403, retryable: false },
  not_found: { status: 404, retryable: false },
  method_not_allowed: { status: 405, retryable: false },
  job_not_found: { status: 404, retryable: false },
  job_conflict: { status: 409, retryable: false },
  idempotency_conflict: { status: 409, retryable: false },
  collection_conflict: { status: 409, retryable: false },
  // the moment
  rate_limited: { status: 429, retryable: true },
  overloaded: { status: 429, retryable: true },
  model_unavailable: { status: 503, retryable: true },
  backend_unavailable: { status: 503, retryable: true },
  storage_unavailable: { status: 503, retryable: true },
  storage_full: { status: 507, retryable: true },
  sink_unavailable: { status: 503, retryable: true },
  shutting_down: { status: 503, retryable: true },
  deadline_exceeded: { status: 504, retryable: true },
  cancelled: { status: 499, retryable: false },
  // a document inside a job
  tokenizer_failed: { status: 422, retryable: false },
  model_failed: { status: 500, retryable: false },
  poisoned_document: { status: 422, retryable: false },
  sink_rejected: { status: 422, retryable: false },
  // the start
  invalid_config: { status: 500, retryable: false },
  invalid_model: { status: 500, retryable: false },
  data_dir_in_use: { status: 500, retryable: false },
  device_unavailable: { status: 500, retryable: false },
  internal: { status: 500, retryable: false },
} as const satisfies Record<string, { status: number; retryable: boolean }>;

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
