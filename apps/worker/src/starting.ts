import { randomUUID } from 'node:crypto';
import type { Backend } from '@trivec/core/backend/backend';
import type { Consumer } from '@trivec/core/queue/workQueue';
import { type QdrantConfig, qdrantTargets } from '@trivec/core/sinks/qdrant/targets';

/** The servers that this worker takes results to: names of QDRANT_TARGETS, and the empty one for that of QDRANT_URL. */
export function destinationsOf(config: QdrantConfig): string[] {
  return [...qdrantTargets(config).keys()].map((name = '') => name);
}

/** Others know of the worker while its models are downloaded and loaded; to be closed when it has announced itself. */
export function announceStart(backend: Pick<Backend, 'registry'>, config: QdrantConfig): Promise<Consumer> {
  return backend.registry.announceStart({ workerId: randomUUID(), destinations: destinationsOf(config) });
}
