/**
 * Forked by bench:scale: a number of workers whose device sleeps, in one process. Tells its parent when they serve, and
 * on `end` how busy its event loop was; then closes them.
 */
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBackend } from '@trivec/core/backend/open';
import { loadConfig } from '@trivec/core/config';
import type { Device, DeviceBatch, DeviceResult } from '@trivec/core/engine/device';
import { startOn } from '@trivec/core/engine/engine';
import type { Tokenizer } from '@trivec/core/models/tokenizer';
import { Resources } from '@trivec/core/shutdown';
import { openStorage } from '@trivec/core/storage/open';
import { createLogger } from '@trivec/core/telemetry/logger';
import { createMetrics } from '@trivec/core/telemetry/metrics';
import { startWorker } from '@trivec/worker/worker';
import { STUB_MODEL, type StubWorkersReport } from './stubModel.ts';

const [count = '1', tokensPerSecond = '16000', maxBatchTokens = '2048'] = process.argv.slice(2);
const DIMS = STUB_MODEL.info.denseDims;

class SleepingDevice implements Device {
  readonly name = 'cpu';

  async run({ texts }: DeviceBatch): Promise<DeviceResult> {
    const padded = Math.max(...texts.map(({ length }) => length)) * texts.length;
    const inferMs = (padded / Number(tokensPerSecond)) * 1000;
    await sleep(inferMs);
    const data = new Float32Array(DIMS * texts.length).fill(Math.sqrt(1 / DIMS));
    const vectors = texts.map((ids, i) => ({
      tokens: ids.length,
      dense: data.subarray(i * DIMS, (i + 1) * DIMS),
    }));
    return { vectors, inferMs };
  }

  async close(): Promise<void> {}
}

/** One token a word: the workers share a processor with each other, and tokenising is not what is measured. */
const tokenizer: Tokenizer = {
  kind: 'js',
  encode: async (texts, { maxTokens }) =>
    texts.map((text) => {
      const tokens = text.split(' ').length + 2;
      return { ids: new Int32Array(Math.min(tokens, maxTokens)).fill(5), originalTokens: tokens };
    }),
  encodePairs: (pairs, options) =>
    tokenizer.encode(
      pairs.map((pair) => pair.join(' ')),
      options,
    ),
  decode: async (ids) => ids.map(() => ''),
};

const config = loadConfig({ ...process.env, MAX_BATCH_TOKENS: maxBatchTokens });
const logger = createLogger({ logLevel: 'warn' });
const resources = new Resources();
for (let i = 0; i < Number(count); i++) {
  const backend = resources.add(await openBackend(config, logger));
  const storage = resources.add(await openStorage(config));
  const engine = resources.add(
    await startOn(new SleepingDevice(), tokenizer, { model: STUB_MODEL, config, logger }),
  );
  const { worker: metrics } = createMetrics();
  resources.add(await startWorker({ config, backend, storage, engines: [engine], metrics, logger }));
}
let before = performance.eventLoopUtilization();
process.on('message', (message) => {
  if (message === 'begin') before = performance.eventLoopUtilization();
  else if (message === 'report') {
    const { utilization } = performance.eventLoopUtilization(before);
    process.send!({ utilization } satisfies StubWorkersReport);
  } else void resources.close().then(() => process.disconnect());
});
process.send!('ready');
