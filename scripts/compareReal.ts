/**
 * Compares a model folder with the `reference.json` that `scripts/fixtures/export_real.py` wrote into it, or into the
 * folder named second: token ids, and cosines of the dense vectors. Exits 1 where ids differ or, in fp32, a cosine is
 * below 0.9999.
 */
import { readFile } from 'node:fs/promises';
import { createEngine } from '@trivec/core/engine/engine';
import { TrivecError } from '@trivec/core/errors';
import { describeModelFolder } from '@trivec/core/models/folder';

interface Reference {
  text: string;
  ids: number[];
  dense: number[];
}

const LEAST_COSINE = 0.9999;
const [folder = '', reference = folder] = process.argv.slice(2);
const logger = { info: () => {}, warn: console.error, error: console.error };
const model = await describeModelFolder(folder);
const engine = await createEngine({
  model,
  config: {
    device: 'auto',
    intraOpThreads: 0,
    intraOpSpinning: false,
    maxBatchTokens: 0,
    maxBulkBatchMs: 500,
  },
  logger,
});
const expected: Reference[] = JSON.parse(await readFile(`${reference}/reference.json`, 'utf8'));
const encoded = await engine.encode(expected.map(({ text }) => text));
const { vectors } = await engine.embed(encoded, { outputs: ['dense'], lane: 'bulk' });
await engine.close();

let sameIds = 0;
const cosines = expected.map(({ ids, dense }, i) => {
  if (String([...encoded[i]!.ids]) === String(ids)) sameIds++;
  const found = vectors[i];
  if (found === undefined || found instanceof TrivecError || found.dense === undefined) return 0;
  return dense.reduce((sum, value, d) => sum + value * found.dense![d]!, 0);
});
const least = Math.min(...cosines);
console.log(
  JSON.stringify({
    model: engine.model.name,
    dtype: engine.model.dtype,
    device: engine.device,
    texts: expected.length,
    tokens: encoded.reduce((sum, { ids }) => sum + ids.length, 0),
    sameIds,
    leastCosine: least,
    meanCosine: cosines.reduce((sum, cosine) => sum + cosine, 0) / cosines.length,
    tokensPerSecond: Math.round(engine.tokensPerSecond()),
  }),
);
if (sameIds < expected.length || (engine.model.dtype === 'fp32' && least < LEAST_COSINE))
  process.exitCode = 1;
