/** What a server answered instead of the thing asked for; `status` 0 where none answered at all. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** The server's code, or `server_unreachable`, or `not_trivec` for a server that speaks otherwise. */
  readonly code: string;
  readonly status: number;
  readonly param: string | undefined;
  readonly requestId: string | undefined;

  constructor(
    code: string,
    status: number,
    message: string,
    details: { param?: string | undefined; requestId?: string | undefined; cause?: unknown } = {},
  ) {
    super(message, { cause: details.cause });
    this.code = code;
    this.status = status;
    this.param = details.param;
    this.requestId = details.requestId;
  }
}

/** What a server said with a status that is no success. */
export async function errorOf(url: string, response: Response): Promise<ApiError> {
  let error: { code?: unknown; message?: unknown; param?: unknown; requestId?: unknown } | undefined;
  try {
    error = ((await response.json()) as { error?: typeof error }).error;
  } catch (cause) {
    return notTrivec(url, response.status, cause);
  }
  if (typeof error?.code !== 'string' || typeof error.message !== 'string') {
    return notTrivec(url, response.status, undefined);
  }
  const hint = response.status === 401 ? ' Give a key with --api-key or TRIVEC_API_KEY.' : '';
  return new ApiError(error.code, response.status, error.message + hint, {
    param: typeof error.param === 'string' ? error.param : undefined,
    requestId: typeof error.requestId === 'string' ? error.requestId : undefined,
  });
}

export function notTrivec(url: string, status: number, cause: unknown): ApiError {
  return new ApiError(
    'not_trivec',
    status,
    `What answers at ${url} (status ${status}) is not a trivec server.`,
    {
      cause,
    },
  );
}

/** fetch hides the reason in `cause`; with several addresses tried, in the first of its errors. */
export function unreachable(url: string, error: unknown): ApiError {
  const cause = (error as Error).cause;
  const first = cause instanceof AggregateError ? cause.errors[0] : cause;
  const code = (first as NodeJS.ErrnoException | undefined)?.code;
  const why = code ?? (first instanceof Error ? first.message : (error as Error).message);
  return new ApiError('server_unreachable', 0, `No server answers at ${url} (${why}).`, { cause: error });
}
