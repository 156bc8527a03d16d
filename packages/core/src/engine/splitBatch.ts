/** Parts of a batch that a device died of, or failed on. */
const PARTS_AFTER_DEATH = 16;

/**
 * Halves cost the fewest passes. After a death each further one costs a start of the device: sixteen parts find the
 * text at fault among 256 in three deaths, and each part without it shows that the device is sound.
 * Neither gives an empty part. Pure.
 */
export function splitBatch<T>(batch: readonly T[], into: 'halves' | 'few deaths'): T[][] {
  const parts = into === 'halves' ? 2 : PARTS_AFTER_DEATH;
  const size = Math.max(1, Math.ceil(batch.length / parts));
  return Array.from({ length: Math.ceil(batch.length / size) }, (_, part) =>
    batch.slice(part * size, (part + 1) * size),
  );
}
