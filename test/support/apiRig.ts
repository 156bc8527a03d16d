import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { buildApi } from '@trivec/api/app';
import type { ApiDeps } from '@trivec/api/deps';
import { loadConfig } from '@trivec/core/config';
import { executeTask } from '@trivec/core/engine/executeTask';
import type { EngineTask } from '@trivec/core/engine/tasks';
import { TrivecError } from '@trivec/core/errors';
import type { WorkerAnnouncement } from '@trivec/core/registry/workerRegistry';
import type { RequestOptions } from '@trivec/core/replies/interactiveLane';
import { createMetrics } from '@trivec/core/telemetry/metrics';
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify';
import { Check } from 'typebox/value';
import { jobRig } from './jobRig.ts';

export interface ApiRigOptions {
  env?: Record<string, string>;
  /** Default: one worker of the configured model. */
  workers?: WorkerAnnouncement[];
  deps?: Partial<ApiDeps>;
}

/** The API over memory and a fake engine: nothing listens. Closed with the test. */
export async function apiRig(t: TestContext, options: ApiRigOptions = {}) {
  const config = loadConfig({ MODEL: 'fake', ...options.env });
  const jobs = jobRig({
    maxLineBytes: config.maxLineBytes,
    maxJobBytes: config.maxJobBytes,
    maxJobDocuments: config.maxJobDocuments,
  });
  const { engine } = jobs;
  const state = {
    workers: options.workers ?? [announcement(engine.model)],
    requests: [] as RequestOptions[],
  };
  const app = await buildApi({
    config,
    logger: jobs.logger,
    storage: jobs.storage,
    jobs: jobs.service,
    metrics: createMetrics(),
    registryCacheMs: 0,
    backend: {
      kind: 'embedded',
      ping: async () => {},
      registry: {
        list: async () => [...state.workers],
        announce: unused,
        listStarting: unused,
        announceStart: unused,
        close: async () => {},
      },
      interactive: {
        async request<Task, Reply>(fingerprint: string, task: Task, request: RequestOptions): Promise<Reply> {
          state.requests.push(request);
          if (fingerprint !== engine.model.fingerprint)
            throw new TrivecError('model_unavailable', 'no worker');
          const signal = request.signal ?? new AbortController().signal;
          const context = { deadlineAtMs: request.deadlineAtMs, queuedMs: 0, signal };
          return (await executeTask(engine, task as EngineTask, context)) as Reply;
        },
        serve: unused,
        depth: async () => 0,
        close: async () => {},
      },
    },
    ...options.deps,
  });
  t.after(() => app.close());
  await app.ready();
  const check = responseChecker(app);
  async function request(call: InjectOptions): Promise<LightMyRequestResponse> {
    const response = await app.inject(call);
    check(call, response);
    return response;
  }
  return {
    app,
    config,
    jobs,
    engine,
    state,
    /** Any call; its answer is checked against the OpenAPI document. */
    request,
    get: (url: string, headers: Record<string, string> = {}) => request({ method: 'GET', url, headers }),
    post: (url: string, body: unknown, headers: Record<string, string> = {}) =>
      request({ method: 'POST', url, payload: body as object, headers }),
    postLines: (url: string, body: string | Buffer, headers: Record<string, string> = {}) =>
      request({
        method: 'POST',
        url,
        payload: body,
        headers: { 'content-type': 'application/x-ndjson', ...headers },
      }),
  };
}

export function announcement(
  model: WorkerAnnouncement['model'],
  more: Partial<WorkerAnnouncement> = {},
): WorkerAnnouncement {
  return {
    workerId: 'w1',
    model,
    device: 'cpu',
    maxBatchTokens: 64,
    calibration: { from: 'cached' as const, cost: { fixedMs: 1, msPerToken: 0.5, msPerPair: 0 } },
    tokensPerSecond: 0,
    startedAtMs: 1000,
    ...more,
  };
}

/** Asserts the shape of every error, and what it says. */
export function assertError(
  response: LightMyRequestResponse,
  status: number,
  code: string,
  message: RegExp,
  param?: string | null,
): void {
  assert.equal(response.statusCode, status, response.body);
  const { error } = response.json();
  assert.deepEqual(Object.keys(error), ['code', 'message', 'param', 'requestId']);
  assert.equal(error.code, code);
  assert.match(error.message, message);
  if (param !== undefined) assert.equal(error.param, param);
  assert.equal(error.requestId, response.headers['x-request-id']);
}

function unused(): never {
  throw new Error('the API does not do this');
}

type Operation = { responses: Record<string, { content?: Record<string, { schema: object }> }> };

/** Every answer of a documented path must be one that the document knows: status, type and body. */
function responseChecker(
  app: FastifyInstance,
): (call: InjectOptions, response: LightMyRequestResponse) => void {
  const document = app.swagger() as unknown as {
    paths: Record<string, Record<string, Operation>>;
    components: object;
  };
  const operations = Object.entries(document.paths).map(([path, methods]) => ({
    matches: new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}$`),
    methods,
  }));
  return (call, response) => {
    // `%2e%2e` is a step up, as it is for every client.
    const path = new URL(String(call.url), 'http://localhost').pathname;
    const operation = operations.find(({ matches }) => matches.test(path))?.methods[
      String(call.method ?? 'GET').toLowerCase()
    ];
    assert.match(String(response.headers['x-request-id']), /^[\w.:-]+$/);
    if (operation === undefined) return;
    const documented = operation.responses[response.statusCode];
    assert.ok(
      documented,
      `${path} answered ${response.statusCode}, which is not documented: ${response.body}`,
    );
    if (documented.content === undefined) {
      assert.equal(response.body, '');
      return;
    }
    const type = String(response.headers['content-type']).split(';', 1)[0] ?? '';
    const schema = documented.content[type]?.schema;
    assert.ok(schema, `${path} ${response.statusCode} answered ${type}, which is not documented`);
    const inlined = inline(schema, document.components as Record<string, Record<string, object>>);
    const bodies =
      type === 'application/json'
        ? [response.json()]
        : type === 'application/x-ndjson'
          ? response.body
              .split('\n')
              .filter((line) => line !== '')
              .map((line) => JSON.parse(line))
          : [response.body];
    for (const body of bodies)
      assert.ok(Check(inlined, body), `${path} ${response.statusCode}: ${response.body.slice(0, 500)}`);
  };
}

function inline(schema: unknown, components: Record<string, Record<string, object>>): object {
  return JSON.parse(JSON.stringify(schema), (_key, value) => {
    const name = /^#\/components\/schemas\/(.+)$/.exec(value?.$ref)?.[1];
    return name === undefined ? value : inline(components.schemas?.[name], components);
  });
}
