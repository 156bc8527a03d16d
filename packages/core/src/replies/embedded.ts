import { toTrivecError } from '../errors.ts';
import type { Consumer } from '../queue/workQueue.ts';
import type { InteractiveLane, RequestOptions, TaskContext } from './interactiveLane.ts';
import { laneErrors, timerMs } from './laneErrors.ts';

type Handler = (task: unknown, context: TaskContext) => Promise<unknown>;

interface Call {
  task: unknown;
  deadlineAtMs: number;
  requestedAtMs: number;
  /** Aborts the handler's signal once it runs. */
  controller: AbortController;
  resolve(reply: unknown): void;
  reject(error: unknown): void;
}

interface Server {
  handler: Handler;
  concurrency: number;
  running: Map<Call, Promise<void>>;
}

/** What waits for a fingerprint, oldest first, and who serves it. */
interface Lane {
  waiting: Set<Call>;
  servers: Set<Server>;
}

/** The lane of a backend in one process: handed over by reference, without a queue's round trip. */
export class EmbeddedLane implements InteractiveLane {
  readonly #lanes = new Map<string, Lane>();
  #closing: Promise<void> | undefined;

  request<Task, Reply>(fingerprint: string, task: Task, options: RequestOptions): Promise<Reply> {
    const { deadlineAtMs, signal } = options;
    const lane = this.#lane(fingerprint);
    if (this.#closing) return Promise.reject(laneErrors.closing());
    if (lane.servers.size === 0) return Promise.reject(laneErrors.noWorker());
    if (signal?.aborted) return Promise.reject(laneErrors.cancelled());
    if (deadlineAtMs <= Date.now()) return Promise.reject(laneErrors.deadline());
    return new Promise<Reply>((resolve, reject) => {
      const controller = new AbortController();
      const settle = (action: () => void) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        lane.waiting.delete(call);
        action();
      };
      const call: Call = {
        task,
        deadlineAtMs,
        requestedAtMs: Date.now(),
        controller,
        resolve: (reply) => settle(() => resolve(reply as Reply)),
        reject: (error) => settle(() => reject(error)),
      };
      const give = (error: Error) => {
        call.reject(error);
        controller.abort(error);
      };
      const onAbort = () => give(laneErrors.cancelled());
      const timer = setTimeout(() => give(laneErrors.deadline()), timerMs(deadlineAtMs));
      signal?.addEventListener('abort', onAbort, { once: true });
      lane.waiting.add(call);
      pump(lane);
    });
  }

  async serve<Task, Reply>(
    fingerprint: string,
    handler: (task: Task, context: TaskContext) => Promise<Reply>,
    { concurrency }: { concurrency: number },
  ): Promise<Consumer> {
    if (this.#closing) throw laneErrors.closing();
    const lane = this.#lane(fingerprint);
    const server: Server = { handler: handler as Handler, concurrency, running: new Map() };
    lane.servers.add(server);
    pump(lane);
    return { close: () => stop(lane, server) };
  }

  async depth(fingerprint: string): Promise<number> {
    const lane = this.#lane(fingerprint);
    let depth = lane.waiting.size;
    for (const server of lane.servers) depth += server.running.size;
    return depth;
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      for (const lane of this.#lanes.values()) {
        for (const call of lane.waiting) call.reject(laneErrors.closing());
        await Promise.all([...lane.servers].map((server) => stop(lane, server)));
      }
    })();
    return this.#closing;
  }

  #lane(fingerprint: string): Lane {
    let lane = this.#lanes.get(fingerprint);
    if (!lane) {
      lane = { waiting: new Set(), servers: new Set() };
      this.#lanes.set(fingerprint, lane);
    }
    return lane;
  }
}

/** Hands what waits to whoever has room, the least busy first. */
function pump(lane: Lane): void {
  for (const call of lane.waiting) {
    const server = leastBusy(lane.servers);
    if (!server) return;
    lane.waiting.delete(call);
    const run = runCall(server, call).finally(() => {
      server.running.delete(call);
      pump(lane);
    });
    server.running.set(call, run);
  }
}

function leastBusy(servers: ReadonlySet<Server>): Server | undefined {
  let best: Server | undefined;
  for (const server of servers) {
    if (server.running.size >= server.concurrency) continue;
    if (!best || server.running.size < best.running.size) best = server;
  }
  return best;
}

async function runCall(server: Server, call: Call): Promise<void> {
  try {
    const reply = await server.handler(call.task, {
      deadlineAtMs: call.deadlineAtMs,
      queuedMs: Date.now() - call.requestedAtMs,
      signal: call.controller.signal,
    });
    call.resolve(reply);
  } catch (error) {
    call.reject(toTrivecError(error));
  }
}

/** What runs may end; what waits and has no other server is refused. */
async function stop(lane: Lane, server: Server): Promise<void> {
  lane.servers.delete(server);
  for (const call of server.running.keys()) call.controller.abort(laneErrors.closing());
  if (lane.servers.size === 0) {
    for (const call of lane.waiting) call.reject(laneErrors.noWorker());
  }
  await Promise.all(server.running.values());
}
