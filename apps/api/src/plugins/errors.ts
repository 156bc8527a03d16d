import type { Socket } from 'node:net';
import { type ErrorCode, TrivecError } from '@trivec/core/errors';
import { QdrantFailure } from '@trivec/core/sinks/qdrant/failure';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { type Load, OverloadedError } from '../admission.ts';
import { stopUpload } from '../upload.ts';
import { requestId } from './requests.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** Why no route has answered: no such path, or another method; then with the header `allow`. */
    nothingHere(request: FastifyRequest, reply: FastifyReply): TrivecError;
  }
}

export interface ErrorBody {
  error: { code: string; message: string; param: string | null; requestId: string };
}

export interface ErrorOptions {
  maxBodyBytes: number;
  /** The words for a path where no route has answered; trivec's own where undefined. */
  speakerOf(url: string): ErrorSpeaker | undefined;
}

/** One handler and one shape for everything that is not an answer. */
export const errors = fp<ErrorOptions>(
  async (app: FastifyInstance, { maxBodyBytes, speakerOf }) => {
    const routes = new RouteMethods();
    app.addHook('onRoute', ({ method, url }) => routes.add(method, url));
    app.setErrorHandler((error, request, reply) => {
      sendError(readError(error, app, maxBodyBytes, request, reply), request, reply);
    });
    app.decorate('nothingHere', (request: FastifyRequest, reply: FastifyReply) => {
      const path = request.url.split('?', 1)[0] ?? '';
      const methods = routes.methodsAt(path);
      // A path below one of files has the method, and no file.
      if (methods.length === 0 || methods.includes(request.method))
        return new TrivecError('not_found', 'There is no such path; GET /docs lists them.');
      reply.header('allow', methods.join(', '));
      const message = `${request.method} is not a method of this path; it has ${methods.join(', ')}.`;
      return new TrivecError('method_not_allowed', message);
    });
    app.setNotFoundHandler((request, reply) =>
      sendError(app.nothingHere(request, reply), request, reply, speakerOf(request.url)),
    );
  },
  { name: 'errors' },
);

/** An error as one of the surfaces says it. Without a body the answer has none. */
export interface SpokenError {
  status: number;
  body?: unknown;
}

export type ErrorSpeaker = (error: TrivecError, request: FastifyRequest) => SpokenError;

const native: ErrorSpeaker = (error, request) => ({
  status: error.status,
  body: errorBody(error, request.id),
});

/** What an operator can look after, elsewhere: the message has the address and the reason. */
const OUTSIDE: ReadonlySet<ErrorCode> = new Set(['sink_unavailable', 'storage_unavailable', 'storage_full']);

/** What Qdrant answered may repeat a text; what the network said does not. */
function isSafeToLog(error: TrivecError): boolean {
  return OUTSIDE.has(error.code) && !(error instanceof QdrantFailure && error.httpStatus !== undefined);
}

export function sendError(
  error: TrivecError,
  request: FastifyRequest,
  reply: FastifyReply,
  speak: ErrorSpeaker = native,
): void {
  const { code, status, retryAfterSeconds } = error;
  if (status === 500) request.log.error({ err: error.cause ?? error, code }, 'request failed');
  else if (status > 500)
    request.log.warn({ code, ...(isSafeToLog(error) && { message: error.message }) }, 'request refused');
  if (retryAfterSeconds !== undefined) reply.header('retry-after', String(retryAfterSeconds));
  if (error instanceof OverloadedError) reply.headers(loadHeaders(error.load));
  if (code === 'unauthorized') reply.header('www-authenticate', 'Bearer');
  // Also where no hook has run, such as a malformed URL.
  reply.header('x-request-id', request.id);
  const spoken = speak(error, request);
  reply.code(spoken.status);
  if (spoken.body === undefined) reply.send('');
  else reply.type('application/json; charset=utf-8').send(JSON.stringify(spoken.body));
}

export function loadHeaders({ queueDepth, queueCapacity, estimatedWaitMs }: Load): Record<string, string> {
  return {
    'x-queue-depth': String(queueDepth),
    'x-queue-capacity': String(queueCapacity),
    'x-estimated-wait-ms': String(estimatedWaitMs),
  };
}

/** Makes the routes of this scope, its hooks included, say errors in the words of a surface; all paths of its prefix, too. */
export function speakErrors(
  app: FastifyInstance,
  maxBodyBytes: number,
  speak: ErrorSpeaker,
  { ownsPrefix = app.prefix !== '' }: { ownsPrefix?: boolean } = {},
): void {
  app.setErrorHandler((error, request, reply) =>
    sendError(readError(error, app, maxBodyBytes, request, reply), request, reply, speak),
  );
  if (!ownsPrefix) return;
  app.setNotFoundHandler((request, reply) =>
    sendError(app.nothingHere(request, reply), request, reply, speak),
  );
}

/** What went wrong, as ours. The sender of a body that is too large gets its answer before its connection is cut. */
function readError(
  error: unknown,
  app: FastifyInstance,
  maxBodyBytes: number,
  request: FastifyRequest,
  reply: FastifyReply,
): TrivecError {
  if (error instanceof TrivecError) return error;
  // What the framework has against a request matters less than that there is nothing it could reach.
  if (request.is404) return app.nothingHere(request, reply);
  if ((error as Partial<FastifyError>).code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    // Closed at once, what is still on its way would reset the connection, and with it the answer.
    reply.removeHeader('connection');
    stopUpload(request.raw);
  }
  return fromAny(error, maxBodyBytes);
}

/** What a client may read of an error. What happened inside is for the log. */
export function publicMessage(error: TrivecError): string {
  const isInternal = error.status === 500 && error.code !== 'model_failed';
  return isInternal
    ? 'Something failed inside the server; its log has the reason under this requestId.'
    : error.message;
}

/** What happened inside is for the log: a 500 says only where to look, but for a text that the model cannot run. */
function errorBody(error: TrivecError, id: string): ErrorBody {
  return {
    error: {
      code: error.code,
      message: publicMessage(error),
      param: error.param ?? null,
      requestId: id,
    },
  };
}

/** Errors of Fastify and Node by their own codes; what is unknown is ours, and internal. */
export function fromAny(error: unknown, maxBodyBytes: number): TrivecError {
  if (error instanceof TrivecError) return error;
  const { code, statusCode, message } = error as Partial<FastifyError>;
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new TrivecError('body_too_large', `The body is over MAX_BODY_BYTES, ${maxBodyBytes} bytes.`);
  }
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return new TrivecError(
      'unsupported_media_type',
      'The Content-Type must be application/json; POST /jobs takes application/x-ndjson, too. curl sends ' +
        "application/x-www-form-urlencoded unless told (-H 'content-type: application/json').",
      {
        param: 'content-type',
      },
    );
  }
  if (code === 'FST_ERR_MAX_PARAM_LENGTH')
    return new TrivecError('not_found', 'There is no such path: a part of it is too long for a name.');
  if (code === 'FST_ERR_BAD_URL')
    return new TrivecError('invalid_request', 'The path is not a valid URL: a % in it is no UTF-8 escape.');
  if (code === 'FST_ERR_CTP_INVALID_JSON_BODY' || (error instanceof SyntaxError && statusCode === 400)) {
    return new TrivecError('invalid_json', 'The body is not valid JSON.');
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new TrivecError('invalid_request', message ?? 'The request is malformed.');
  }
  return new TrivecError('internal', message ?? String(error), { cause: error });
}

/** Answers what never became a request: the parser refused it. */
export function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [line, code, message]: [string, ErrorCode, string] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', 'invalid_request', 'The headers are too large.']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', 'invalid_request', 'The request head took too long.']
        : ['400 Bad Request', 'invalid_request', 'The request is not valid HTTP.'];
  const id = requestId({ headers: {} });
  const body = JSON.stringify(errorBody(new TrivecError(code, message), id));
  socket.end(
    `HTTP/1.1 ${line}\r\nconnection: close\r\nx-request-id: ${id}\r\n` +
      `content-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

/** Which methods a path has, so that a wrong method is told apart from a wrong path. */
class RouteMethods {
  readonly #patterns = new Map<string, { matches: RegExp; methods: Set<string> }>();

  add(method: string | string[], url: string): void {
    let entry = this.#patterns.get(url);
    if (entry === undefined) {
      const source = url
        .split('/')
        .map((part) =>
          part.startsWith(':')
            ? '[^/]+'
            : part === '*'
              ? '.*'
              : part.replaceAll('::', ':').replace(/[.*+?^${}()|[\]\\]/g, '\\$&'),
        )
        .join('/');
      entry = { matches: new RegExp(`^${source}/?$`), methods: new Set() };
      this.#patterns.set(url, entry);
    }
    for (const one of [method].flat()) entry.methods.add(one);
  }

  methodsAt(path: string): string[] {
    const found = new Set<string>();
    for (const { matches, methods } of this.#patterns.values()) {
      if (matches.test(path)) for (const method of methods) found.add(method);
    }
    return [...found].sort();
  }
}
