import { jobView } from '@trivec/core/jobs/jobView';
import { Type } from 'typebox';
import { errorResponses } from '../schemas/common.ts';
import { IngestBody } from '../schemas/jobSubmission.ts';
import { JobParams } from '../schemas/jobs.ts';
import type { Routes } from '../services.ts';
import { viewerOf } from '../viewer.ts';

export const jobIngestRoutes: Routes = async (app, { services: { jobs, models } }) => {
  app.post(
    '/jobs/:id/ingest',
    {
      schema: {
        summary: 'Send the stored results of a job to a destination',
        description: 'Of a job that has ended. Nothing is embedded again; the job runs until all is written.',
        tags: ['jobs'],
        params: JobParams,
        body: IngestBody,
        response: {
          202: Type.Ref('Job#'),
          ...errorResponses(
            'invalid_json',
            'job_not_found',
            'job_conflict',
            'collection_conflict',
            'body_too_large',
            'unsupported_media_type',
            'sink_rejected',
            'sink_unavailable',
          ),
        },
      },
    },
    async (request, reply) => {
      const job = await jobs.ingest(request.params.id, viewerOf(request), request.body.destination);
      return reply.code(202).send(jobView(job, Date.now(), await models.fingerprintsIfKnown()));
    },
  );
};
