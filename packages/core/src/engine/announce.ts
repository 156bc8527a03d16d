import type { Call } from './call.ts';
import type { Item } from './laneQueue.ts';

/**
 * Tells every call of a batch which of its texts are about to run, together with those of its texts that the device
 * still has: who is told last, is told all.
 */
export async function announce(batch: readonly Item[], flying: readonly Item[]): Promise<void> {
  const indexes = new Map<Call, number[]>();
  for (const { call } of batch) indexes.set(call, []);
  for (const { call, index } of [...flying, ...batch]) indexes.get(call)?.push(index);
  await Promise.all([...indexes].map(([call, list]) => call.announce(list)));
}
