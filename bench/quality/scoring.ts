import { setImmediate as nextTurn } from 'node:timers/promises';
import { TopRows } from '@trivec/core/jobs/topRows';
import { type ResultColumns, vectorsAt } from '@trivec/core/vectors/resultColumns';
import { mixedScore, type OutputScores, outputScores } from '@trivec/core/vectors/scores';
import type { Output, TextVectors } from '@trivec/core/vectors/types';
import { reciprocalRankFusion } from './fusion.ts';
import type { Scored } from './metrics.ts';

/** How long each first list is, and so how many documents ColBERT re-ranks. */
export const DEPTH = 100;

/** By query id. */
export type Run = Map<string, Scored[]>;

/** Yields the corpus' vectors shard by shard; called once a pass, so that no more than a shard is held. */
export type ReadShards = () => AsyncIterable<ResultColumns>;

/**
 * Runs by name: each output alone, `mixed` (FlagEmbedding's weighted sum, over the best of dense and of sparse) and
 * the two fusions, as far as the model has the outputs. Memory: the queries' vectors, one shard, and `DEPTH`
 * candidates an output and query.
 */
export async function scoreRuns(
  readShards: ReadShards,
  queries: ReadonlyMap<string, TextVectors>,
  outputs: readonly Output[],
): Promise<Map<string, Run>> {
  const runs = new Map<string, Run>();
  const first = outputs.filter((output) => output !== 'colbert');
  const lists = await firstLists(readShards, queries, first.length > 0 ? first : ['colbert']);
  for (const [output, run] of lists) runs.set(output, run);
  if (outputs.length === 1) return runs;

  const scores = await candidateScores(readShards, queries, candidatesOf(lists), outputs);
  const mixed: Run = new Map();
  for (const [query, documents] of scores)
    mixed.set(
      query,
      Array.from(documents, ([id, score]) => ({ id, score: mixedScore(score) })),
    );
  if (outputs.includes('colbert')) runs.set('colbert', rerank(lists.get(first[0]!)!, scores));
  runs.set('mixed', mixed);
  if (first.length === 2)
    runs.set('rrf dense+sparse', fuse(queries, [runs.get('dense')!, runs.get('sparse')!]));
  if (outputs.length === 3)
    runs.set('rrf all', fuse(queries, [runs.get('dense')!, runs.get('sparse')!, runs.get('colbert')!]));
  return runs;
}

async function firstLists(
  readShards: ReadShards,
  queries: ReadonlyMap<string, TextVectors>,
  outputs: readonly Output[],
): Promise<Map<Output, Run>> {
  const top = new Map(outputs.map((output) => [output, topsOf(queries)]));
  for await (const columns of readShards()) {
    // Without ColBERT's columns `vectorsAt` makes views only.
    const { colbert, ...light } = columns;
    const source = outputs.includes('colbert') && colbert ? { ...light, colbert } : light;
    for (let row = 0; row < columns.length; row++) {
      const document = vectorsAt(source, row);
      const id = columns.ids[row]!;
      for (const [query, vectors] of queries) {
        const scores = outputScores(vectors, document, outputs);
        for (const output of outputs) {
          const score = scores[output] ?? 0;
          // Nothing in common is no find: such a document is in no list of words.
          if (output === 'sparse' && score <= 0) continue;
          top.get(output)!.get(query)!.offer(score, id);
        }
      }
    }
    await nextTurn();
  }
  return new Map(
    Array.from(top, ([output, byQuery]) => [
      output,
      new Map(
        Array.from(byQuery, ([query, rows]) => [
          query,
          rows.best().map(({ score, value }) => ({ id: value, score })),
        ]),
      ),
    ]),
  );
}

function topsOf(queries: ReadonlyMap<string, TextVectors>): Map<string, TopRows<string>> {
  return new Map(Array.from(queries.keys(), (query) => [query, new TopRows<string>(DEPTH)]));
}

/** Document id → the queries that have it in a list. */
function candidatesOf(lists: ReadonlyMap<Output, Run>): Map<string, Set<string>> {
  const wanted = new Map<string, Set<string>>();
  for (const run of lists.values())
    for (const [query, list] of run)
      for (const { id } of list) {
        const askers = wanted.get(id);
        if (askers === undefined) wanted.set(id, new Set([query]));
        else askers.add(query);
      }
  return wanted;
}

/** Query id → document id → every score. */
async function candidateScores(
  readShards: ReadShards,
  queries: ReadonlyMap<string, TextVectors>,
  wanted: ReadonlyMap<string, ReadonlySet<string>>,
  outputs: readonly Output[],
): Promise<Map<string, Map<string, OutputScores>>> {
  const found = new Map(Array.from(queries.keys(), (query) => [query, new Map<string, OutputScores>()]));
  for await (const columns of readShards())
    for (let row = 0; row < columns.length; row++) {
      const id = columns.ids[row]!;
      const askers = wanted.get(id);
      if (askers === undefined) continue;
      const document = vectorsAt(columns, row);
      for (const query of askers)
        found.get(query)!.set(id, outputScores(queries.get(query)!, document, outputs));
      await nextTurn();
    }
  return found;
}

/** The documents of a list, by their ColBERT score. */
function rerank(list: Run, scores: ReadonlyMap<string, ReadonlyMap<string, OutputScores>>): Run {
  return new Map(
    Array.from(list, ([query, documents]) => [
      query,
      documents.map(({ id }) => ({ id, score: scores.get(query)?.get(id)?.colbert ?? 0 })),
    ]),
  );
}

function fuse(queries: ReadonlyMap<string, TextVectors>, runs: readonly Run[]): Run {
  return new Map(
    Array.from(queries.keys(), (query) => [
      query,
      reciprocalRankFusion(runs.map((run) => run.get(query) ?? [])),
    ]),
  );
}
