import type { Viewer } from '@trivec/core/jobs/serviceTypes';
import type { FastifyRequest } from 'fastify';

/** Whose jobs a request sees. Without API keys everybody is the same anonymous owner. */
export function viewerOf(_request: FastifyRequest): Viewer {
  return { owner: 'anonymous', admin: false };
}
