/** Entry of the thread behind `startSinkWriter`: one connection pool, any number of shards at once. */
import { parentPort, workerData } from 'node:worker_threads';
import { toTrivecError } from '../errors.ts';
import { openTarget } from '../sinks/qdrant/open.ts';
import type { QdrantTarget } from '../sinks/qdrant/targets.ts';
import { writeShard } from './sinkWrite.ts';
import type { FromWriter, ToWriter } from './sinkWriter.ts';

const port = parentPort!;
const sink = openTarget(workerData as QdrantTarget);
const running = new Map<number, AbortController>();
const reply = (message: FromWriter) => port.postMessage(message);

port.on('message', (message: ToWriter) => {
  if (message.type === 'abort') running.get(message.id)?.abort();
  else void write(message);
});

async function write({ id, task }: Extract<ToWriter, { type: 'write' }>): Promise<void> {
  const controller = new AbortController();
  running.set(id, controller);
  try {
    const report = await writeShard(sink, task, {
      signal: controller.signal,
      observer: {
        onWritten: (points, bytes) => reply({ type: 'written', id, points, bytes }),
        onRetry: () => reply({ type: 'retry', id }),
        onSlowDown: () => reply({ type: 'slowDown', id }),
        onStall: (reason) => reply({ type: 'stall', id, reason }),
      },
    });
    reply({ type: 'done', id, report });
  } catch (error) {
    const { code, message, retryAfterSeconds } = toTrivecError(error);
    reply({
      type: 'failed',
      id,
      code,
      message,
      ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
    });
  } finally {
    running.delete(id);
  }
}
