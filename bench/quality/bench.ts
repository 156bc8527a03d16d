import type { JobView, ModelView } from '@trivec/cli/apiTypes';
import type { TrivecClient } from '@trivec/cli/client';
import { watchJob } from '@trivec/cli/watch';
import { readArrowStream } from '@trivec/core/vectors/arrow';
import { MIXED_WEIGHTS } from '@trivec/core/vectors/scores';
import { BM25, Bm25 } from './bm25.ts';
import { BOOTSTRAP } from './bootstrap.ts';
import type { Collection } from './collection.ts';
import { RRF_K } from './fusion.ts';
import { embedQueries } from './queries.ts';
import { BASELINE, type ReportRow, reportRows } from './report.ts';
import { DEPTH, type Run, scoreRuns } from './scoring.ts';

const CHUNK_CHARS = 64 * 1024;

export interface QualityReport {
  collection: {
    name: string;
    documents: number;
    /** Without title and text: not embedded, and so never found. */
    emptyDocuments: number;
    queries: number;
    judgements: number;
    /** Judged relevant or not, but in no corpus line. */
    judgedButMissing: number;
  };
  model: { name: string; fingerprint: string; dtype: string; standIn: boolean };
  corpus: { tokens: number; truncated: number; failed: number; seconds: number | null };
  truncatedQueries: number;
  settings: Record<string, unknown>;
  rows: ReportRow[];
}

export interface BenchOptions {
  /** Default: the server's own. */
  model?: string;
  say: (line: string) => void;
  signal: AbortSignal;
  progress?: NodeJS.WriteStream;
}

/** Measures one collection on a server. The job that it makes is deleted again. */
export async function measureQuality(
  client: TrivecClient,
  collection: Collection,
  { model: wanted, say, signal, progress = process.stderr }: BenchOptions,
): Promise<QualityReport> {
  const model = await modelOf(client, wanted);
  const bm25 = new Bm25();
  const facts = await indexCorpus(collection, bm25);
  say(
    `${collection.name}: ${facts.documents} documents, ${collection.queries.size} judged queries. Model ${model.id}.`,
  );
  const request = { model: model.id, outputs: model.outputs };
  const id = await client.submit(corpusLines(collection), request, { signal });
  try {
    const job = await watchJob(client, id, {
      signal,
      progress: { stream: progress, lineIntervalMs: 10_000 },
    });
    if (job.status !== 'completed')
      throw new Error(`The job ended as ${job.status}: ${JSON.stringify(job.errors)}`);
    if (job.model.fingerprint !== model.fingerprint)
      throw new Error(`The corpus was embedded by ${job.model.fingerprint}, not by ${model.fingerprint}.`);
    const queries = await embedQueries(client.url, model.id, collection.queries, model.outputs, signal);
    say('Scoring.');
    const runs = new Map<string, Run>([[BASELINE, bm25Run(bm25, collection)]]);
    const readShards = async function* () {
      yield* readArrowStream(await client.results(id, 'arrow', { signal }));
    };
    for (const [name, run] of await scoreRuns(readShards, queries.vectors, model.outputs))
      runs.set(name, run);
    return {
      collection: { name: collection.name, ...facts },
      model: { name: model.id, fingerprint: model.fingerprint, dtype: model.dtype, standIn: model.standIn },
      corpus: {
        tokens: job.tokens,
        truncated: job.truncated,
        failed: job.counts.failed,
        seconds: secondsOf(job),
      },
      truncatedQueries: queries.truncated,
      settings: {
        bm25: BM25,
        depth: DEPTH,
        rrfK: RRF_K,
        mixedWeights: MIXED_WEIGHTS,
        bootstrap: BOOTSTRAP,
      },
      rows: reportRows(runs, collection.qrels),
    };
  } finally {
    await client.delete(id);
  }
}

async function modelOf(client: TrivecClient, wanted: string | undefined): Promise<ModelView> {
  const models = await client.models();
  const found = models.find((model) => (wanted === undefined ? model.default : model.id === wanted));
  if (found !== undefined) return found;
  throw new Error(`The server has no model ${wanted}; it has ${models.map(({ id }) => id).join(', ')}.`);
}

/** Reads the whole corpus once, so that a malformed line is named before anything is embedded. */
async function indexCorpus({ documents, qrels, queries }: Collection, bm25: Bm25) {
  const judged = new Set([...qrels.values()].flatMap((of) => [...of.keys()]));
  let [count, emptyDocuments, judgements] = [0, 0, 0];
  for (const of of qrels.values()) judgements += of.size;
  for await (const { id, text } of documents()) {
    count++;
    judged.delete(id);
    if (text === '') emptyDocuments++;
    else bm25.add(id, text);
  }
  return {
    documents: count,
    emptyDocuments,
    queries: queries.size,
    judgements,
    judgedButMissing: judged.size,
  };
}

async function* corpusLines({ documents }: Collection): AsyncGenerator<string> {
  let chunk = '';
  for await (const { id, text } of documents()) {
    if (text === '') continue;
    chunk += `${JSON.stringify({ id, text })}\n`;
    if (chunk.length < CHUNK_CHARS) continue;
    yield chunk;
    chunk = '';
  }
  if (chunk !== '') yield chunk;
}

function bm25Run(bm25: Bm25, { queries }: Collection): Run {
  return new Map(Array.from(queries, ([id, text]) => [id, bm25.search(text, DEPTH)]));
}

function secondsOf({ startedAt, finishedAt }: JobView): number | null {
  return startedAt === null || finishedAt === null
    ? null
    : (Date.parse(finishedAt) - Date.parse(startedAt)) / 1000;
}
