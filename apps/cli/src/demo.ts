import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Config, loadConfig, OPTIONS, readEnvironment } from '@trivec/core/config';
import { toTrivecError } from '@trivec/core/errors';
import { createLogger } from '@trivec/core/telemetry/logger';
import { terminalLog } from '@trivec/core/telemetry/terminalLog';
import { OUTPUTS } from '@trivec/core/vectors/types';
import { startStandalone } from '@trivec/standalone/server';
import type { ModelView } from './apiTypes.ts';
import { TrivecClient } from './client.ts';
import { summary } from './commands/report.ts';
import { untilReady } from './connect.ts';
import { type Answers, answersText, QUESTIONS } from './demoQuestions.ts';
import { formatBytes } from './format.ts';
import { onInterrupt } from './interrupt.ts';
import { saveResults } from './resultFiles.ts';
import { watchJob } from './watch.ts';

const PASSAGES = fileURLToPath(new URL('../../../examples/passages.ndjson', import.meta.url));
const HITS = 3;
const MODEL_TIMEOUT_MS = 180_000;

/** What a user may choose; everything else is the demo's own, so that it touches no data and no server of theirs. */
const CHOICES = ['MODEL', 'MODELS_DIR', 'DEVICE', 'INTRA_OP_THREADS', 'MAX_BATCH_TOKENS'];

function demoConfig(folder: string): Config {
  const environment = readEnvironment();
  return loadConfig({
    ...Object.fromEntries(CHOICES.map((name) => [name, environment[name]])),
    PORT: '0',
    DATA_DIR: join(folder, 'data'),
    LOG_LEVEL: 'warn',
    // Small, so that the progress bar has something to show.
    SHARD_MAX_DOCUMENTS: '16',
  });
}

async function demo(folder: string, signal: AbortSignal): Promise<void> {
  const config = demoConfig(folder);
  say('trivec: API, queue, worker and model in this one process, on data of its own.\n');
  const log = process.stderr.isTTY ? terminalLog(process.stderr) : process.stderr;
  const server = await startStandalone(config, createLogger(config, log));
  try {
    const client = new TrivecClient(server.url);
    await untilReady(client, MODEL_TIMEOUT_MS);
    const model = (await client.models({ signal })).find((item) => item.default);
    if (model !== undefined) say(`${modelLines(model)}\n`);

    say(`Embedding ${PASSAGES} as a job at ${server.url}:`);
    const id = await client.submit(createReadStream(PASSAGES), { outputs: OUTPUTS }, { signal });
    const job = await watchJob(client, id, {
      signal,
      pollMs: 100,
      progress: { stream: process.stdout, lineIntervalMs: 500 },
    });
    say(`${summary(job)}\n`);
    if (job.status !== 'completed' || job.counts.failed > 0) {
      throw new Error(`The job should have embedded all its documents: ${JSON.stringify(job.errors)}`);
    }

    say(`Questions to it; * marks what one kind of vector alone has found:\n`);
    for (const asked of QUESTIONS) {
      const answers: Partial<Answers> = {};
      for (const mode of OUTPUTS) {
        const answer = await client.search(id, { query: asked.question, mode, limit: HITS }, { signal });
        answers[mode] = answer.hits;
      }
      say(`${answersText(asked, answers as Answers, Math.min(process.stdout.columns ?? 100, 120))}\n`);
    }

    const saved = await saveResults(client, job, join(folder, 'results'), {
      formats: ['ndjson', 'arrow'],
      signal,
    });
    say(`The vectors:\n${saved.map(({ path, bytes }) => `  ${path}  ${formatBytes(bytes)}`).join('\n')}\n`);
    say(nextSteps(id, config, folder));
  } finally {
    await server.close();
  }
}

function modelLines(model: ModelView): string {
  const sizes = model.outputs
    .map((output) => {
      const dims = { dense: model.denseDims, sparse: 0, colbert: model.colbertDims }[output];
      return dims === 0 ? output : `${output} ${dims}`;
    })
    .join(', ');
  const standIn = model.standIn
    ? '\n       A stand-in that needs no download; MODEL chooses a real one, such as BGE-M3.'
    : '';
  return `Model: ${model.id} (${sizes}). ${model.description}${standIn}`;
}

function nextSteps(id: string, { dataDir, model }: Config, folder: string): string {
  const environment = [`DATA_DIR=${dataDir}`, ...(model === OPTIONS.model.default ? [] : [`MODEL=${model}`])];
  return [
    'Try next:',
    `  ${environment.join(' ')} npm run trivec -- search ${id} "your own question" --explain --local`,
    '  npm run trivec -- embed FILE --text-field title,text --out DIR     NDJSON, CSV, TSV or Parquet',
    '  npm start                                                          then http://127.0.0.1:8080/docs',
    '',
    `All of the demo is in one folder. When you are done with it: rm -r ${folder}`,
  ].join('\n');
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

const interrupt = onInterrupt();
const folder = await mkdtemp(join(tmpdir(), 'trivec-demo-'));
try {
  await demo(folder, interrupt.signal);
} catch (error) {
  await rm(folder, { recursive: true, force: true });
  const { message } = toTrivecError(error);
  process.stderr.write(interrupt.signal.aborted ? 'Interrupted.\n' : `trivec demo: ${message}\n`);
  process.exitCode = interrupt.signal.aborted ? 130 : 1;
} finally {
  interrupt.release();
}
