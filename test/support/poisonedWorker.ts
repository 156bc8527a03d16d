/**
 * A worker in a process of its own, whose model kills the process on a magic text, as a fault in native code
 * does. Arguments: backend URL, DATA_DIR, fingerprint, job. Ends with 0 when the job has ended.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { openBackend } from '@trivec/core/backend/open';
import { loadConfig } from '@trivec/core/config';
import type { EmbedOptions, EncodedText } from '@trivec/core/engine/types';
import { Reconciler } from '@trivec/core/jobs/reconciler';
import { runShard } from '@trivec/core/jobs/shardRunner';
import { isEnded } from '@trivec/core/jobs/stateMachine';
import { openStorage } from '@trivec/core/storage/open';
import { createLogger } from '@trivec/core/telemetry/logger';
import { FakeEngine, POISON } from './fakeEngine.ts';

const BATCH = 4;
const POISON_ID = 666;

class DeadlyEngine extends FakeEngine {
  override async embed(texts: readonly EncodedText[], options: EmbedOptions) {
    for (let from = 0; from < texts.length; from += BATCH) {
      const batch = texts.slice(from, from + BATCH);
      await options.onBatch?.(batch.map((_, i) => from + i));
      if (batch.some(({ ids }) => ids.includes(POISON_ID))) process.abort();
    }
    return super.embed(texts, options);
  }

  override async encode(texts: readonly string[]) {
    if (texts.some((text) => text.includes(`${POISON}ed tokenizer`))) process.abort();
    return super.encode(texts);
  }
}

const [, , backendUrl, dataDir, fingerprint, jobId] = process.argv as string[];
const config = loadConfig({
  BACKEND_URL: backendUrl,
  DATA_DIR: dataDir,
  LOCK_DURATION_MS: '1000',
  RECONCILE_INTERVAL_MS: '200',
});
const logger = createLogger({ logLevel: 'silent' });
const backend = await openBackend(config, logger);
const storage = await openStorage(config);
const engine = new DeadlyEngine();
const consumer = await backend.shardQueue(fingerprint!).consume(
  async ({ data }, signal) => {
    await runShard({ ledger: backend.ledger, storage, engine, logger }, data, signal);
  },
  { concurrency: 2 },
);
const reconciler = new Reconciler({ backend, storage, config, logger });
reconciler.start();
while (!isEnded((await backend.ledger.readJob(jobId!))!)) await sleep(20);
await reconciler.close();
await consumer.close();
await backend.close();
