import { setTimeout as sleep } from 'node:timers/promises';
import { fastifySSE } from '@fastify/sse';
import { TrivecError } from '@trivec/core/errors';
import { jobView } from '@trivec/core/jobs/jobView';
import type { JobView } from '@trivec/core/jobs/serviceTypes';
import { isEnded } from '@trivec/core/jobs/stateMachine';
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { errorResponses, rawResponse } from '../schemas/common.ts';
import { JobParams } from '../schemas/jobs.ts';
import type { Routes } from '../services.ts';
import { viewerOf } from '../viewer.ts';

const EVENT_STREAM = 'text/event-stream';
const LOOK_EVERY_MS = 500;
/** Proxies and clients take a connection that is silent for longer for a dead one. */
const HEARTBEAT_MS = 10_000;

/** That nobody works on a job any more changes nothing in its record. */
function standsStill(view: JobView | undefined): string {
  return `${view?.waitingFor} ${view?.tokensPerSecond === null}`;
}

/** In a scope of its own: the plugin adds to every route of its scope. */
export const jobEventRoutes: Routes = async (app, { services: { jobs, models } }) => {
  await app.register(fastifySSE, { heartbeatInterval: HEARTBEAT_MS });
  const closing = new AbortController();
  // A stream would hold a stop up for as long as its job runs.
  app.addHook('preClose', async () => closing.abort());

  app.get(
    '/jobs/:id/events',
    {
      // The plugin would refuse in a shape of its own.
      sse: 'manual',
      schema: {
        summary: 'The job, again whenever it has changed',
        description:
          'Server-sent events named `job` with the body of `GET /jobs/{id}`; the last one is that of the ended job. ' +
          'A comment is sent every ten seconds.',
        tags: ['jobs'],
        params: JobParams,
        response: {
          200: rawResponse('The events.', { [EVENT_STREAM]: Type.String() }),
          ...errorResponses('job_not_found', 'not_acceptable'),
        },
      },
    },
    async (request, reply) => {
      if (request.type([EVENT_STREAM]) === false)
        throw new TrivecError('not_acceptable', `Accept: there is ${EVENT_STREAM}.`, { param: 'accept' });
      const { id } = request.params;
      const viewer = viewerOf(request);
      // Before the stream begins, an error is still an answer.
      let job = await jobs.get(id, viewer);
      const gone = new AbortController();
      const stop = AbortSignal.any([gone.signal, closing.signal]);
      const { sse: stream } = reply as FastifyReply;
      stream.onClose(() => gone.abort());
      let sent: JobView | undefined;
      let sentVersion: number | undefined;
      while (!stop.aborted) {
        const view = jobView(job, Date.now(), await models.fingerprints());
        if (job.version !== sentVersion || standsStill(view) !== standsStill(sent)) {
          sentVersion = job.version;
          sent = view;
          await stream.send({ event: 'job', id: String(sentVersion), data: view });
        }
        if (isEnded(job)) break;
        await sleep(LOOK_EVERY_MS, undefined, { signal: stop }).catch(() => undefined);
        if (!stop.aborted) job = await jobs.get(id, viewer);
      }
      stream.close();
      return reply as never;
    },
  );
};
