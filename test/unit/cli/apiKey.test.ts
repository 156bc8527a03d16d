import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import test, { type TestContext } from 'node:test';
import { run } from '../../../apps/cli/src/run.ts';
import { loadConfig } from '../../../packages/core/src/config.ts';
import { apiRig } from '../../support/apiRig.ts';

const ANNA = 'anna-key-0123456789';
const ROOT = 'root-key-0123456789';
const API_KEYS = `anna=${ANNA},root:admin=${ROOT}`;

/** A listening server with keys, and a command line against it. */
async function serverWithKeys(t: TestContext) {
  const { app } = await apiRig(t, { env: { API_KEYS } });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  async function trivec(args: string[], env: Record<string, string> = {}) {
    const [out, err] = [new PassThrough(), new PassThrough()];
    const code = await run(args, {
      readConfig: () => loadConfig({ PORT: new URL(url).port, ...env }),
      out: out as unknown as NodeJS.WriteStream,
      err: err as unknown as NodeJS.WriteStream,
    });
    return { code, err: String(err.read() ?? '') };
  }
  return { url, trivec };
}

test('every command sends the key of the flag or the environment, and says how where it has none', async (t) => {
  const { url, trivec } = await serverWithKeys(t);
  const id = '11111111-1111-4111-8111-111111111111';
  const commands = [
    ['jobs'],
    ['job', id],
    ['watch', id],
    ['results', id],
    ['search', id, 'what?'],
    ['cancel', id],
    ['delete', id],
    ['models', 'served'],
  ];
  for (const command of commands) {
    const at = [...command, '--url', url];
    const closed = await trivec(at);
    assert.equal(closed.code, 1, command.join(' '));
    assert.match(closed.err, /takes an API key.*--api-key or TRIVEC_API_KEY/);
    for (const given of [
      await trivec([...at, '--api-key', ANNA]),
      await trivec(at, { TRIVEC_API_KEY: ANNA }),
    ])
      assert.doesNotMatch(given.err, /API key/, command.join(' '));
  }
  assert.match((await trivec(['jobs', '--url', url, '--api-key', 'x'])).err, /not known/);
});

test('the server of the same configuration gets one of its own keys; another one does not', async (t) => {
  const { url, trivec } = await serverWithKeys(t);
  assert.equal((await trivec(['jobs'], { API_KEYS })).code, 0);
  assert.equal((await trivec(['jobs', '--url', url], { API_KEYS })).code, 1);
});
