import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import test from 'node:test';
import { run } from '../../../apps/cli/src/run.ts';
import { loadConfig } from '../../../packages/core/src/config.ts';
import { apiRig } from '../../support/apiRig.ts';

test('--target reaches the server with the collection, and is refused without one', async (t) => {
  const { app } = await apiRig(t);
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  async function trivec(...args: string[]) {
    const err = new PassThrough();
    const code = await run([...args, '--target', 'eu', '--url', url], {
      readConfig: () => loadConfig({}),
      out: new PassThrough() as unknown as NodeJS.WriteStream,
      err: err as unknown as NodeJS.WriteStream,
    });
    return { code, err: String(err.read() ?? '') };
  }
  const embed = ['embed', 'examples/passages.ndjson', '--detach'];
  for (const command of [embed, ['search', 'what?']]) {
    const sent = await trivec(...command, '--collection', 'c');
    assert.equal(sent.code, 1);
    assert.match(sent.err, /QDRANT_TARGETS has no "eu"/);
    assert.doesNotMatch(sent.err, /sending/);
    const alone = await trivec(...command);
    assert.equal(alone.code, 2);
    assert.match(alone.err, /--target needs --collection/);
  }
});
