import { executeTask } from '@trivec/core/engine/executeTask';
import type { EngineTask, TaskReply } from '@trivec/core/engine/tasks';
import { toTrivecError } from '@trivec/core/errors';
import type { Consumer } from '@trivec/core/queue/workQueue';
import type { LaneDeps } from './lane.ts';

/**
 * Requests parked in the engine's pool at once. They cost memory, not device time: the scheduler packs
 * whatever waits into batches under the token budget.
 */
const PARKED_REQUESTS = 64;

export function serveInteractive({ backend, engine, metrics, logger }: LaneDeps): Promise<Consumer> {
  const model = engine.model.name;
  return backend.interactive.serve<EngineTask, TaskReply>(
    engine.model.fingerprint,
    async (task, context) => {
      try {
        const reply = await executeTask(engine, task, context);
        metrics.tasks.inc({ model, kind: task.kind, outcome: 'ok' });
        if (reply.kind === 'embed') countTexts(reply.vectors);
        return reply;
      } catch (error) {
        const { code, message } = toTrivecError(error);
        metrics.tasks.inc({ model, kind: task.kind, outcome: code });
        if (code === 'internal') logger.error({ kind: task.kind, message }, 'task failed');
        throw error;
      }
    },
    { concurrency: PARKED_REQUESTS },
  );

  function countTexts(vectors: Extract<TaskReply, { kind: 'embed' }>['vectors']): void {
    metrics.texts.inc({ model, lane: 'interactive' }, vectors.length);
    const tokens = vectors.reduce((sum, vector) => sum + ('tokens' in vector ? vector.tokens : 0), 0);
    metrics.tokens.inc({ model, lane: 'interactive' }, tokens);
  }
}
