import type { JobService } from '@trivec/core/jobs/jobService';
import type { JobRecord } from '@trivec/core/jobs/records';

/** One line of a job's results. */
export interface ResultRow {
  id: string;
  chunk: number;
  /** With chunking: the part of the document's text. */
  start?: number;
  end?: number;
  dense: number[];
  sparse?: { indices: number[]; values: number[] };
  colbert?: number[][];
}

export async function* resultRows(service: JobService, job: JobRecord): AsyncGenerator<ResultRow> {
  const viewer = { owner: job.owner, admin: true };
  const { body } = await service.results(job.id, viewer, { format: 'ndjson' });
  for await (const line of lines(body)) yield JSON.parse(line) as ResultRow;
}

async function* lines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = parts.pop()!;
    yield* parts;
  }
  if (rest !== '') yield rest;
}
