import { Type } from 'typebox';
import { errorResponses } from '../schemas/common.ts';
import { RootSchema } from '../schemas/models.ts';
import type { Routes } from '../services.ts';
import { VERSION } from '../version.ts';

/** What somebody finds who knows the address and nothing else. */
export const rootRoutes: Routes = async (app) => {
  app.get(
    '/',
    {
      config: { public: true },
      schema: {
        summary: 'What this is, and where the rest is',
        tags: ['operations'],
        response: {
          200: RootSchema,
          302: Type.Null({ description: 'Without a body. To /docs, for a browser.' }),
          ...errorResponses(),
        },
      },
    },
    async (request, reply) => {
      reply.header('vary', 'accept');
      if (request.accepts().type(['json', 'html']) === 'html') return reply.redirect('/docs') as never;
      return {
        name: 'trivec' as const,
        version: VERSION,
        docs: '/docs',
        openapi: '/openapi.json',
        health: '/health',
        models: '/models',
        embeddings: '/embeddings',
        jobs: '/jobs',
      };
    },
  );
};
