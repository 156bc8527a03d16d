/** Growth over time. Pure. */

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
