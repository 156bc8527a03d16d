import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import test, { after, before, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { TrivecClient } from '../../apps/cli/src/client.ts';
import { startStandalone } from '../../apps/standalone/src/server.ts';
import { loadConfig } from '../../packages/core/src/config.ts';
import { createLogger } from '../../packages/core/src/telemetry/logger.ts';

const MAIN = fileURLToPath(new URL('../../apps/cli/src/main.ts', import.meta.url));
/** So that a pipe which keeps a process from ending fails here, not in the runner. */
const HANGS = { timeout: 60_000 };

const base = mkdtempSync(join(tmpdir(), 'trivec-cli-pipe-'));
const config = loadConfig({ PORT: '9', DATA_DIR: join(base, 'server'), LOG_LEVEL: 'silent' });
let server: { url: string; close(): Promise<void> };

before(async () => {
  server = await startStandalone({ ...config, port: 0 }, createLogger(config));
});

after(async () => {
  await server.close();
  rmSync(base, { recursive: true, force: true });
});

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** `trivec embed -` as a process of its own; resolves with it once it has begun to send what it was given. */
async function sending(t: TestContext, url: string): Promise<{ child: Child; err: () => string }> {
  const args = [MAIN, 'embed', '-', '--input-format', 'ndjson', '--outputs', 'dense', '--url', url];
  const child = spawn(process.execPath, args, { stdio: 'pipe' });
  t.after(() => child.kill('SIGKILL'));
  // The process may go before it has read everything.
  child.stdin.on('error', () => undefined);
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  child.stdin.write(documents(0, 200));
  while (!/sending/.test(err)) await once(child.stderr, 'data');
  return { child, err: () => err };
}

function documents(from: number, to: number): string {
  const lines = Array.from({ length: to - from }, (_, i) =>
    JSON.stringify({ id: from + i, text: 'A bridge carries a road over a river. '.repeat(20) }),
  );
  return `${lines.join('\n')}\n`;
}

async function exitCodeOf(child: Child): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.exitCode;
}

const jobs = async () => (await new TrivecClient(server.url).jobs()).jobs;

test(
  'Ctrl-C that also ends the writer of the pipe leaves no job of the part that was read',
  HANGS,
  async (t) => {
    const { child, err } = await sending(t, server.url);
    child.stdin.end(() => child.kill('SIGINT'));
    assert.equal(await exitCodeOf(child), 130, err());
    assert.match(err(), /Interrupted while sending: no job was made\. Run it again\.\n$/);
    assert.deepEqual(await jobs(), []);
  },
);

test('Ctrl-C ends the process although the pipe stays open', HANGS, async (t) => {
  const { child, err } = await sending(t, server.url);
  child.kill('SIGINT');
  assert.equal(await exitCodeOf(child), 130, err());
  assert.match(err(), /Interrupted while sending: no job was made\. Run it again\.\n$/);
  assert.deepEqual(await jobs(), []);
});

test('what the server refuses ends the process although the pipe stays open', HANGS, async (t) => {
  const { child, err } = await sending(t, server.url);
  child.stdin.write(documents(0, 200));
  assert.equal(await exitCodeOf(child), 1, err());
  assert.match(err(), /\(duplicate_id, line 201/);
});

test(
  'Ctrl-C after the last document: whoever has a job is told which, and how to end it',
  HANGS,
  async (t) => {
    let interrupt = () => {};
    const double = createServer((request, response) => {
      request.resume().on('end', () => {
        if (request.method === 'POST' && !request.url?.includes('dryRun')) {
          interrupt();
          setTimeout(() => response.writeHead(202).end('{"id":"j1"}'), 50);
        } else if (request.url !== '/jobs/j1') response.end('{}');
      });
    });
    await once(double.listen(0, '127.0.0.1'), 'listening');
    t.after(() => {
      double.closeAllConnections();
      double.close();
    });
    const { child, err } = await sending(t, `http://127.0.0.1:${(double.address() as AddressInfo).port}`);
    interrupt = () => child.kill('SIGINT');
    child.stdin.end();
    assert.equal(await exitCodeOf(child), 130, err());
    assert.match(err(), /Interrupted\. Job j1 goes on at http/);
    assert.match(err(), /End it: +npx trivec cancel j1 --url/);
    assert.doesNotMatch(err(), /no job was made/);
  },
);
