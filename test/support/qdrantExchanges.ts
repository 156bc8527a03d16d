/**
 * Requests, in order, whose answers a real Qdrant gave are recorded in test/golden/qdrant/answers.json. The
 * double must give the same; a real server is asked again when QDRANT_TEST_URL is set.
 */
export interface Exchange {
  method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  path: string;
  /** As it is sent: some are not JSON. */
  body?: string;
}

export interface Answer {
  status: number;
  /** Without `time`, `usage` and operation numbers. */
  body: unknown;
}

const C = '/collections/exchange_t';
const POINTS = `${C}/points`;
const CONFIRMED = `${POINTS}?wait=true`;

const get = (path: string): Exchange => ({ method: 'GET', path });
const remove = (path: string): Exchange => ({ method: 'DELETE', path });
const send = (method: 'PUT' | 'POST' | 'PATCH', path: string, body: unknown): Exchange => ({
  method,
  path,
  body: typeof body === 'string' ? body : JSON.stringify(body),
});
const upsert = (...points: unknown[]) => send('PUT', CONFIRMED, { points });
const vector = (vectors: unknown, id: unknown = 9) => upsert({ id, vector: vectors });
const query = (body: unknown) => send('POST', `${POINTS}/query`, body);
const aliases = (...actions: unknown[]) => send('POST', '/collections/aliases', { actions });
const dense = [0.1, 0.2, 0.3, 0.4];

const CREATE = {
  vectors: {
    dense: { size: 4, distance: 'Cosine' },
    colbert: {
      size: 4,
      distance: 'Cosine',
      multivector_config: { comparator: 'max_sim' },
      hnsw_config: { m: 0 },
    },
  },
  sparse_vectors: { sparse: { index: { on_disk: false } } },
};

const COLLECTIONS: Exchange[] = [
  remove(C),
  get(C),
  get(`${C}/exists`),
  send('PUT', C, CREATE),
  send('PUT', C, { vectors: { size: 4, distance: 'Cosine' } }),
  get(C),
  get(`${C}/exists`),
  send('PUT', '/collections/a*b', CREATE),
  send('PUT', `/collections/${'n'.repeat(256)}`, CREATE),
  send('PUT', '/collections/exchange_z', { vectors: { d: { size: 0, distance: 'Cosine' } } }),
  send('PUT', '/collections/exchange_z', { vectors: { d: { size: 4, distance: 'Cos' } } }),
  send('PUT', '/collections/exchange_z', { vectors: { d: { size: 65_537, distance: 'Cosine' } } }),
  send('PUT', '/collections/exchange_z', '{"vectors":'),
  send('PATCH', C, { hnsw_config: { m: 0 } }),
  send('PATCH', C, { hnsw_config: { m: 'x' } }),
  send('PATCH', C, { optimizers_config: { indexing_threshold: 0 } }),
  send('PATCH', '/collections/exchange_no', { hnsw_config: { m: 0 } }),
  get(C),
  remove('/collections/exchange_no'),
];

const IDS: Exchange[] = [1, 0, -1, 1.5, 'abc', '5', '550E8400-E29B-41D4-A716-446655440000', true, null].map(
  (id) => vector({ dense }, id),
);

const BAD_BODIES: Exchange[] = [
  send('PUT', CONFIRMED, `{"points":[{"id":18446744073709551616,"vector":{"dense":[1,2,3,4]}}]}`),
  send('PUT', CONFIRMED, '{bad'),
  send('PUT', CONFIRMED, '{"points":[{"id":9,"vector":{"dense":[1,2,3,4]},"payload":{"a":"\\ud800"}}]}'),
  send('PUT', CONFIRMED, { points: [] }),
  send('PUT', CONFIRMED, {}),
  upsert({ vector: { dense } }),
  upsert({ id: 9 }),
  upsert({ id: 9, vector: { dense }, payload: [1] }),
  upsert({ id: 9, vector: { dense }, payload: null }),
  upsert({ id: 9, vector: { dense }, extra: 1 }),
  send('PUT', `${POINTS}?wait=maybe`, { points: [{ id: 9, vector: { dense } }] }),
  send('PUT', '/collections/exchange_no/points?wait=true', { points: [{ id: 9, vector: { dense } }] }),
];

const VECTORS: Exchange[] = [
  vector({ dense: [1, 2, 3] }),
  vector({ dense: [] }),
  vector({ dense: [0.1, null, 0.3, 0.4] }),
  vector({ dense: ['a', 'b', 'c', 'd'] }),
  vector({ dense: [0, 0, 0, 0] }),
  vector({ dense: { indices: [1], values: [0.5] } }),
  vector({ dense: [dense] }),
  vector({ nope: dense }),
  vector({}),
  vector(dense),
  vector({ sparse: { indices: [], values: [] } }),
  vector({ sparse: { indices: [7, 3], values: [0, 0.5] } }),
  send('POST', POINTS, { ids: [9], with_vector: true }),
  vector({ sparse: { indices: [4_294_967_295], values: [0.5] } }),
  vector({ sparse: { indices: [1, 1], values: [0.5, 0.6] } }),
  vector({ sparse: { indices: [1, 2], values: [0.5] } }),
  vector({ sparse: { indices: [-1], values: [0.5] } }),
  vector({ sparse: { indices: [1.5], values: [0.5] } }),
  vector({ sparse: { indices: [4_294_967_296], values: [0.5] } }),
  vector({ sparse: [0.1, 0.2] }),
  vector({ colbert: [] }),
  vector({ colbert: [[]] }),
  vector({ colbert: [[1.5, 2, 3]] }),
  vector({
    colbert: [
      [1.5, 2, 3, 4],
      [1, 2],
    ],
  }),
  vector({ colbert: [[1.5, 2, 3, 4], []] }),
  vector({ colbert: [0.5, 2, 3, 4] }),
  // Two rows, the first of them whole numbers: read as a sparse vector's indices and values.
  vector({
    colbert: [
      [1, 0, 0, 0],
      [0, 0.5, 0, 0],
    ],
  }),
  vector({
    colbert: [
      [1, 2, 3, 4],
      [0, 0.5, 0, 0],
    ],
  }),
  send('PUT', CONFIRMED, '{"points":[{"id":9,"vector":{"colbert":[[1.0,2,3,4],[0,0.5,0,0]]}}]}'),
  vector({
    colbert: [
      [1, 2, 3, 4],
      [0, 0.5, 0, 0],
      [1, 2, 3, 4],
    ],
  }),
  // The second is at fault: none of the request is applied.
  upsert({ id: 40, vector: { dense } }, { id: 41, vector: { dense: [1] } }),
  send('PUT', `${POINTS}?wait=false`, { points: [{ id: 42, vector: { dense: [1] } }] }),
  send('POST', POINTS, { ids: [9, 40, 42], with_vector: true }),
];

const LOAD: Exchange[] = [
  remove(C),
  send('PUT', C, CREATE),
  upsert(
    {
      id: 1,
      vector: {
        dense: [1, 0, 0, 0.5],
        sparse: { indices: [5, 9], values: [0.5, 1.5] },
        colbert: [
          [0.6, 0.8, 0, 0],
          [0, 1, 0, 0],
        ],
      },
      payload: { lang: 'en', n: 1, tags: ['a', 'b'], trivec: { id: 'x', job: 'j' } },
    },
    {
      id: 2,
      vector: {
        dense: [0, 1, 0, 0.25],
        sparse: { indices: [9], values: [0.25] },
        colbert: [[0, 0, 0.6, 0.8]],
      },
      payload: { lang: 'de', n: 2, trivec: { id: 'y' } },
    },
    {
      id: '550e8400-e29b-41d4-a716-446655440000',
      vector: { dense: [0.5, 0.5, 0.75, 0], sparse: { indices: [11], values: [2] } },
      payload: { lang: 'en', n: 3, text: 'three', nothing: null },
    },
    { id: 4, vector: { dense: [0, 0, 1, 0.1] } },
    // The same id again: the last one counts.
    { id: 4, vector: { dense: [0, 0.1, 1, 0] }, payload: { n: 4 } },
  ),
];

const READS: Exchange[] = [
  send('POST', POINTS, {
    ids: [1, 2, 4, 99, '550e8400-e29b-41d4-a716-446655440000'],
    with_payload: ['trivec'],
    with_vector: false,
  }),
  send('POST', POINTS, { ids: [1, 2, 4], with_payload: true, with_vector: true }),
  send('POST', POINTS, { ids: [1], with_vector: ['dense'] }),
  send('POST', POINTS, { ids: [1] }),
  send('POST', POINTS, { ids: ['zz'] }),
  send('POST', POINTS, {}),
  send('POST', '/collections/exchange_no/points', { ids: [1] }),
  send('POST', `${POINTS}/count`, { exact: true }),
  send('POST', `${POINTS}/count`, {
    exact: true,
    filter: { must: [{ key: 'lang', match: { value: 'en' } }] },
  }),
  send('POST', `${POINTS}/scroll`, { limit: 2, with_payload: true, with_vector: false }),
  send('POST', `${POINTS}/scroll`, { limit: 10, with_payload: ['lang'], with_vector: false, offset: 2 }),
  send('POST', `${POINTS}/scroll`, { limit: 10, filter: { must: [{ key: 'n', range: { gte: 2, lt: 4 } }] } }),
];

const SPARSE_QUERY = { query: { indices: [9, 5], values: [1, 0.5] }, using: 'sparse' };
const DENSE_QUERY = { query: [1, 0.5, 0.25, 0], using: 'dense' };
const HYBRID = {
  prefetch: [
    { ...DENSE_QUERY, limit: 10 },
    { ...SPARSE_QUERY, limit: 10 },
  ],
  query: { fusion: 'rrf' },
};

const QUERIES: Exchange[] = [
  query({ ...DENSE_QUERY, limit: 10, with_payload: true }),
  query({ ...DENSE_QUERY, limit: 2, with_payload: false, with_vector: ['dense'] }),
  query({ ...DENSE_QUERY, limit: 10, offset: 1 }),
  query({ ...DENSE_QUERY, limit: 10, score_threshold: 0.6 }),
  query({ ...SPARSE_QUERY, limit: 10 }),
  query({
    query: [
      [0.5, 1, 0, 0],
      [0, 0, 1.5, 1],
    ],
    using: 'colbert',
    limit: 10,
  }),
  query({ ...HYBRID, limit: 10, with_payload: ['lang'] }),
  query({ ...HYBRID, limit: 1 }),
  query({ ...HYBRID, limit: 10, query: { rrf: { k: 60 } } }),
  query({ ...HYBRID, limit: 10, filter: { must: [{ key: 'lang', match: { value: 'en' } }] } }),
  query({
    prefetch: { ...HYBRID, limit: 10 },
    query: [
      [0.5, 1, 0, 0],
      [0, 0, 1.5, 1],
    ],
    using: 'colbert',
    limit: 10,
  }),
  ...[
    { must: [{ key: 'tags', match: { value: 'b' } }] },
    { must: { key: 'trivec.id', match: { value: 'y' } } },
    { must_not: [{ key: 'lang', match: { value: 'en' } }] },
    {
      should: [
        { key: 'n', match: { value: 1 } },
        { key: 'n', match: { value: 4 } },
      ],
    },
    { must: [{ key: 'lang', match: { any: ['de', 'fr'] } }] },
    { must: [{ key: 'lang', match: { except: ['de'] } }] },
    { must: [{ key: 'n', range: { gt: 1, lte: 3 } }] },
    { must: [{ has_id: [1, 4] }] },
    { must: [{ is_empty: { key: 'lang' } }] },
    { must: [{ is_null: { key: 'nothing' } }] },
    { must: [{ should: [{ key: 'n', match: { value: 2 } }] }] },
  ].map((filter) => query({ ...DENSE_QUERY, limit: 10, filter })),
  query({ limit: 3 }),
  query({ query: [1, 2, 3], using: 'dense', limit: 5 }),
  query({ query: dense, using: 'nope', limit: 5 }),
  query({ query: dense, limit: 5 }),
  query({ query: dense, using: 'sparse', limit: 5 }),
  query({ query: { indices: [5], values: [1] }, using: 'dense', limit: 5 }),
  query({ query: [[1.5, 0, 0]], using: 'colbert', limit: 5 }),
  query({ query: { indices: [5, 5], values: [1, 1] }, using: 'sparse', limit: 5 }),
  query({ query: { indices: [5], values: [1, 2] }, using: 'sparse', limit: 5 }),
  query({ query: { fusion: 'rrf' }, limit: 5 }),
  query({ prefetch: [{ ...DENSE_QUERY, limit: 10 }], limit: 5 }),
  query({ ...DENSE_QUERY, limit: 0 }),
  query({ ...DENSE_QUERY, filter: { mustt: [] } }),
  query({ ...DENSE_QUERY, filter: { must: [{ key: 'a' }] } }),
];

const DELETES: Exchange[] = [
  send('POST', `${POINTS}/delete?wait=true`, { points: [77, 4] }),
  send('POST', `${POINTS}/delete?wait=true`, {
    filter: { must: [{ key: 'trivec.id', match: { value: 'y' } }] },
  }),
  send('POST', `${POINTS}/delete?wait=true`, { points: ['x'] }),
  send('POST', `${POINTS}/delete?wait=true`, {}),
  send('POST', `${POINTS}/count`, { exact: true }),
];

const ALIASES: Exchange[] = [
  aliases({ create_alias: { alias_name: 'exchange_al', collection_name: 'exchange_t' } }),
  aliases({ create_alias: { alias_name: 'exchange_t', collection_name: 'exchange_t' } }),
  aliases({ create_alias: { alias_name: 'exchange_al2', collection_name: 'exchange_no' } }),
  aliases({ delete_alias: { alias_name: 'exchange_no' } }),
  get('/aliases'),
  send('PUT', '/collections/exchange_al', CREATE),
  get('/collections/exchange_al/exists'),
  send('POST', '/collections/exchange_al/points/count', { exact: true }),
  remove('/collections/exchange_al'),
  send('PUT', '/collections/exchange_new', CREATE),
  aliases(
    { delete_alias: { alias_name: 'exchange_al' } },
    { create_alias: { alias_name: 'exchange_al', collection_name: 'exchange_new' } },
  ),
  get('/aliases'),
  remove('/collections/exchange_new'),
  get('/aliases'),
  remove(C),
];

export const EXCHANGES: readonly Exchange[] = [
  ...COLLECTIONS,
  ...IDS,
  ...BAD_BODIES,
  ...VECTORS,
  ...LOAD,
  ...READS,
  ...QUERIES,
  ...DELETES,
  ...ALIASES,
];

/** Sends one and reads the answer, without what differs from one time to the next. */
export async function exchange(url: string, { method, path, body }: Exchange): Promise<Answer> {
  const answer = await fetch(url + path, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body !== undefined && { body }),
  });
  const text = await answer.text();
  return { status: answer.status, body: text === '' ? null : stable(JSON.parse(text)) };
}

const VOLATILE = new Set([
  'time',
  'usage',
  'operation_id',
  'version',
  'indexed_vectors_count',
  'segments_count',
]);

function stable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(stable);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !VOLATILE.has(key))
      .map(([key, inner]) => [key, stable(inner)]),
  );
}
