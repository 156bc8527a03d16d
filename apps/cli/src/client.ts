import { Readable } from 'node:stream';
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { ApiError, errorOf, notTrivec, unreachable } from './apiError.ts';
import type {
  CollectionSearchAnswer,
  CollectionSearchRequest,
  DryRunReport,
  JobRequest,
  JobView,
  ModelView,
  ResultFormat,
  SearchAnswer,
  SearchRequest,
} from './apiTypes.ts';

export interface RequestOptions {
  signal?: AbortSignal;
}

/** The HTTP API, typed. Every method throws `ApiError`, or an AbortError when its signal says so. */
export class TrivecClient {
  readonly url: string;
  readonly #apiKey: string | undefined;

  constructor(url: string, { apiKey }: { apiKey?: string | undefined } = {}) {
    this.url = url.replace(/\/+$/, '');
    this.#apiKey = apiKey;
  }

  /** Resolves when a trivec server answers at all. */
  async live(options: RequestOptions = {}): Promise<void> {
    await (await this.#send('GET', '/health/live', options)).body?.cancel();
  }

  /** False until a worker with the model is there. */
  async ready(options: RequestOptions = {}): Promise<boolean> {
    try {
      await (await this.#send('GET', '/health/ready', options)).body?.cancel();
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.status === 503) return false;
      throw error;
    }
  }

  async models(options: RequestOptions = {}): Promise<ModelView[]> {
    const body = await this.#json<{ data: ModelView[] }>('GET', '/models', options);
    return body.data;
  }

  /**
   * Streams documents as NDJSON; resolves with the job's id once the server has all of them safe. What `lines`
   * throws is thrown on, and no job is made.
   */
  async submit(
    lines: AsyncIterable<Uint8Array | string>,
    request: JobRequest,
    options: RequestOptions = {},
  ): Promise<string> {
    return (await this.#upload<{ id: string }>(lines, request, options)).id;
  }

  /** Streams the same; the server reads it all and keeps nothing. */
  dryRun(
    lines: AsyncIterable<Uint8Array | string>,
    request: JobRequest,
    options: RequestOptions = {},
  ): Promise<DryRunReport> {
    return this.#upload(lines, { ...request, dryRun: true }, options);
  }

  /**
   * Throws what the server has against the options of a job, whatever its documents: a dry run of one. That nobody can
   * count its tokens at the moment says nothing about them.
   */
  async checkRequest(request: JobRequest, options: RequestOptions = {}): Promise<void> {
    await this.dryRun(Readable.from([ANY_DOCUMENT]), request, options).catch((error: unknown) => {
      if (!(error instanceof ApiError && OF_THE_MOMENT.has(error.code))) throw error;
    });
  }

  async #upload<T>(
    lines: AsyncIterable<Uint8Array | string>,
    request: JobRequest & { dryRun?: true },
    options: RequestOptions,
  ): Promise<T> {
    const { collection, target, outputs, ...plain } = request;
    const destination = { type: 'qdrant', collection, ...(target !== undefined && { target }) };
    const query = queryOf({
      ...plain,
      outputs: outputs?.join(','),
      destination: collection === undefined ? undefined : JSON.stringify(destination),
    });
    let sourceError: unknown;
    async function* guarded(): AsyncGenerator<Uint8Array | string> {
      try {
        yield* lines;
      } catch (error) {
        sourceError = error;
        throw error;
      }
    }
    return this.#json<T>('POST', `/jobs${query}`, {
      ...options,
      contentType: 'application/x-ndjson',
      body: Readable.toWeb(Readable.from(guarded(), { objectMode: false })) as ReadableStream,
    }).catch((error: unknown) => {
      // fetch reports a body that failed as a network failure.
      throw sourceError ?? error;
    });
  }

  job(id: string, options: RequestOptions = {}): Promise<JobView> {
    return this.#json('GET', jobPath(id), options);
  }

  /**
   * The job, again whenever it has changed, until it has ended. Ends early when the server goes away or knows no
   * events: the last state that was seen then tells.
   */
  async *events(id: string, options: RequestOptions = {}): AsyncGenerator<JobView> {
    const response = await this.#send('GET', `${jobPath(id)}/events`, { ...options, accept: EVENT_STREAM });
    if (!response.headers.get('content-type')?.startsWith(EVENT_STREAM)) return;
    const events = response
      .body!.pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream());
    for await (const { event, data } of events) if (event === 'job') yield JSON.parse(data) as JobView;
  }

  /** One page, newest first. */
  jobs(
    page: { limit?: number; cursor?: string } = {},
    options: RequestOptions = {},
  ): Promise<{ jobs: JobView[]; nextCursor: string | null }> {
    return this.#json('GET', `/jobs${queryOf({ ...page })}`, options);
  }

  /** `retry`: the failed documents only, of a job that has ended. */
  steer(
    id: string,
    action: 'cancel' | 'pause' | 'resume' | 'retry',
    options: RequestOptions = {},
  ): Promise<JobView> {
    return this.#json('POST', `${jobPath(id)}/${action}`, options);
  }

  async delete(id: string, options: RequestOptions = {}): Promise<void> {
    await (await this.#send('DELETE', jobPath(id), options)).body?.cancel();
  }

  /** The finished part, as one body: NDJSON lines, an Arrow stream or a Parquet file. */
  async results(
    id: string,
    format: ResultFormat,
    options: RequestOptions = {},
  ): Promise<AsyncIterable<Uint8Array>> {
    const response = await this.#send('GET', `${jobPath(id)}/results`, {
      ...options,
      accept: ACCEPT[format],
    });
    return bytesOf(response);
  }

  /** Every failed document, as NDJSON lines of `{id, code, message}`. */
  async errors(id: string, options: RequestOptions = {}): Promise<AsyncIterable<Uint8Array>> {
    return bytesOf(await this.#send('GET', `${jobPath(id)}/errors`, options));
  }

  search(id: string, request: SearchRequest, options: RequestOptions = {}): Promise<SearchAnswer> {
    return this.#json('POST', `${jobPath(id)}/search`, {
      ...options,
      contentType: 'application/json',
      body: JSON.stringify(request),
    });
  }

  searchCollection(
    request: CollectionSearchRequest,
    options: RequestOptions = {},
  ): Promise<CollectionSearchAnswer> {
    return this.#json('POST', '/search', {
      ...options,
      contentType: 'application/json',
      body: JSON.stringify(request),
    });
  }

  async #json<T>(method: string, path: string, options: SendOptions): Promise<T> {
    const response = await this.#send(method, path, options);
    try {
      return (await response.json()) as T;
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw notTrivec(this.url, response.status, error);
    }
  }

  async #send(method: string, path: string, options: SendOptions): Promise<Response> {
    const headers: Record<string, string> = { accept: options.accept ?? 'application/json' };
    if (options.contentType !== undefined) headers['content-type'] = options.contentType;
    if (this.#apiKey !== undefined) headers.authorization = `Bearer ${this.#apiKey}`;
    let response: Response;
    try {
      response = await fetch(this.url + path, {
        method,
        headers,
        ...(options.body !== undefined && { body: options.body, duplex: 'half' }),
        ...(options.signal !== undefined && { signal: options.signal }),
      });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw unreachable(this.url, error);
    }
    if (response.ok) return response;
    throw await errorOf(this.url, response);
  }
}

const ANY_DOCUMENT = `${JSON.stringify({ id: 1, text: 'A text.' })}\n`;
const OF_THE_MOMENT: ReadonlySet<string> = new Set(['model_unavailable', 'overloaded', 'deadline_exceeded']);

const EVENT_STREAM = 'text/event-stream';

const ACCEPT: Record<ResultFormat, string> = {
  ndjson: 'application/x-ndjson',
  arrow: 'application/vnd.apache.arrow.stream',
  parquet: 'application/vnd.apache.parquet',
};

interface SendOptions extends RequestOptions {
  accept?: string;
  contentType?: string;
  body?: string | ReadableStream;
}

function jobPath(id: string): string {
  return `/jobs/${encodeURIComponent(id)}`;
}

function queryOf(values: Record<string, string | number | boolean | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== undefined) query.set(name, String(value));
  return query.size === 0 ? '' : `?${query}`;
}

async function* bytesOf(response: Response): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  yield* response.body;
}
