import { isDeepStrictEqual } from 'node:util';
import type { JobService } from '@trivec/core/jobs/jobService';
import type { JobRecord } from '@trivec/core/jobs/records';
import { partPointIdOf } from '@trivec/core/sinks/qdrant/pointId';
import type { Corpus } from './corpus.ts';
import { type ResultRow, resultRows } from './results.ts';

/** Qdrant normalises again what was normalised, in its own float32. */
const TOLERANCE = 1e-5;
const SHOWN = 5;
const PAGE_POINTS = 500;
/** What a server without settings of its own gives a collection. */
const DEFAULT_HNSW_M = 16;

interface ReadPoint {
  id: number | string;
  payload: Record<string, unknown>;
  vector: { dense: number[]; sparse: { indices: number[]; values: number[] }; colbert?: number[][] };
}

async function call<T>(url: string, body?: object): Promise<T> {
  const response = await fetch(url, {
    ...(body && {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }),
  });
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return ((await response.json()) as { result: T }).result;
}

async function readPoints(url: string, collection: string): Promise<Map<number | string, ReadPoint>> {
  const found = new Map<number | string, ReadPoint>();
  for (let offset: unknown; offset !== null; ) {
    const page = await call<{ points: ReadPoint[]; next_page_offset: unknown }>(
      `${url}/collections/${collection}/points/scroll`,
      { limit: PAGE_POINTS, with_payload: true, with_vector: true, ...(offset !== undefined && { offset }) },
    );
    for (const point of page.points) found.set(point.id, point);
    offset = page.next_page_offset ?? null;
  }
  return found;
}

/** Each row of the results is one point, under its id, with its vectors, text and payload; and there is no other. */
export async function checkPoints(
  url: string,
  service: JobService,
  job: JobRecord,
  corpus: Corpus,
): Promise<string[]> {
  const { collection, alias, counts } = job.sink!;
  const points = await readPoints(url, alias ?? collection);
  const rows = await Array.fromAsync(resultRows(service, job));
  const chunksOf = Map.groupBy(rows, ({ id }) => id);
  const wrong: string[] = [];
  for (const row of rows) {
    const pointId = partPointIdOf(row.id, row.chunk);
    const point = points.get(pointId);
    points.delete(pointId);
    const why =
      point === undefined ? 'missing' : differs(point, row, job, corpus, chunksOf.get(row.id)!.length);
    if (why !== undefined) wrong.push(`${row.id}/${row.chunk} ${why}`);
  }
  const faults: string[] = [];
  if (wrong.length > 0) faults.push(`Qdrant: ${wrong.length} points are wrong: ${wrong.slice(0, SHOWN)}`);
  if (points.size > 0)
    faults.push(`Qdrant: ${points.size} points of nothing: ${[...points.keys()].slice(0, SHOWN)}`);
  if (counts.points !== rows.length || counts.refused > 0)
    faults.push(`sink counts: ${JSON.stringify(counts)}, ${rows.length} rows`);
  const exact = await call<{ count: number }>(`${url}/collections/${alias ?? collection}/points/count`, {
    exact: true,
  });
  if (exact.count !== rows.length) faults.push(`Qdrant counts ${exact.count} points of ${rows.length}`);
  return faults;
}

/** Why the point is not what the row says. */
function differs(
  { payload, vector }: ReadPoint,
  row: ResultRow,
  job: JobRecord,
  corpus: Corpus,
  chunks: number,
): string | undefined {
  const document = corpus.documents.get(row.id)!;
  const expected = {
    ...document.payload,
    text: document.text.slice(row.start, row.end),
    trivec: { id: row.id, job: job.id, chunk: row.chunk, point: row.chunk, points: chunks },
  };
  if (!isDeepStrictEqual(payload, expected)) return `payload ${JSON.stringify(payload)}`;
  if (!near(vector.dense, normalised(row.dense))) return 'dense';
  const { indices, values } = sorted(vector.sparse);
  const sparse = sorted(row.sparse!);
  if (!isDeepStrictEqual(indices, sparse.indices) || !near(values, sparse.values)) return 'sparse';
  const matrix = row.colbert ?? [];
  const found = vector.colbert ?? [];
  if (found.length !== matrix.length || matrix.some((line, i) => !near(found[i]!, normalised(line))))
    return 'colbert';
  return undefined;
}

function near(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => Math.abs(value - b[i]!) <= TOLERANCE);
}

function normalised(vector: readonly number[]): number[] {
  const norm = Math.hypot(...vector) || 1;
  return vector.map((value) => value / norm);
}

function sorted({ indices, values }: { indices: number[]; values: number[] }) {
  const order = indices.map((_, i) => i).sort((a, b) => indices[a]! - indices[b]!);
  return { indices: order.map((i) => indices[i]!), values: order.map((i) => values[i]!) };
}

/** Collections and aliases beside those that the jobs asked for, and indexing that was never restored. */
export async function checkCollections(
  url: string,
  prefix: string,
  jobs: readonly JobRecord[],
): Promise<string[]> {
  const faults: string[] = [];
  const last = jobs.findLast(({ sink }) => sink?.alias !== undefined)?.sink;
  const expected = new Set(
    jobs.flatMap(({ sink }) => (sink && sink.alias === undefined ? [sink.collection] : [])),
  );
  if (last !== undefined) expected.add(last.collection);
  const { collections } = await call<{ collections: { name: string }[] }>(`${url}/collections`);
  for (const { name } of collections) {
    if (!name.startsWith(prefix)) continue;
    if (!expected.delete(name)) faults.push(`Qdrant: collection ${name} is left over`);
    const info = await call<{ config: { hnsw_config: { m: number } } }>(`${url}/collections/${name}`);
    const { m } = info.config.hnsw_config;
    if (m !== DEFAULT_HNSW_M) faults.push(`Qdrant: collection ${name} has hnsw m ${m}`);
  }
  for (const name of expected) faults.push(`Qdrant: collection ${name} is missing`);
  const { aliases } = await call<{ aliases: { alias_name: string; collection_name: string }[] }>(
    `${url}/aliases`,
  );
  const ours = aliases.filter(({ alias_name }) => alias_name.startsWith(prefix));
  const wanted = last === undefined ? [] : [{ alias_name: last.alias, collection_name: last.collection }];
  if (!isDeepStrictEqual(ours, wanted)) faults.push(`Qdrant: aliases ${JSON.stringify(ours)}`);
  return faults;
}

export async function removeCollections(url: string, prefix: string): Promise<void> {
  const { collections } = await call<{ collections: { name: string }[] }>(`${url}/collections`);
  for (const { name } of collections)
    if (name.startsWith(prefix)) await fetch(`${url}/collections/${name}`, { method: 'DELETE' });
}
