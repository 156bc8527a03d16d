import type { TrivecError } from '../errors.ts';
import type { LedgerStore } from '../ledger/ledgerStore.ts';
import type { RequestOptions, SinkObserver } from '../sinks/qdrant/client.ts';
import { isRefusal } from '../sinks/qdrant/failure.ts';
import {
  dropReplacement,
  movedAway,
  replacedBy,
  restoreIndexing,
  swapAlias,
} from '../sinks/qdrant/lifecycle.ts';
import type { QdrantSink } from '../sinks/qdrant/open.ts';
import type { Logger } from '../telemetry/logger.ts';
import { Ledger } from './ledger.ts';
import type { JobRecord, SinkState } from './records.ts';
import type { SinkStalls } from './sinkStalls.ts';
import { isEnded } from './stateMachine.ts';

interface SinkFinishDeps {
  sink: QdrantSink;
  logger: Logger;
  observer?: SinkObserver;
  stalls?: SinkStalls;
}

/** Puts the destination of an ended job in order, now. Throws `sink_unavailable`. */
export async function settleSink(
  deps: SinkFinishDeps & { ledger: LedgerStore },
  jobId: string,
): Promise<void> {
  const job = await deps.ledger.readJob(jobId);
  if (job !== undefined && isEnded(job))
    await finishSink(deps, new Ledger(deps.ledger), job, new AbortController().signal);
}

/**
 * Restores what was put off and swaps the alias, when all is written; of a cancelled job only the first, and a
 * replacement that will never be finished goes. Each step may be done again.
 */
export async function finishSink(
  { sink: { connection }, logger, observer, stalls }: SinkFinishDeps,
  ledger: Ledger,
  job: JobRecord,
  signal: AbortSignal,
): Promise<void> {
  const { sink } = job;
  if (sink === undefined || sink.finished) return;
  if (!isEnded(job) && job.shards.written < job.shards.total) return;
  signal.throwIfAborted();
  const options = { signal, observer };
  const { replaced = [] } = sink;
  const dropped = isEnded(job) && sink.alias !== undefined;
  let refusal: TrivecError | undefined;
  let moved: string | undefined;
  try {
    if (sink.indexing === 'deferred' && sink.hnswM !== undefined && !dropped)
      await restoreIndexing(connection, sink.collection, sink.hnswM, options);
    if (dropped) await dropReplacement(connection, sink.alias!, sink.collection, { ...options, replaced });
    else if (sink.alias !== undefined) {
      if (!(await replace(connection, ledger, job.id, sink, options))) return;
    } else if (!isEnded(job) && job.counts.written > 0) {
      const { collection } = job.options.destination!;
      moved = await movedAway(connection, collection, sink.collection, options);
    }
  } catch (error) {
    if (!isRefusal(error)) throw error;
    refusal = error;
  }
  await stalls?.settled();
  const result = await ledger.applyToJob(job.id, {
    type: 'sinkFinished',
    run: sink.run,
    ...(moved !== undefined && { moved }),
    ...(refusal && { error: { id: '', code: refusal.code, message: refusal.message } }),
  });
  if (result.ok) logger.info({ jobId: job.id, collection: sink.collection, dropped }, 'destination in order');
}

/** Written down first, done second, as all that a crash must not forget. False if the job has ended meanwhile. */
async function replace(
  connection: QdrantSink['connection'],
  ledger: Ledger,
  jobId: string,
  { run, alias, collection, replaced = [] }: SinkState,
  options: RequestOptions,
): Promise<boolean> {
  const previous = await replacedBy(connection, alias!, collection, options);
  if (previous !== undefined && !replaced.includes(previous)) {
    const noted = await ledger.applyToJob(jobId, { type: 'sinkReplaces', run, collection: previous });
    if (!noted.ok) return false;
  }
  const old = previous === undefined ? replaced : [...replaced, previous];
  await swapAlias(connection, alias!, collection, { ...options, replaced: [...new Set(old)] });
  return true;
}
