import type { WorkerAnnouncement } from '@trivec/core/registry/workerRegistry';
import type { Static } from 'typebox';
import type { ModelDirectory } from '../modelDirectory.ts';
import { errorResponses } from '../schemas/common.ts';
import { InfoSchema, ModelsSchema } from '../schemas/models.ts';
import type { Routes } from '../services.ts';
import { VERSION } from '../version.ts';

/** As OpenAI lists them, and more. */
export async function modelList(models: ModelDirectory): Promise<Static<typeof ModelsSchema>> {
  return {
    object: 'list',
    data: (await models.served()).map(({ model, isDefault, workers }) => ({
      id: model.name,
      object: 'model',
      created: Math.floor(Math.min(...workers.map(({ startedAtMs }) => startedAtMs)) / 1000),
      owned_by: 'trivec',
      default: isDefault,
      kind: model.kind,
      fingerprint: model.fingerprint,
      dtype: model.dtype,
      outputs: [...model.outputs],
      denseDims: model.denseDims,
      colbertDims: model.colbertDims,
      maxTokens: model.maxTokens,
      prompts: { ...model.prompts },
      standIn: model.standIn,
      description: model.description,
      license: model.license,
      workers: workers.length,
      devices: [...new Set(workers.map(({ device }) => device))],
    })),
  };
}

function engineInfo({
  model,
  device,
  maxBatchTokens,
  calibration,
  tokensPerSecond,
}: WorkerAnnouncement): Static<typeof InfoSchema>['engines'][number] {
  return {
    model: model.name,
    device,
    maxBatchTokens,
    ...(calibration && { budgetFrom: calibration.from, cost: { ...calibration.cost } }),
    tokensPerSecond,
  };
}

export const modelRoutes: Routes = async (app, { services: { config, backend, storage, models } }) => {
  app.get(
    '/models',
    {
      schema: {
        summary: 'Models that requests can name now',
        tags: ['models'],
        response: { 200: ModelsSchema, ...errorResponses() },
      },
    },
    () => modelList(models),
  );

  app.get(
    '/info',
    {
      schema: {
        summary: 'Version, backend and limits',
        tags: ['models'],
        response: { 200: InfoSchema, ...errorResponses() },
      },
    },
    async () => {
      const served = await models.served();
      const {
        maxBodyBytes,
        maxInputs,
        maxInputChars,
        maxJobDocuments,
        maxJobBytes,
        maxLineBytes,
        requestTimeoutMs,
      } = config;
      return {
        name: 'trivec' as const,
        version: VERSION,
        backend: backend.kind,
        storage: storage.description,
        model: config.model,
        models: served.map(({ model }) => model.name),
        workers: served.reduce((sum, { workers }) => sum + workers.length, 0),
        engines: served.flatMap(({ workers }) => workers.map(engineInfo)),
        limits: {
          maxBodyBytes,
          maxInputs,
          maxInputChars,
          maxJobDocuments,
          maxJobBytes,
          maxLineBytes,
          requestTimeoutMs,
        },
      };
    },
  );
};
