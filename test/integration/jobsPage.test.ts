import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Webhook } from 'standardwebhooks';
import { apiRig } from '../support/apiRig.ts';
import { ANYONE, documents } from '../support/jobRig.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const page = readFileSync(join(ROOT, 'docs/jobs.md'), 'utf8');
const blocks = (language: string) =>
  [...page.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g'))].map(([, code = '']) => code);

const run = promisify(execFile);
/** One with pyarrow and pandas: `TRIVEC_PYTHON`, or the one of the machine. */
const PYTHON = process.env.TRIVEC_PYTHON ?? 'python3';
const works = (command: string, ...args: string[]) => spawnSync(command, args).status === 0;
const noShell = !works('bash', '-c', 'curl --version && gzip --version') && 'no bash, curl or gzip here';
const noPython = !works(PYTHON, '-c', 'import pyarrow, pandas') && 'no Python with pyarrow and pandas here';

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'trivec-page-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

test('the commands of docs/jobs.md run as they stand', { skip: noShell }, async (t) => {
  const { app, jobs } = await apiRig(t);
  Object.assign(jobs.deps.config, { sourceDirs: [join(ROOT, 'examples')] });
  const BASE_URL = await app.listen({ host: '127.0.0.1', port: 0 });
  const worker = setInterval(() => void jobs.drain(), 50);
  t.after(() => clearInterval(worker));
  const cwd = await folder(t);
  await symlink(join(ROOT, 'examples'), join(cwd, 'examples'));
  // The one thing that stands for another: `npm run trivec --`, without what npm needs to start.
  const npm = `npm() { "${process.execPath}" "${ROOT}apps/cli/src/main.ts" "\${@:4}" --url "$BASE_URL"; }`;
  // As written, but an error of the server ends the script.
  const curl = 'curl() { command curl --fail-with-body "$@"; }';
  const script = ['set -euo pipefail', npm, curl, ...blocks('sh')].join('\n');
  const { stdout } = await run('bash', ['-c', script], {
    cwd,
    env: { ...process.env, BASE_URL },
    maxBuffer: 64 * 1024 * 1024,
  }).catch((error: Error & { stdout: string }) => assert.fail(`${error.message}\n${error.stdout}`));
  assert.match(stdout, /event: job\n/);
  assert.match(stdout, /documents +270, /);
  const accepted = [...stdout.matchAll(/"id":"(job_[0-9a-z_]+)","status":"\w+","links"/g)].map(
    ([, id]) => id,
  );
  assert.deepEqual([accepted.length, new Set(accepted).size], [7, 6], 'one request was sent twice');
  assert.equal(readFileSync(join(cwd, 'results.parquet')).subarray(0, 4).toString(), 'PAR1');
});

test('the Python of docs/jobs.md reads what is written', { skip: noPython }, async (t) => {
  const { jobs } = await apiRig(t);
  const cwd = await folder(t);
  const { id } = await jobs.submit(documents(9), { outputs: ['dense', 'sparse', 'colbert'] });
  await jobs.drain();
  for (const format of ['arrow', 'parquet'] as const) {
    const { body } = await jobs.service.results(id, ANYONE, { format });
    await writeFile(join(cwd, `results.${format}`), Buffer.concat(await Array.fromAsync(body)));
  }
  const [arrow = '', pandas = '', verify = ''] = blocks('python');
  const python = async (code: string, ...args: string[]) =>
    (await run(PYTHON, ['-c', code, ...args], { cwd })).stdout;
  assert.match(await python(arrow), /^fake\nd0 \(\d+, 4\) \d+ \(\d+, 2\)\n/);
  assert.match(await python(pandas), /d0 +0 +\d+[\s\S]*\(9, 4\) \(\d+, 2\)\n$/);

  const secret = `whsec_${Buffer.alloc(32, 3).toString('base64')}`;
  const now = new Date();
  const body = '{"type":"job.completed"}';
  const headers = {
    'webhook-id': 'job_1.1',
    'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
    'webhook-signature': new Webhook(secret).sign('job_1.1', now, body),
  };
  const ask = `${verify}\nimport json, sys\nprint(is_genuine(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3].encode()))`;
  assert.equal(await python(ask, secret, JSON.stringify(headers), body), 'True\n');
  assert.equal(await python(ask, secret, JSON.stringify(headers), `${body} `), 'False\n');
  assert.equal(
    await python(ask, secret, JSON.stringify({ ...headers, 'webhook-timestamp': '1' }), body),
    'False\n',
  );
});
