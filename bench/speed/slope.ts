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

/** Of each minute from the start, the last one as far as it goes; NaN of one without points. */
export function mediansPerMinute(points: readonly Point[]): number[] {
  const minutes = Math.max(0, ...points.map(({ seconds }) => Math.floor(seconds / 60) + 1));
  return Array.from({ length: minutes }, (_, minute) =>
    median(points.filter(({ seconds }) => Math.floor(seconds / 60) === minute).map(({ value }) => value)),
  );
}
