import { type Static, Type } from 'typebox';
import { errorResponses } from '../schemas/common.ts';
import type { Routes, Services } from '../services.ts';

const StatsSchema = Type.Object({
  uptimeSeconds: Type.Number({ description: 'Of this API process, as all that follows but the models.' }),
  requests: Type.Integer({ description: 'Answered, whatever the answer.' }),
  refused: Type.Integer({ description: 'Told to come back later, before any work.' }),
  texts: Type.Integer({ description: 'Texts and pairs of synchronous requests.' }),
  tokens: Type.Integer(),
  models: Type.Array(
    Type.Object({
      model: Type.String(),
      workers: Type.Integer(),
      queueDepth: Type.Integer({
        description: 'Pieces of synchronous work that wait or run, of this process.',
      }),
      queueCapacity: Type.Integer(),
      estimatedWaitMs: Type.Integer(),
      tokensPerSecond: Type.Number({ description: 'Of all workers, while they last worked.' }),
    }),
  ),
});

export const statsRoutes: Routes = async (app, { services }) => {
  app.get(
    '/stats',
    {
      schema: {
        summary: 'What was done, and how busy it is now',
        tags: ['operations'],
        response: { 200: StatsSchema, ...errorResponses() },
      },
    },
    () => readStats(services),
  );
};

export async function readStats({
  metrics,
  models,
  admission,
}: Services): Promise<Static<typeof StatsSchema>> {
  return {
    uptimeSeconds: Math.round(process.uptime()),
    requests: await sumOf(metrics.httpRequestSeconds, '_count'),
    refused: await sumOf(metrics.requestsRefused),
    texts: await sumOf(metrics.requestTexts),
    tokens: await sumOf(metrics.requestTokens),
    models: (await models.served()).map(({ model, workers }) => ({
      model: model.name,
      workers: workers.length,
      ...admission.load(model.fingerprint),
      tokensPerSecond: workers.reduce((sum, { tokensPerSecond }) => sum + tokensPerSecond, 0),
    })),
  };
}

interface Readable {
  get(): Promise<{ values: readonly { value: number; metricName?: string }[] }>;
}

/** Over all labels; of a histogram only the series that ends so. */
async function sumOf(metric: Readable, suffix = ''): Promise<number> {
  const { values } = await metric.get();
  return values
    .filter(({ metricName }) => suffix === '' || metricName?.endsWith(suffix) === true)
    .reduce((sum, { value }) => sum + value, 0);
}
