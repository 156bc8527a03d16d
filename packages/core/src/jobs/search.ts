import { TrivecError } from '../errors.ts';
import { isTurnOver, nextTurn } from '../turns.ts';
import { type ResultColumns, vectorsAt } from '../vectors/resultColumns.ts';
import { MIXED_WEIGHTS, mixedScore, type OutputScores, outputScores } from '../vectors/scores.ts';
import type { Output } from '../vectors/types.ts';
import { explainHit } from './explain.ts';
import type { Document, JobRecord, ShardRecord } from './records.ts';
import { type ResultDeps, readShardColumns } from './results.ts';
import type { SearchHit, SearchQuery, SearchResult } from './serviceTypes.ts';
import { readShardDocuments } from './shardCutter.ts';
import { TopRows } from './topRows.ts';

/** Late interaction costs a thousand times a dense product: in larger jobs it re-ranks the best of another output. */
export const FULL_COLBERT_ROWS = 2000;
const RERANKED_ROWS = 100;

interface Candidate {
  shard: ShardRecord;
  row: number;
  scores: OutputScores;
}

/** Which outputs make the score, and which of them only re-rank. */
interface Plan {
  first: readonly Output[];
  rerank: boolean;
  outputs: readonly Output[];
  notes: string[];
}

/**
 * Exact search over everything stored so far, shard by shard: every row is compared. Memory is that of one shard
 * and the hits. ColBERT of a job with more than 2000 rows re-ranks the top 100 of dense (or sparse).
 */
export async function searchJob(deps: ResultDeps, job: JobRecord, query: SearchQuery): Promise<SearchResult> {
  const plan = planSearch(job, query);
  const top = new TopRows<Candidate>(plan.rerank ? Math.max(RERANKED_ROWS, query.limit) : query.limit);
  let scanned = 0;
  for await (const shard of deps.ledger.shards(job.id)) {
    if (shard.state === 'pending' || shard.resultKey === undefined) continue;
    query.signal?.throwIfAborted();
    const columns = await readShardColumns(deps.storage, job, shard);
    for (let row = 0; row < columns.length; row++) {
      const scores = scoreRow(columns, row, query, plan.first);
      top.offer(mixedScore(scores), { shard, row, scores });
      if (isTurnOver()) await giveWay(query.signal);
    }
    scanned += columns.length;
  }
  const best = plan.rerank ? await rerank(deps, job, query, plan, top) : top.best();
  const hits = await describeHits(deps, job, query, best.slice(0, query.limit));
  const weights: OutputScores = {};
  for (const output of plan.outputs) weights[output] = plan.outputs.length === 1 ? 1 : MIXED_WEIGHTS[output];
  return { hits, scanned, weights, notes: plan.notes };
}

function planSearch(job: JobRecord, { mode, vectors }: SearchQuery): Plan {
  const has = (output: Output) => job.options.outputs.includes(output) && vectors[output] !== undefined;
  const wanted: Output[] = mode === 'hybrid' ? ['dense', 'sparse', 'colbert'] : [mode];
  const outputs = wanted.filter(has);
  if (outputs.length === 0)
    throw new TrivecError(
      'invalid_request',
      `mode ${mode} needs what this job does not have; its outputs are ${job.options.outputs.join(', ')}.`,
      { param: 'mode' },
    );
  const notes: string[] = [];
  const missing = wanted.filter((output) => !outputs.includes(output));
  if (missing.length > 0) notes.push(`${missing.join(' and ')} did not take part: the job does not have it.`);
  const cheap = outputs.filter((output) => output !== 'colbert');
  const first = cheap.length > 0 ? cheap : (['dense', 'sparse'] as const).filter(has).slice(0, 1);
  const rerank = outputs.includes('colbert') && job.counts.embedded > FULL_COLBERT_ROWS && first.length > 0;
  if (!rerank) return { first: outputs, rerank, outputs, notes };
  notes.push(
    `colbert re-ranked the best ${RERANKED_ROWS} by ${first.join(' and ')}: the job has more than ${FULL_COLBERT_ROWS} rows.`,
  );
  return { first, rerank, outputs, notes };
}

function scoreRow(
  columns: ResultColumns,
  row: number,
  query: SearchQuery,
  outputs: readonly Output[],
): OutputScores {
  // Without ColBERT's columns `vectorsAt` makes views only.
  const { colbert, ...light } = columns;
  const source = outputs.includes('colbert') && colbert ? { ...light, colbert } : light;
  return outputScores(query.vectors, vectorsAt(source, row), outputs);
}

async function rerank(
  deps: ResultDeps,
  job: JobRecord,
  query: SearchQuery,
  plan: Plan,
  candidates: TopRows<Candidate>,
) {
  const top = new TopRows<Candidate>(query.limit);
  for (const { shard, members } of byShard(candidates.best().map(({ value }) => value))) {
    const columns = await readShardColumns(deps.storage, job, shard);
    for (const candidate of members) {
      const scores = scoreRow(columns, candidate.row, query, plan.outputs);
      top.offer(mixedScore(scores), { ...candidate, scores });
      if (isTurnOver()) await giveWay(query.signal);
    }
  }
  return top.best();
}

/** Reads each shard once, whatever the number of hits in it. */
async function describeHits(
  deps: ResultDeps,
  job: JobRecord,
  query: SearchQuery,
  best: readonly { score: number; value: Candidate }[],
): Promise<SearchHit[]> {
  const described = new Map<Candidate, Omit<SearchHit, 'score' | 'scores'>>();
  for (const { shard, members } of byShard(best.map(({ value }) => value))) {
    const columns = await readShardColumns(deps.storage, job, shard);
    const body = await deps.storage.get(shard.inputKey);
    const documents = new Map<string, Document>(
      body === undefined ? [] : readShardDocuments(body).map((document) => [document.id, document]),
    );
    for (const candidate of members) {
      const id = columns.ids[candidate.row]!;
      const { text: whole = '', payload } = documents.get(id) ?? {};
      const span = columns.spans && {
        start: columns.spans.starts[candidate.row]!,
        end: columns.spans.ends[candidate.row]!,
      };
      const text = span ? whole.slice(span.start, span.end) : whole;
      described.set(candidate, {
        id,
        chunk: columns.chunks[candidate.row]!,
        ...span,
        text,
        ...(payload !== undefined && { payload }),
        ...(query.explain && {
          explanation: explainHit(query.vectors, vectorsAt(columns, candidate.row), query.tokenIds),
        }),
      });
    }
  }
  return best.map(({ score, value }) => ({ ...described.get(value)!, score, scores: value.scores }));
}

function byShard(candidates: readonly Candidate[]): { shard: ShardRecord; members: Candidate[] }[] {
  const groups = new Map<number, { shard: ShardRecord; members: Candidate[] }>();
  for (const candidate of candidates) {
    const group = groups.get(candidate.shard.ordinal) ?? { shard: candidate.shard, members: [] };
    groups.set(candidate.shard.ordinal, group);
    group.members.push(candidate);
  }
  return [...groups.values()];
}

/** Gives the thread to others when it was held for a while, and stops when the client has left. */
async function giveWay(signal: AbortSignal | undefined): Promise<void> {
  await nextTurn();
  signal?.throwIfAborted();
}
