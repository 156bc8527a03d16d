import assert from 'node:assert/strict';
import test from 'node:test';
import { createEngine } from '@trivec/core/engine/engine';
import { describeModelFolder } from '@trivec/core/models/folder';
import { selfTest } from '@trivec/core/models/selfTest';
import { silentLogger } from '../support/stubDevice.ts';

const folder = process.env.BGE_M3_DIR || undefined;

test('the real BGE-M3 gives the values that its authors published', {
  skip: folder === undefined ? 'BGE_M3_DIR names no folder with the real model' : false,
}, async () => {
  const model = await describeModelFolder(folder!);
  const engine = await createEngine({
    model,
    config: {
      device: 'auto',
      intraOpThreads: 0,
      intraOpSpinning: false,
      maxBatchTokens: 512,
      maxBulkBatchMs: 5000,
    },
    logger: silentLogger,
  });
  try {
    const { outcome, detail, maxDifference } = await selfTest(engine, model);
    assert.equal(outcome, 'passed', `${detail}: ${maxDifference}`);
  } finally {
    await engine.close();
  }
});
