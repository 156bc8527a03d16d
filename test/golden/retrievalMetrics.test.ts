import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { evaluate, METRIC_NAMES, type Metrics, mean } from '../../bench/quality/metrics.ts';

/** See scripts/fixtures/make_retrieval_metrics.py. */
interface Case {
  name: string;
  qrels: Record<string, Record<string, number>>;
  run: Record<string, Record<string, number>>;
  expected: { byQuery: Record<string, Metrics>; mean: Metrics };
}

const TOLERANCE = 1e-12;
const { cases } = JSON.parse(readFileSync(new URL('./retrieval-metrics.json', import.meta.url), 'utf8')) as {
  cases: Case[];
};

for (const { name, qrels, run, expected } of cases) {
  test(`nDCG@10, recall@100 and MRR@10 are those of trec_eval: ${name}`, () => {
    const judged = Object.entries(qrels).map(
      ([query, judgements]) => [query, new Map(Object.entries(judgements))] as const,
    );
    const lists = Object.entries(run).map(
      ([query, scores]) => [query, Object.entries(scores).map(([id, score]) => ({ id, score }))] as const,
    );
    const results = evaluate(new Map(lists), new Map(judged));
    for (const metric of METRIC_NAMES) {
      for (const [index, [query]] of judged.entries())
        close(results[index]![metric], expected.byQuery[query]![metric], `${metric} of ${query}`);
      close(mean(results.map((result) => result[metric])), expected.mean[metric], `mean ${metric}`);
    }
  });
}

function close(actual: number, wanted: number, what: string): void {
  assert.ok(Math.abs(actual - wanted) <= TOLERANCE, `${what}: ${actual}, trec_eval says ${wanted}`);
}
