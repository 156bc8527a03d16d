/** What existing clients speak: one row a route. docs/surfaces.md is made of it, and a test walks it. */
export interface Surface {
  title: string;
  /** Where it stands; native, OpenAI and Cohere are at the root. */
  prefix: '' | `/${string}`;
  /** The shape of its error bodies. */
  errors: string;
  /** Method and path behind the prefix, and what answers it. */
  routes: Readonly<Record<`${'GET' | 'POST' | 'DELETE'} /${string}`, string>>;
}

export const SURFACES = {
  native: {
    title: 'trivec',
    prefix: '',
    errors: '{"error": {"code", "message", "param", "requestId"}}',
    routes: {
      'POST /embeddings': 'Dense, sparse and ColBERT vectors',
      'POST /rerank': 'Documents in the order of a query',
      'POST /score': 'Scores of pairs',
      'POST /tokenize': 'Texts to token ids',
      'POST /decode': 'Token ids to texts',
      'POST /jobs': 'A corpus, in the background',
      'GET /jobs': 'Jobs',
      'GET /jobs/{id}': 'A job',
      'DELETE /jobs/{id}': 'Delete a job',
      'POST /jobs/{id}/cancel': 'End a job',
      'POST /jobs/{id}/pause': 'Pause a job',
      'POST /jobs/{id}/resume': 'Go on with a job',
      'POST /jobs/{id}/retry': 'Try the failed documents of a job again',
      'POST /jobs/{id}/ingest': 'Send the vectors of a job to a collection',
      'POST /jobs/{id}/search': 'Search in a job',
      'GET /jobs/{id}/results': 'Vectors of a job',
      'GET /jobs/{id}/errors': 'Documents of a job that failed',
      'GET /jobs/{id}/events': 'The progress of a job while it runs',
      'POST /search': 'Search in a collection',
      'GET /models': 'Models',
      'GET /info': 'Version and limits',
      'GET /stats': 'What was done',
      'GET /': 'What this is, and where the rest is; browsers are sent to /docs',
      'GET /health': 'The same as /health/ready',
      'GET /health/live': 'The process answers',
      'GET /health/ready': 'The model is served',
      'GET /metrics': 'Prometheus metrics',
      'GET /openapi.json': 'The OpenAPI document',
    },
  },
  openai: {
    title: 'OpenAI, bge-m3-embedding-server',
    prefix: '',
    errors: '{"error": {"message", "type", "param", "code"}}',
    routes: {
      'POST /v1/embeddings': 'Dense vectors, as float or base64; the further fields of POST /embeddings, too',
      'GET /v1/models': 'Models',
      'GET /v1/models/{model}': 'One model',
      'POST /v1/sparse-embeddings': 'Sparse vectors',
      'POST /v1/embeddings:both': 'Dense and sparse vectors',
    },
  },
  cohere: {
    title: 'Cohere, Jina, Simple Inference Server',
    prefix: '',
    errors: '{"id", "message", "detail"}',
    routes: { 'POST /v1/rerank': 'Rerank', 'POST /v2/rerank': 'Rerank' },
  },
  tei: {
    title: 'text-embeddings-inference 1.9, auto-batching-proxy',
    prefix: '/tei',
    errors: '{"error", "error_type"}; of its OpenAI paths {"message", "code", "type"}; 401 without a body',
    routes: {
      'POST /embed': 'Dense vectors',
      'POST /embed_all': 'A vector a token: the rows of late interaction, CLS left out',
      'POST /embed_sparse': 'Sparse vectors',
      'POST /rerank': 'Rerank',
      'POST /similarity': 'Cosines',
      'POST /v1/embeddings': 'Dense vectors as OpenAI',
      'POST /embeddings': 'Dense vectors as OpenAI',
      'POST /tokenize': 'Tokens with their places',
      'POST /decode': 'Ids to texts',
      'GET /info': 'Model and limits',
      'GET /health': 'Ready',
      'GET /metrics': 'te_* series',
    },
  },
  'smart-embedder': {
    title: 'Smart-Embedder',
    prefix: '/smart-embedder',
    errors: '{"detail"}, with "retry_after" at 429; a full queue is 503',
    routes: {
      'POST /embeddings': 'Dense, sparse and ColBERT vectors of sentences; also with a slash at the end',
      'POST /rerank': 'Rerank',
      'GET /health': 'Ready',
      'GET /stats': 'Counts',
      'GET /metrics': 'embedding_* and rerank_* series',
    },
  },
  infinity: {
    title: 'infinity 0.0.77',
    prefix: '/infinity',
    errors: '{"error": {"message", "type", "param", "code"}}',
    routes: {
      'POST /embeddings': 'Dense vectors as OpenAI',
      'POST /rerank': 'Rerank',
      'GET /models': 'Models',
      'GET /health': 'Ready',
      'GET /metrics': 'Prometheus metrics',
    },
  },
  'semantic-explorer': {
    title: "Semantic Explorer's inference API",
    prefix: '/semantic-explorer',
    errors: '{"error"}; a full queue is 503 with X-Queue-Depth, X-Queue-Capacity, X-Estimated-Wait-Ms',
    routes: {
      'POST /embed': 'Dense vectors',
      'POST /rerank': 'Rerank',
      'GET /models': 'Models',
      'GET /health/live': 'The process answers',
      'GET /health/ready': 'The model is served',
    },
  },
  'embedding-server': {
    title: 'elijahross/embedding-server',
    prefix: '/embedding-server',
    errors: '{"error", "error_type"}',
    routes: { 'POST /api/v1/embed': 'Dense vectors with usage and timings', 'GET /health': 'Ready' },
  },
} as const satisfies Record<string, Surface>;

/** The paths of a surface that stands under a prefix: what the root answers as well where ROOT_SURFACE names it. */
export function rootPaths(name: string): { prefix: string; routes: ReadonlySet<string> } | undefined {
  const surface = Object.entries<Surface>(SURFACES).find(([known]) => known === name)?.[1];
  if (surface === undefined || surface.prefix === '') return undefined;
  return { prefix: surface.prefix, routes: new Set(Object.keys(surface.routes)) };
}
