import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Summary } from '../../bench/load/summary.ts';
import { openServer } from '../../bench/quality/server.ts';

const MAIN = fileURLToPath(new URL('../../bench/load/main.ts', import.meta.url));

interface Ran {
  code: number | null;
  out: string;
  err: string;
}

function load(...args: string[]): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [MAIN, ...args], { env: {} }, (_, out, err) => {
      resolve({ code: child.exitCode, out, err });
    });
  });
}

test('every surface of a real server answers every request, and the table says so', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'trivec-load-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const server = await openServer({});
  t.after(() => server.close());
  const { url } = server.client;
  const small = ['--requests', '4', '--concurrency', '2', '--batch-size', '2', '--words', '5'];
  const runs = [
    ['native', url, 'embed_dense,embed_full,rerank'],
    ['openai', url, 'embed_dense,rerank'],
    ['tei', `${url}/tei`, 'embed_dense,embed_sparse,embed_colbert,rerank'],
  ] as const;
  for (const [surface, base, scenarios] of runs) {
    const json = join(folder, `${surface}.json`);
    // The surface of the root and of /tei is found without being told.
    const told = surface === 'openai' ? ['--surface', 'openai'] : [];
    const ran = await load('--url', base, '--scenarios', scenarios, ...told, ...small, '--json', json);
    assert.equal(ran.code, 0, ran.out + ran.err);
    assert.match(ran.out, /Reqs.+OK.+Fail.+Conc.+Wall.+Req\/s.+Units\/s.+Avg.+P50.+P95.+P99.+Min.+Max/);
    const saved = JSON.parse(readFileSync(json, 'utf8')) as {
      surface: string;
      table: Record<string, Summary>;
    };
    assert.equal(saved.surface, surface);
    assert.deepEqual(Object.keys(saved.table), scenarios.split(','));
    for (const { Reqs, OK, Fail, Conc } of Object.values(saved.table))
      assert.deepEqual({ Reqs, OK, Fail, Conc }, { Reqs: 4, OK: 4, Fail: 0, Conc: 2 });
  }
});

test('failures are counted, shown, and told by the exit code; a missing server is one line', async () => {
  const broken = createServer((request, response) => {
    request.resume();
    response.writeHead(request.method === 'POST' ? 503 : 404).end('no worker');
  });
  await new Promise<void>((resolve) => broken.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(broken.address() as AddressInfo).port}`;
  const ran = await load('--url', url, '--requests', '3', '--scenarios', 'embed_dense,embed_full');
  broken.closeAllConnections();
  await new Promise((resolve) => broken.close(resolve));
  assert.equal(ran.code, 1);
  assert.match(ran.out, /embed_dense: 3 × 503 no worker/);
  assert.match(ran.out, /embed_full: the openai surface has no such request; left out/);
  const gone = await load('--url', url);
  assert.equal(gone.code, 1);
  assert.match(gone.err, /^No server answers at http:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED/);
});
