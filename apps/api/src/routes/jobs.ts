import { jobView } from '@trivec/core/jobs/jobView';
import { Type } from 'typebox';
import { errorResponses } from '../schemas/common.ts';
import { JobListQuery, JobListSchema, JobParams } from '../schemas/jobs.ts';
import type { Routes } from '../services.ts';
import { viewerOf } from '../viewer.ts';
import { jobEventRoutes } from './jobEvents.ts';

const DEFAULT_PAGE = 20;

export const jobRoutes: Routes = async (app, { services }) => {
  const { jobs, models } = services;
  await app.register(jobEventRoutes, { services });
  app.get(
    '/jobs',
    {
      schema: {
        summary: 'Jobs, newest first',
        tags: ['jobs'],
        querystring: JobListQuery,
        response: { 200: JobListSchema, ...errorResponses('invalid_cursor') },
      },
    },
    async (request) => {
      const { limit = DEFAULT_PAGE, cursor } = request.query;
      const page = await jobs.list(viewerOf(request), { limit, ...(cursor !== undefined && { cursor }) });
      const nowMs = Date.now();
      const served = await models.fingerprints();
      return { jobs: page.jobs.map((job) => jobView(job, nowMs, served)), nextCursor: page.cursor ?? null };
    },
  );

  app.get(
    '/jobs/:id',
    {
      schema: {
        summary: 'Status, exact counts, rate and time left',
        tags: ['jobs'],
        params: JobParams,
        response: { 200: Type.Ref('Job#'), ...errorResponses('job_not_found') },
      },
    },
    async (request) =>
      jobView(await jobs.get(request.params.id, viewerOf(request)), Date.now(), await models.fingerprints()),
  );

  app.delete(
    '/jobs/:id',
    {
      schema: {
        summary: 'Delete a job with its documents and results, whatever its state',
        tags: ['jobs'],
        params: JobParams,
        response: {
          204: Type.Null({ description: 'Gone.' }),
          ...errorResponses('job_not_found', 'storage_unavailable', 'sink_unavailable'),
        },
      },
    },
    async (request, reply) => {
      await jobs.delete(request.params.id, viewerOf(request));
      return reply.code(204).send(null);
    },
  );

  const actions = {
    cancel: 'End a job now; what is done stays readable',
    pause: 'Start no further shards of a job',
    resume: 'Go on with a paused job',
    retry: 'Embed the failed documents of an ended job again; their results stand behind the others',
  } as const;
  for (const [action, summary] of Object.entries(actions) as [keyof typeof actions, string][]) {
    app.post(
      `/jobs/:id/${action}`,
      {
        schema: {
          summary,
          tags: ['jobs'],
          params: JobParams,
          response: {
            200: Type.Ref('Job#'),
            ...errorResponses(
              'job_not_found',
              'job_conflict',
              // The failed documents are stored once more.
              ...(action === 'retry' ? (['storage_unavailable', 'storage_full'] as const) : []),
            ),
          },
        },
      },
      async (request) => {
        const job = await jobs[action](request.params.id, viewerOf(request));
        return jobView(job, Date.now(), await models.fingerprintsIfKnown());
      },
    );
  }
};
