import { readFile } from 'node:fs/promises';
import { createEngine } from '@trivec/core/engine/engine';
import { TrivecError } from '@trivec/core/errors';
import { describeModelFolder } from '@trivec/core/models/folder';
import { silentLogger } from './stubDevice.ts';

// Prints what a model folder's first expected texts become on a device, as one line of JSON.
const [folder = '', device = ''] = process.argv.slice(2);
const TEXTS = 5;

const engine = await createEngine({
  model: await describeModelFolder(folder),
  config: { device, intraOpThreads: 1, intraOpSpinning: false, maxBatchTokens: 256, maxBulkBatchMs: 500 },
  logger: silentLogger,
});
const expected = JSON.parse(await readFile(`${folder}/expected.json`, 'utf8')) as { text: string }[];
const texts = await engine.encode(expected.slice(0, TEXTS).map(({ text }) => text));
const { vectors } = await engine.embed(texts, { outputs: engine.model.outputs, lane: 'bulk' });
const found = vectors.map((vector) => {
  if (vector instanceof TrivecError) throw vector;
  const { dense, sparse, colbert } = vector;
  return {
    dense: [...dense!],
    indices: [...sparse!.indices],
    values: [...sparse!.values],
    firstRow: [...colbert!.data.subarray(0, colbert!.dims)],
  };
});
process.stdout.write(JSON.stringify({ device: engine.device, vectors: found }));
await engine.close();
