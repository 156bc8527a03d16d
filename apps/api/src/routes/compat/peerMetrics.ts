import type { FastifyReply, FastifyRequest } from 'fastify';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What a peer's users scrape, under the names they know, of the requests to that surface. */
export interface TeiMetrics {
  registry: Registry;
  queueSize: Gauge;
  observe(request: FastifyRequest, reply: FastifyReply): void;
}

export function teiMetrics(): TeiMetrics {
  const registry = new Registry();
  const registers = [registry];
  const labelNames = ['method'];
  const count = new Counter({ name: 'te_request_count', help: 'Requests.', labelNames, registers });
  const success = new Counter({ name: 'te_request_success', help: 'Answered ones.', labelNames, registers });
  const failure = new Counter({
    name: 'te_request_failure',
    help: 'Refused ones.',
    labelNames: ['err'],
    registers,
  });
  const duration = new Histogram({ name: 'te_request_duration', help: 'Seconds.', registers });
  const queueSize = new Gauge({ name: 'te_queue_size', help: 'Requests that wait or run.', registers });
  return {
    registry,
    queueSize,
    observe(request, reply) {
      if (request.method !== 'POST') return;
      const inputs = (request.body as { inputs?: unknown } | null | undefined)?.inputs;
      const method = Array.isArray(inputs) ? 'batch' : 'single';
      count.inc({ method });
      if (reply.statusCode < 400) success.inc({ method });
      else failure.inc({ err: String(reply.statusCode) });
      duration.observe(reply.elapsedTime / 1000);
    },
  };
}

/** The `embedding_*` and `rerank_*` series of Smart-Embedder. */
export function smartEmbedderMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const counter = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name, help, labelNames, registers });
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name, help, labelNames, registers });
  const histogram = (name: string, help: string) => new Histogram({ name, help, registers });
  const lane = (prefix: 'embedding' | 'rerank') => ({
    requests: counter(`${prefix}_requests_total`, 'Requests.'),
    rejected: counter(`${prefix}_requests_rejected_total`, 'Requests that were refused.', ['reason']),
    seconds: histogram(`${prefix}_request_duration_seconds`, 'From request to answer.'),
    active: gauge(`${prefix}_active_requests`, 'Requests in flight.'),
  });
  const metrics = {
    registry,
    embedding: lane('embedding'),
    rerank: lane('rerank'),
    sentences: counter('embedding_sentences_processed_total', 'Sentences embedded.'),
    pairs: counter('rerank_pairs_processed_total', 'Pairs scored.'),
    batchSize: histogram('embedding_batch_size', 'Sentences of a request.'),
    inferenceSeconds: histogram('embedding_gpu_inference_duration_seconds', 'Device time of a request.'),
    rerankInferenceSeconds: histogram('rerank_inference_duration_seconds', 'Device time of a request.'),
    queueSize: gauge('embedding_queue_size', 'Requests that wait or run.'),
    serverInfo: gauge('embedding_server_info', 'Always 1.', ['version', 'model']),
  };
  // Users' alerts read these two series also while they are 0.
  for (const { rejected } of [metrics.embedding, metrics.rerank])
    for (const reason of ['rate_limit', 'backpressure']) rejected.inc({ reason }, 0);
  return metrics;
}
