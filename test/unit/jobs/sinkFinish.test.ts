import assert from 'node:assert/strict';
import test from 'node:test';
import { TrivecError } from '@trivec/core/errors';
import { Ledger } from '@trivec/core/jobs/ledger';
import type { SinkState } from '@trivec/core/jobs/records';
import { settleSink } from '@trivec/core/jobs/sinkFinish';
import { NO_SINK_COUNTS } from '@trivec/core/jobs/sinkPlan';
import { runSinkShard, type SinkStageDeps } from '@trivec/core/jobs/sinkStage';
import { NOTHING_TO_WRITE } from '@trivec/core/jobs/sinkWrite';
import { resolveDestination } from '@trivec/core/sinks/qdrant/destination';
import { QdrantFailure } from '@trivec/core/sinks/qdrant/failure';
import { documents, jobRig } from '../../support/jobRig.ts';

const ALIAS = 'docs';
const [OLD, NEW] = [`${ALIAS}__trivec_old`, `${ALIAS}__trivec_new`];

/** A completed job of one shard that is being sent to a destination. */
async function ingesting(sink: Omit<SinkState, 'run' | 'indexing' | 'finished' | 'counts'>) {
  const rig = jobRig();
  const { id } = await rig.submit(documents(3));
  await rig.drain();
  const destination = resolveDestination({ type: 'qdrant', collection: ALIAS });
  const state = { ...sink, indexing: 'asIs', finished: false, counts: NO_SINK_COUNTS } as const;
  assert.ok((await new Ledger(rig.ledger).applyToJob(id, { type: 'ingest', destination, sink: state })).ok);
  return { rig, id };
}

test('a job of which nothing was written ends without asking what its name stands for', async () => {
  const { rig, id } = await ingesting({ collection: OLD });
  const { ledger, storage, logger } = rig;
  const writer = { write: async () => NOTHING_TO_WRITE, close: async () => undefined };
  const deps = { ledger, storage, sink: {} as SinkStageDeps['sink'], writer, logger };
  await runSinkShard(deps, { jobId: id, ordinal: 0 }, new AbortController().signal);
  const job = await rig.job(id);
  assert.deepEqual([job.status, job.sink?.finished], ['failed', true]);
});

/** A worker's, to a Qdrant of which only `connection` is there; what it writes are three documents. */
function depsOf(rig: Awaited<ReturnType<typeof ingesting>>['rig'], connection: object): SinkStageDeps {
  return {
    ledger: rig.ledger,
    storage: rig.storage,
    sink: { connection } as unknown as SinkStageDeps['sink'],
    writer: { write: async () => ({ ...NOTHING_TO_WRITE, documents: 3 }), close: async () => undefined },
    logger: rig.logger,
  };
}

/** A replacement that is written, and whose alias is set, when its worker dies: `alive` brings the next one. */
async function killedAfterTheSwap() {
  const { rig, id } = await ingesting({ collection: NEW, alias: ALIAS });
  const aliases = new Map([[ALIAS, OLD]]);
  const deleted: string[] = [];
  let alive = false;
  const connection = {
    aliasTarget: async (alias: string) => aliases.get(alias),
    setAlias: async (alias: string, collection: string) => {
      aliases.set(alias, collection);
    },
    deleteCollection: async (name: string) => {
      if (!alive) throw new TrivecError('shutting_down', 'killed');
      deleted.push(name);
    },
  };
  const deps = depsOf(rig, connection);
  const run = () => runSinkShard(deps, { jobId: id, ordinal: 0 }, new AbortController().signal);
  await assert.rejects(run(), { code: 'shutting_down' });
  assert.equal(aliases.get(ALIAS), NEW);
  alive = true;
  return { rig, id, run, deps, aliases, deleted };
}

test('what a replacement replaced goes, also when the worker dies between swap and deletion', async () => {
  const { rig, id, run, deleted } = await killedAfterTheSwap();
  assert.deepEqual(await run(), { written: false, reason: 'already_written' });
  assert.deepEqual(deleted, [OLD]);
  const job = await rig.job(id);
  assert.deepEqual([job.status, job.sink?.finished], ['completed', true]);
});

test('the same, when the job is cancelled then: its replacement stands already, and stays', async () => {
  const { rig, id, deps, aliases, deleted } = await killedAfterTheSwap();
  assert.ok((await new Ledger(rig.ledger).applyToJob(id, { type: 'cancel' })).ok);
  await settleSink(deps, id);
  assert.deepEqual([deleted, aliases.get(ALIAS)], [[OLD], NEW]);
  assert.equal((await rig.job(id)).sink?.finished, true);
});

test('a replacement that is gone before it is swapped, or with its alias just then, takes nothing else with it', async () => {
  for (const before of [undefined, OLD]) {
    const { rig, id } = await ingesting({ collection: NEW, alias: ALIAS });
    let target = before;
    const deleted: string[] = [];
    const connection = {
      aliasTarget: async () => target,
      collectionConfig: async () => undefined,
      setAlias: async () => {
        if (before === undefined)
          throw new QdrantFailure({
            message: 'no such collection',
            httpStatus: 404,
            overloaded: false,
            retryable: false,
          });
        target = undefined;
      },
      deleteCollection: async (name: string) => void deleted.push(name),
    };
    const deps = depsOf(rig, connection);
    await runSinkShard(deps, { jobId: id, ordinal: 0 }, new AbortController().signal);
    assert.deepEqual(deleted, []);
    assert.equal((await rig.job(id)).sink?.finished, true);
  }
});
