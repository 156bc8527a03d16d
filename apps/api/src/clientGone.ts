import type { FastifyReply } from 'fastify';

/** Aborts when the connection closes before the answer is out: nobody waits for the work any more. */
export function clientGone(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort();
  });
  return controller.signal;
}
