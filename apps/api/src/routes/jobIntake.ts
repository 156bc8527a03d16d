import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import { TrivecError } from '@trivec/core/errors';
import { jobView } from '@trivec/core/jobs/jobView';
import type { RequestedOptions, SubmitInput } from '@trivec/core/jobs/serviceTypes';
import { DestinationSchema, type RequestedDestination } from '@trivec/core/sinks/qdrant/destination';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Static, Type } from 'typebox';
import { clientGone } from '../clientGone.ts';
import { errorResponses } from '../schemas/common.ts';
import { SubmitBody, SubmitEnvelope, SubmitHeaders, SubmitQuery } from '../schemas/jobSubmission.ts';
import { AcceptedSchema, DryRunSchema } from '../schemas/jobs.ts';
import type { Routes } from '../services.ts';
import { stopUpload, until, uploadedBytes } from '../upload.ts';
import { validatorCompiler } from '../validation.ts';
import { viewerOf } from '../viewer.ts';

const NDJSON = 'application/x-ndjson';

type Options = RequestedOptions & { model?: string; dryRun?: boolean };

/** `POST /jobs`, in a scope of its own: the only route that takes a stream. */
export const jobIntake: Routes = async (app, { services }) => {
  const { jobs, models, metrics } = services;
  app.addContentTypeParser([NDJSON, 'application/ndjson', 'application/jsonl'], (_request, payload, done) =>
    done(null, payload),
  );
  app.post(
    '/jobs',
    {
      // Before the body: who is refused for want of room need not have sent it.
      onRequest: async (request) => {
        const key = request.headers['idempotency-key'];
        try {
          await jobs.admit(viewerOf(request).owner, typeof key === 'string' ? key : undefined);
        } catch (error) {
          stopUpload(request.raw);
          throw error;
        }
      },
      schema: {
        summary: 'Embed a corpus',
        description:
          'A JSON body, or NDJSON with one document a line (streamed, optionally gzipped) and the options as query parameters. ' +
          'Answered when nothing can be lost any more.',
        tags: ['jobs'],
        querystring: SubmitQuery,
        headers: SubmitHeaders,
        body: {
          content: {
            'application/json': { schema: SubmitBody },
            [NDJSON]: {
              schema: Type.String({
                description: 'One document a line: {"id", "text", "payload"?}, or any record with `fields`.',
              }),
            },
          },
        },
        response: {
          200: DryRunSchema,
          202: AcceptedSchema,
          ...errorResponses(
            'invalid_json',
            'invalid_line',
            'no_documents',
            'invalid_document',
            'duplicate_id',
            'unknown_output',
            'upload_aborted',
            'unknown_model',
            'idempotency_conflict',
            'overloaded',
            'collection_conflict',
            'sink_rejected',
            'sink_unavailable',
            'body_too_large',
            'too_many_documents',
            'unsupported_media_type',
            'model_unavailable',
            'storage_unavailable',
            'storage_full',
          ),
        },
      },
      validatorCompiler: (definition) =>
        validatorCompiler(
          definition.httpPart === 'body' ? { ...definition, schema: SubmitEnvelope } : definition,
        ),
    },
    async (request, reply) => {
      try {
        const { model: name, dryRun, ...options } = optionsOf(request);
        const model = await models.resolve(name);
        const idempotencyKey = request.headers['idempotency-key'];
        const input: SubmitInput = {
          source: sourceOf(request, app.uploadsEnd),
          options,
          model,
          owner: viewerOf(request).owner,
          ...(idempotencyKey !== undefined && { idempotencyKey }),
          signal: clientGone(reply as FastifyReply),
        };
        if (dryRun) return reply.code(200).send(await jobs.dryRun(input));
        const job = await jobs.submit(input);
        metrics.jobsSubmitted.inc({ model: model.name });
        metrics.documentsSubmitted.inc({ model: model.name }, job.counts.documents);
        const { id, status, links } = jobView(job, Date.now());
        return reply.code(202).header('location', links.self).send({ id, status, links });
      } catch (error) {
        stopUpload(request.raw);
        throw error;
      }
    },
  );
};

function isStream(request: FastifyRequest): boolean {
  return request.mediaType !== 'application/json';
}

function sourceOf(request: FastifyRequest, uploadsEnd: AbortSignal): SubmitInput['source'] {
  if (isStream(request)) {
    if (request.body === undefined)
      throw new TrivecError('no_documents', 'The request has no body: send documents as JSON or NDJSON.', {
        param: 'documents',
      });
    return {
      format: 'ndjson',
      body: until(
        uploadsEnd,
        uploadedBytes(request.body as Readable, request.headers['content-encoding']),
        () =>
          new TrivecError('shutting_down', 'The server is shutting down; no job was made.', {
            retryAfterSeconds: 5,
          }),
      ),
    };
  }
  const { documents, source } = request.body as Static<typeof SubmitEnvelope>;
  if (source === undefined) return { format: 'array', documents: documents ?? [] };
  if (documents === undefined) return { format: 'server', at: source };
  throw new TrivecError('invalid_request', 'A job has documents or a source, not both.', { param: 'source' });
}

/** A secret in a URL would end up in logs of proxies: beside a streamed body it travels in headers. */
function webhookOf(headers: IncomingHttpHeaders): Pick<Options, 'webhook'> {
  const { 'x-webhook-url': url, 'x-webhook-secret': secret } = headers;
  if (url === undefined && secret === undefined) return {};
  if (typeof url === 'string' && typeof secret === 'string') return { webhook: { url, secret } };
  throw new TrivecError('invalid_request', 'x-webhook-url and x-webhook-secret go together.', {
    param: url === undefined ? 'x-webhook-url' : 'x-webhook-secret',
  });
}

/** From the body or the query, under the same names; never both for one. */
function optionsOf(request: FastifyRequest): Options {
  const fromQuery = {
    ...queryOptions(request.query as Static<typeof SubmitQuery>),
    ...webhookOf(request.headers),
  };
  if (isStream(request)) return fromQuery;
  const {
    documents: _documents,
    source: _source,
    ...fromBody
  } = request.body as Static<typeof SubmitEnvelope>;
  const twice = Object.keys(fromQuery).find((name) => Object.hasOwn(fromBody, name));
  if (twice !== undefined) {
    throw new TrivecError('invalid_request', `${twice} is given in the body and in the query.`, {
      param: twice,
    });
  }
  return { ...fromQuery, ...fromBody };
}

/** `fields.text=title,text` in a query is `fields: {text: ['title', 'text']}` in a body. */
function queryOptions({
  outputs,
  metadata,
  destination,
  'fields.id': id,
  'fields.text': text,
  'fields.payload': payload,
  'chunking.maxTokens': maxTokens,
  'chunking.overlap': overlap,
  'chunking.unit': unit,
  ...plain
}: Static<typeof SubmitQuery>): Options {
  const fields = {
    ...(id !== undefined && { id }),
    ...(text !== undefined && { text: list(text) }),
    ...(payload !== undefined && { payload: payload === '*' ? (true as const) : list(payload) }),
  };
  const chunking = { ...(overlap !== undefined && { overlap }), ...(unit !== undefined && { unit }) };
  if (maxTokens === undefined && Object.keys(chunking).length > 0)
    throw new TrivecError('invalid_request', 'chunking.maxTokens is required.', {
      param: 'chunking.maxTokens',
    });
  return {
    ...plain,
    ...(outputs !== undefined && { outputs: list(outputs) }),
    ...(metadata !== undefined && { metadata: parseObject(metadata, 'metadata') }),
    ...(destination !== undefined && { destination: parseDestination(destination) }),
    ...(Object.keys(fields).length > 0 && { fields }),
    ...(maxTokens !== undefined && { chunking: { maxTokens, ...chunking } }),
  };
}

function list(text: string): string[] {
  return text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

const checkDestination = validatorCompiler({ schema: DestinationSchema, method: 'POST', url: '/jobs' });

function parseDestination(text: string): RequestedDestination {
  const value = parseObject(text, 'destination');
  const { error } = checkDestination(value) as { error?: Error };
  if (!(error instanceof TrivecError)) return value as RequestedDestination;
  const param = `destination.${error.param ?? ''}`.replace(/\.$/, '');
  throw new TrivecError('invalid_request', `destination: ${error.message}`, { param });
}

function parseObject(text: string, param: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch {
    // said below
  }
  throw new TrivecError('invalid_request', `${param} must be a JSON object.`, { param });
}
