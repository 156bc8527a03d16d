/** Growth over time. Pure. */
import { median } from './texts.ts';

export interface Point {
  seconds: number;
  value: number;
}

/** Value per minute, by least squares; 0 of fewer than two different times. */
export function slopePerMinute(points: readonly Point[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [time, value] = [mean(points.map((p) => p.seconds)), mean(points.map((p) => p.value))];
  const spread = points.reduce((sum, p) => sum + (p.seconds - time) ** 2, 0);
  if (points.length < 2 || spread === 0) return 0;
  return (60 * points.reduce((sum, p) => sum + (p.seconds - time) * (p.value - value), 0)) / spread;
}

/** Of each period from the start, the last one as far as it goes; NaN of one without points. */
export function mediansPer(periodSeconds: number, points: readonly Point[]): number[] {
  const periodOf = ({ seconds }: Point) => Math.floor(seconds / periodSeconds);
  const periods = Math.max(0, ...points.map((point) => periodOf(point) + 1));
  return Array.from({ length: periods }, (_, period) =>
    median(points.filter((point) => periodOf(point) === period).map(({ value }) => value)),
  );
}

/** Where a median is `least` or more away from the one before. */
export function stepsOf(medians: readonly number[], least: number): { at: number; by: number }[] {
  return medians
    .map((value, at) => ({ at, by: at === 0 ? 0 : value - medians[at - 1]! }))
    .filter(({ by }) => Math.abs(by) >= least);
}
