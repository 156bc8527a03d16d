/**
 * How well a model finds things: `npm run bench:quality -- --data DIR [--split test] [--model NAME] [--url URL] [--out FILE]`.
 * DIR is `{corpus.jsonl, queries.jsonl, qrels.tsv}` or BEIR's layout; see docs/quality.md.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname } from 'node:path';
import { onInterrupt } from '@trivec/cli/interrupt';
import { parseFlags } from '../speed/flags.ts';
import { measureQuality } from './bench.ts';
import { openCollection } from './collection.ts';
import { reportTable } from './report.ts';
import { openServer } from './server.ts';

const USAGE = 'npm run bench:quality -- --data DIR [--split test] [--model NAME] [--url URL] [--out FILE]';

async function main(signal: AbortSignal): Promise<void> {
  const { values: flags } = parseFlags({
    options: {
      data: { type: 'string' },
      split: { type: 'string', default: 'test' },
      model: { type: 'string' },
      url: { type: 'string' },
      out: { type: 'string' },
    },
  });
  const { data, split, model, url } = flags;
  if (data === undefined) throw new Error(`--data is missing. ${USAGE}`);
  const collection = await openCollection(data, split);
  const server = await openServer({
    ...(url !== undefined && { url }),
    ...(model !== undefined && { model }),
  });
  try {
    const report = await measureQuality(server.client, collection, {
      // Of the bench's own server it is the only one, and may be named by a folder.
      ...(model !== undefined && url !== undefined && { model }),
      signal,
      say: (line) => process.stderr.write(`${line}\n`),
    });
    process.stdout.write(`${reportTable(report.rows)}\n`);
    const out = flags.out ?? `bench/out/quality-${report.collection.name}.json`;
    mkdirSync(dirname(out), { recursive: true });
    writeFileSync(out, `${JSON.stringify({ commit: commit(), machine: machine(), ...report }, null, 2)}\n`);
    process.stderr.write(`Saved in ${out}.\n`);
  } finally {
    await server.close();
  }
}

function commit(): string | null {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], {
      cwd: import.meta.dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return null;
  }
}

function machine() {
  return { cpu: cpus()[0]?.model ?? null, cores: cpus().length, node: process.version };
}

const interrupt = onInterrupt();
try {
  await main(interrupt.signal);
} catch (error) {
  const { aborted } = interrupt.signal;
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(aborted ? 'Interrupted.\n' : `bench:quality: ${message}\n`);
  process.exitCode = aborted ? 130 : 1;
} finally {
  interrupt.release();
}
