import type { QdrantDestination } from '../../packages/core/src/sinks/qdrant/destination.ts';
import type { SinkDocument, SinkText } from '../../packages/core/src/sinks/qdrant/points.ts';

/** A small generator of numbers in (−1, 1), the same for the same seed. */
export function numbers(seed: number): () => number {
  let state = (seed * 2_654_435_761) >>> 0;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 31 - 1;
  };
}

function unit(next: () => number, dims: number): Float32Array {
  const values = Float32Array.from({ length: dims }, next);
  const norm = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  return values.map((value) => value / norm);
}

export function randomColbert(rows: number, dims: number, seed: number) {
  const next = numbers(seed);
  const data = new Float32Array(rows * dims);
  for (let row = 0; row < rows; row++) data.set(unit(next, dims), row * dims);
  return { rows, dims, data };
}

export interface SinkDocumentOptions {
  dims: number;
  rows: number;
  chunks?: number;
  payload?: Record<string, unknown>;
}

/** A document with vectors like a model's, the same for the same seed. */
export function sinkDocument(id: string, seed: number, options: SinkDocumentOptions): SinkDocument {
  const { dims, rows, chunks = 1, payload } = options;
  const texts = Array.from({ length: chunks }, (_, chunk): SinkText => {
    const next = numbers(seed * 31 + chunk);
    const indices = Uint32Array.from(
      new Set(Array.from({ length: 6 }, () => Math.floor((next() + 1) * 50))),
    ).sort();
    return {
      dense: unit(next, dims),
      sparse: { indices, values: Float32Array.from(indices, () => Math.abs(next()) + 0.01) },
      colbert: randomColbert(rows, dims, seed * 31 + chunk + 1),
      text: `text ${chunk} of ${id}`,
    };
  });
  return { id, texts, ...(payload && { payload }) };
}

/** All three outputs under their own names, everything else as by default. */
export function qdrantDestination(
  collection: string,
  extra: Partial<QdrantDestination> = {},
): QdrantDestination {
  return {
    type: 'qdrant',
    collection,
    create: true,
    vectors: { dense: 'dense', sparse: 'sparse', colbert: 'colbert' },
    payload: true,
    text: true,
    deferIndexing: false,
    ifExists: 'upsert',
    deleteStaleChunks: true,
    colbertOverflow: 'chunk',
    ...extra,
  };
}
