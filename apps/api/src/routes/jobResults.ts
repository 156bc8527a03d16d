import { Readable } from 'node:stream';
import { TrivecError } from '@trivec/core/errors';
import type { DocumentError } from '@trivec/core/jobs/records';
import type { ResultFormat } from '@trivec/core/jobs/serviceTypes';
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { clientGone } from '../clientGone.ts';
import { errorResponses, rawResponse } from '../schemas/common.ts';
import { ResultLineSchema, ResultsQuery } from '../schemas/jobResults.ts';
import { DocumentErrorSchema, JobParams } from '../schemas/jobs.ts';
import type { Routes } from '../services.ts';
import { viewerOf } from '../viewer.ts';

const FORMATS: Record<string, ResultFormat> = {
  'application/x-ndjson': 'ndjson',
  'application/vnd.apache.arrow.stream': 'arrow',
  'application/vnd.apache.parquet': 'parquet',
};

/** Bodies that are made while they are sent: nothing is read from storage that the client has no room for. */
export const jobResultRoutes: Routes = async (app, { services: { jobs } }) => {
  app.get(
    '/jobs/:id/results',
    {
      exposeHeadRoute: false,
      schema: {
        summary: 'Vectors in input order; while the job runs, the finished part',
        description:
          'NDJSON, or as Accept asks: application/vnd.apache.arrow.stream or application/vnd.apache.parquet. `x-next-cursor` says where to go on, ' +
          'now or later; it is absent when the job has ended and nothing is left.',
        tags: ['jobs'],
        params: JobParams,
        querystring: ResultsQuery,
        response: {
          200: rawResponse(
            'Rows; the NDJSON schema is that of one line.',
            {
              'application/x-ndjson': ResultLineSchema,
              'application/vnd.apache.arrow.stream': Type.String({ format: 'binary' }),
              'application/vnd.apache.parquet': Type.String({ format: 'binary' }),
            },
            {
              'x-next-cursor': Type.String({ description: 'Where the next page starts.' }),
              'x-rows': Type.Integer({ description: 'Rows of this page.' }),
            },
          ),
          ...errorResponses('job_not_found', 'invalid_cursor', 'not_acceptable', 'storage_unavailable'),
        },
      },
    },
    async (request, reply) => {
      const type = request.accepts().type(Object.keys(FORMATS));
      const format = typeof type === 'string' ? FORMATS[type] : undefined;
      if (format === undefined) {
        throw new TrivecError('not_acceptable', `Results come as ${Object.keys(FORMATS).join(' or ')}.`, {
          param: 'accept',
        });
      }
      const page = await jobs.results(request.params.id, viewerOf(request), {
        format,
        ...request.query,
        signal: clientGone(reply as FastifyReply),
      });
      if (page.nextCursor !== undefined) reply.header('x-next-cursor', page.nextCursor);
      reply.header('x-rows', page.rows).type(page.contentType);
      return sendStream(reply, page.body);
    },
  );

  app.get(
    '/jobs/:id/errors',
    {
      exposeHeadRoute: false,
      schema: {
        summary: 'Every document that failed so far, and why',
        tags: ['jobs'],
        params: JobParams,
        response: {
          200: rawResponse('The schema is that of one line.', {
            'application/x-ndjson': DocumentErrorSchema,
          }),
          ...errorResponses('job_not_found', 'storage_unavailable'),
        },
      },
    },
    async (request, reply) => {
      const errors = await jobs.errors(request.params.id, viewerOf(request));
      reply.type('application/x-ndjson');
      return sendStream(reply, lines(errors));
    },
  );
};

function sendStream(
  reply: { send(payload: unknown): unknown },
  body: AsyncIterable<Uint8Array | string>,
): never {
  return reply.send(Readable.from(body, { objectMode: false })) as never;
}

async function* lines(errors: AsyncIterable<DocumentError>): AsyncGenerator<string> {
  for await (const error of errors) yield `${JSON.stringify(error)}\n`;
}
