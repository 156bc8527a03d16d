import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { Type } from 'typebox';
import { SURFACES, type Surface } from '../surfaces.ts';
import { VERSION } from '../version.ts';

/** The document is made from the routes' own schemas. Registered before them. */
export const openapi = fp(
  async (app: FastifyInstance) => {
    await app.register(swagger, {
      openapi: {
        openapi: '3.1.0',
        info: {
          title: 'trivec',
          version: VERSION,
          description: 'Corpora and queries to dense, sparse and ColBERT vectors.',
          license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
        },
        tags: [
          { name: 'jobs', description: 'Corpora, embedded in the background.' },
          { name: 'embeddings', description: 'Texts, embedded while you wait.' },
          { name: 'scores', description: 'How near texts are.' },
          { name: 'tokens' },
          { name: 'openai', description: 'The paths of OpenAI and of bge-m3-embedding-server.' },
          { name: 'cohere', description: 'The rerank of Cohere and Jina.' },
          { name: 'models' },
          ...Object.entries<Surface>(SURFACES)
            .filter(([, { prefix }]) => prefix !== '')
            .map(([name, { title }]) => ({ name, description: `For clients of ${title}.` })),
          { name: 'operations', description: 'For the machines that look after this one.' },
        ],
      },
      refResolver: {
        buildLocalReference: (schema, _baseUri, _fragment, index) => String(schema.$id ?? `schema-${index}`),
      },
    });
    // Swagger UI from its own files: nothing is loaded from elsewhere.
    await app.register(swaggerUi, {
      routePrefix: '/docs',
      uiConfig: { deepLinking: true, tryItOutEnabled: true },
    });
    app.get(
      '/openapi.json',
      {
        config: { public: true },
        schema: {
          summary: 'This document',
          tags: ['operations'],
          response: { 200: Type.Object({}, { additionalProperties: true }) },
        },
      },
      async () => app.swagger(),
    );
  },
  { name: 'openapi' },
);
