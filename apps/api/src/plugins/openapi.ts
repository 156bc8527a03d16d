import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { Type } from 'typebox';
import { SURFACES, type Surface } from '../surfaces.ts';
import { VERSION } from '../version.ts';

const KEY_SCHEMES = {
  bearer: {
    type: 'http',
    scheme: 'bearer',
    description: 'A key of API_KEYS or API_KEYS_FILE; needed where the server has keys.',
  },
  apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'The same, in another header.' },
} as const;

export interface OpenApiOptions {
  /** False: keys are known to the document and not needed. */
  needsKey: boolean;
}

/** The document is made from the routes' own schemas. Registered before them. */
export const openapi = fp<OpenApiOptions>(
  async (app: FastifyInstance, { needsKey }) => {
    const eitherKey = Object.keys(KEY_SCHEMES).map((name) => ({ [name]: [] }));
    const security = needsKey ? eitherKey : [{}, ...eitherKey];
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
        components: { securitySchemes: KEY_SCHEMES },
        security,
      },
      transform: ({ schema, url, route }) => ({
        url,
        schema: route.config?.public === true ? { ...schema, security: [] } : schema,
      }),
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
