import assert from 'node:assert/strict';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { rewriteModel } from '@trivec/core/models/rewritten';

test('a rewritten folder has the prompts of the catalog, else those of its files with the default among them', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'trivec-rewritten-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  const folder = join(root, 'source');
  await cp(fileURLToPath(new URL('../../golden/models/tiny-m3', import.meta.url)), folder, {
    recursive: true,
  });
  const prompts = { query: 'find: ', topic: 'sort: ' };
  await writeFile(
    join(folder, 'config_sentence_transformers.json'),
    JSON.stringify({ prompts, default_prompt_name: 'topic' }),
  );
  const write = (stated: { prompts?: Record<string, string> }) =>
    rewriteModel({ folder, stated }, 'fp16', join(root, 'out'));
  const { info } = (await write({})).model;
  assert.deepEqual([info.prompts, info.defaultPromptName], [prompts, 'topic']);
  const stated = (await write({ prompts: { query: 'ask: ' } })).model.info;
  assert.deepEqual([stated.prompts, stated.defaultPromptName], [{ query: 'ask: ' }, undefined]);
});
