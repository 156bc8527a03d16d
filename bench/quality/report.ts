import { formatTable } from '@trivec/cli/format';
import { type Interval, pairedBootstrap } from './bootstrap.ts';
import { evaluate, type Judgements, METRIC_NAMES, type Metrics, mean } from './metrics.ts';
import type { Run } from './scoring.ts';

export const BASELINE = 'BM25';

export interface ReportRow extends Metrics {
  run: string;
  /** Difference to the baseline, query by query. */
  against?: Record<keyof Metrics, Interval>;
}

const TITLES: Record<keyof Metrics, string> = { ndcg10: 'nDCG@10', recall100: 'recall@100', mrr10: 'MRR@10' };

const NAMES: Record<string, string> = {
  colbert: 'colbert (re-ranks 100)',
  mixed: 'weighted sum 0.4/0.2/0.4',
  'rrf dense+sparse': 'RRF dense+sparse',
  'rrf all': 'RRF all three',
};

/** A row a run; the baseline is the first one. */
export function reportRows(
  runs: ReadonlyMap<string, Run>,
  qrels: ReadonlyMap<string, Judgements>,
): ReportRow[] {
  const baseline = evaluate(runs.get(BASELINE)!, qrels);
  return Array.from(runs, ([run, lists]) => {
    const results = evaluate(lists, qrels);
    const row = { run, ...perMetric((metric) => mean(results.map((result) => result[metric]))) };
    if (run === BASELINE) return row;
    const against = perMetric((metric) =>
      pairedBootstrap(results.map((result, index) => result[metric] - baseline[index]![metric])),
    );
    return { ...row, against };
  });
}

function perMetric<T>(of: (metric: keyof Metrics) => T): Record<keyof Metrics, T> {
  return { ndcg10: of('ndcg10'), recall100: of('recall100'), mrr10: of('mrr10') };
}

export function reportTable(rows: readonly ReportRow[]): string {
  const head = ['', ...METRIC_NAMES.flatMap((metric) => [TITLES[metric], `less ${BASELINE} (95 %)`])];
  const lines = rows.map((row) => [
    NAMES[row.run] ?? row.run,
    ...METRIC_NAMES.flatMap((metric) => [row[metric].toFixed(4), shown(row.against?.[metric])]),
  ]);
  return formatTable(head, lines, [1, 3, 5]);
}

function shown(interval: Interval | undefined): string {
  if (interval === undefined) return '';
  const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;
  return `${signed(interval.mean)} [${signed(interval.low)}, ${signed(interval.high)}]`;
}
