/** A row of the table. Pure. */
import { percentile } from '../speed/texts.ts';
import type { Loop } from './closedLoop.ts';

/** Times in milliseconds, of the requests that were answered well; wall time in seconds. */
export interface Summary {
  Reqs: number;
  OK: number;
  Fail: number;
  Conc: number;
  Wall: number;
  'Req/s': number;
  'Units/s': number;
  Avg: number;
  P50: number;
  P95: number;
  P99: number;
  Min: number;
  Max: number;
}

/** Rates and times count what was answered well; the times are NaN where nothing was. */
export function summarize({ samples, wallMs }: Loop, clients: number): Summary {
  const good = samples.filter(({ failure }) => failure === undefined);
  const times = good.map(({ ms }) => ms);
  const units = good.reduce((sum, sample) => sum + sample.units, 0);
  const seconds = wallMs / 1000;
  return {
    Reqs: samples.length,
    OK: good.length,
    Fail: samples.length - good.length,
    Conc: clients,
    Wall: rounded(seconds, 2),
    'Req/s': rounded(good.length / seconds, 1),
    'Units/s': rounded(units / seconds, 1),
    Avg: rounded(times.reduce((sum, ms) => sum + ms, 0) / times.length, 1),
    P50: rounded(percentile(times, 0.5), 1),
    P95: rounded(percentile(times, 0.95), 1),
    P99: rounded(percentile(times, 0.99), 1),
    Min: rounded(percentile(times, 0), 1),
    Max: rounded(percentile(times, 1), 1),
  };
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** Distinct failures, the most frequent first. */
export function failuresOf({ samples }: Loop): { failure: string; times: number }[] {
  const counts = new Map<string, number>();
  for (const { failure } of samples)
    if (failure !== undefined) counts.set(failure, (counts.get(failure) ?? 0) + 1);
  return [...counts].map(([failure, times]) => ({ failure, times })).sort((a, b) => b.times - a.times);
}
