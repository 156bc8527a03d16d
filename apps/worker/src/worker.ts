import { randomUUID } from 'node:crypto';
import { JobTexts } from '@trivec/core/jobs/jobTexts';
import type { Consumer } from '@trivec/core/queue/workQueue';
import { Resources } from '@trivec/core/shutdown';
import { serveBulk } from './bulkLane.ts';
import { serveInteractive } from './interactiveLane.ts';
import type { LaneDeps, WorkerDeps } from './lane.ts';
import { serveSinks } from './sinkLane.ts';
import { destinationsOf } from './starting.ts';

/**
 * Serves both lanes of each engine, then announces it: a model counts as ready once it can be reached.
 * Closing what is returned leaves the registry first, lets running batches end and gives the rest back.
 */
export async function startWorker({ engines, ...deps }: WorkerDeps): Promise<Consumer> {
  const resources = new Resources();
  const { ledger } = deps.backend;
  const texts = new JobTexts(deps.config);
  try {
    resources.add(await serveSinks(deps));
    for (const engine of engines) {
      const lane: LaneDeps = { ...deps, engine, ledger, texts };
      resources.add(await serveBulk(lane));
      resources.add(await serveInteractive(lane));
      resources.add(await announce(lane));
    }
  } catch (error) {
    await resources.close();
    throw error;
  }
  return resources;
}

async function announce({
  backend,
  config,
  engine,
  metrics,
  logger,
  failedModels = [],
}: LaneDeps): Promise<Consumer> {
  const workerId = randomUUID();
  const startedAtMs = Date.now();
  const { model, device } = engine;
  const destinations = destinationsOf(config);
  const announcement = await backend.registry.announce(() => {
    const tokensPerSecond = engine.tokensPerSecond();
    metrics.tokensPerSecond.set({ model: model.name, device }, tokensPerSecond);
    metrics.maxBatchTokens.set({ model: model.name, device }, engine.maxBatchTokens);
    const { calibration } = engine;
    return {
      workerId,
      model,
      device: engine.device,
      maxBatchTokens: engine.maxBatchTokens,
      maxBulkTokens: engine.maxBulkTokens,
      ...(calibration && { calibration: { from: calibration.from, cost: calibration.cost } }),
      tokensPerSecond,
      startedAtMs,
      destinations,
      ...(failedModels.length > 0 && { failedModels }),
    };
  });
  logger.info(
    {
      model: model.name,
      description: model.description,
      standIn: model.standIn,
      fingerprint: model.fingerprint,
      dtype: model.dtype,
      device,
      maxBatchTokens: engine.maxBatchTokens,
    },
    'worker ready',
  );
  return announcement;
}
