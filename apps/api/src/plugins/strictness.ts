import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify';
import fp from 'fastify-plugin';
import { Type } from 'typebox';

/** Tags of trivec's own routes, whose clients want to hear of a typing mistake. Those for machines take what they get. */
const STRICT = new Set(['embeddings', 'scores', 'tokens', 'search', 'jobs', 'models']);
const LENIENT = new Set([
  'openai',
  'cohere',
  'tei',
  'smart-embedder',
  'infinity',
  'semantic-explorer',
  'embedding-server',
]);

/**
 * trivec's own routes refuse a query that they would not read. Those of peers take `null` for a field that is not
 * given, which is what clients in typed languages send.
 */
export const strictness = fp(
  async (app: FastifyInstance) => {
    app.addHook('onRoute', (route) => {
      const tags = (route.schema as { tags?: string[] } | undefined)?.tags ?? [];
      if (tags.some((tag) => STRICT.has(tag))) refuseQuery(route);
      if (tags.some((tag) => LENIENT.has(tag)))
        route.preValidation = [nullIsAbsent, ...[route.preValidation ?? []].flat()];
    });
  },
  { name: 'strictness' },
);

function refuseQuery(route: RouteOptions): void {
  if (route.schema !== undefined)
    route.schema.querystring ??= Type.Object({}, { additionalProperties: false });
}

async function nullIsAbsent({ body }: FastifyRequest): Promise<void> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return;
  const fields = body as Record<string, unknown>;
  for (const [name, value] of Object.entries(fields)) if (value === null) delete fields[name];
}
