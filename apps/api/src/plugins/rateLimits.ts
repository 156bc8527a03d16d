import type { FastifyInstance, FastifyReply } from 'fastify';
import fp from 'fastify-plugin';
import { type Allowance, RateLimitedError, type RateLimits } from '../rateLimits.ts';
import { clientOf } from '../viewer.ts';
import { isPublic } from './keys.ts';

/** Every request but those to public routes counts; every answer says what is left. */
export const rateLimiting = fp<{ limits: RateLimits }>(
  async (app: FastifyInstance, { limits }) => {
    app.addHook('onRequest', async (request, reply) => {
      if (isPublic(request)) return;
      try {
        tell(reply, await limits.admit(clientOf(request)));
      } catch (error) {
        if (error instanceof RateLimitedError) tell(reply, error.allowance);
        throw error;
      }
    });
  },
  { name: 'rate-limiting', dependencies: ['keys'] },
);

function tell(reply: FastifyReply, allowance: Allowance | undefined): void {
  if (allowance === undefined) return;
  reply.headers({
    'ratelimit-limit': String(allowance.limit),
    'ratelimit-remaining': String(allowance.remaining),
    'ratelimit-reset': String(allowance.resetSeconds),
  });
}
