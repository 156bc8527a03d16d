/** Jobs of a bench, through the HTTP API. */
import { setTimeout as sleep } from 'node:timers/promises';
import { TrivecClient } from '@trivec/cli/client';

/** Rare enough that asking costs the job nothing. */
const POLL_MS = 500;

export interface JobRun {
  /** From the first byte sent until the job was completed; client and server share a clock. */
  seconds: number;
  /** From the first shard taken until the last was stored, by the server's clock. */
  workSeconds: number;
  tokens: number;
}

/** Resolves when the job is seen completed. Throws where a document failed. */
export async function runJob(url: string, texts: readonly string[], outputs = ['dense']): Promise<JobRun> {
  const client = new TrivecClient(url);
  const startedAtMs = Date.now();
  const id = await submitJob(client, texts, outputs);
  for (;;) {
    const job = await client.job(id);
    if (job.status === 'completed' && job.counts.failed === 0)
      return {
        seconds: (Date.parse(job.finishedAt!) - startedAtMs) / 1000,
        workSeconds: (Date.parse(job.finishedAt!) - Date.parse(job.startedAt!)) / 1000,
        tokens: job.tokens,
      };
    if (!['queued', 'running', 'completed'].includes(job.status) || job.counts.failed > 0)
      throw new Error(`The job is ${job.status}: ${JSON.stringify(job.errors)}`);
    await sleep(POLL_MS);
  }
}

export function submitJob(
  client: TrivecClient,
  texts: Iterable<string>,
  outputs = ['dense'],
): Promise<string> {
  return client.submit(linesOf(texts), { outputs });
}

const CHUNK_LINES = 100;

async function* linesOf(texts: Iterable<string>): AsyncGenerator<string> {
  let lines: string[] = [];
  let count = 0;
  for (const text of texts) {
    lines.push(`${JSON.stringify({ id: `doc-${count++}`, text })}\n`);
    if (lines.length < CHUNK_LINES) continue;
    yield lines.join('');
    lines = [];
  }
  yield lines.join('');
}
