import { once } from 'node:events';
import { createServer, request as forward, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TcpFault, TcpFaultDraw } from '../tcpProxy.ts';
import { seededRandom } from './plan.ts';

/** Of a thousand requests, how many meet which fault. */
export const FAULTS = {
  /** 429 with Retry-After. */
  tooMany: 20,
  /** 503. */
  unavailable: 40,
  /** The connection is cut before anything is done. */
  reset: 20,
  /** All of it is done, and the connection is cut. */
  lostAnswer: 30,
  /** It arrives when its sender has given it up. */
  late: 5,
} as const;
export type Fault = keyof typeof FAULTS;

/** Of a thousand pieces of bytes in either direction, how many meet which fault of the connection. */
export const TCP_FAULTS = { delay: 20, cut: 5, reset: 5, stall: 2, freeze: 2 } as const satisfies Record<
  TcpFault['kind'],
  number
>;

/** What the next request, or piece of bytes, meets; undefined for most. */
export function nextFault<F extends string>(
  random: () => number,
  shares: Readonly<Record<F, number>>,
): F | undefined {
  let rest = random() * 1000;
  for (const [fault, share] of Object.entries(shares) as [F, number][]) {
    rest -= share;
    if (rest < 0) return fault;
  }
  return undefined;
}

/** A draw for a TcpProxy: a connection breaks after any number of bytes, none and all among them. */
export function tcpFaults(
  random: () => number,
  { lateMs, onFault }: { lateMs: number; onFault: (fault: TcpFault['kind']) => void },
): TcpFaultDraw {
  return (bytes) => {
    const kind = nextFault(random, TCP_FAULTS);
    if (kind === undefined) return undefined;
    onFault(kind);
    const passed = Math.floor(random() * (bytes + 1));
    switch (kind) {
      case 'delay':
        return { fault: { kind, ms: random() * (lateMs / 2) }, passed };
      case 'stall':
        return { fault: { kind, ms: lateMs }, passed };
      default:
        return { fault: { kind }, passed };
    }
  };
}

interface FaultyProxyOptions {
  seed: number;
  /** Longer than the client waits. */
  lateMs: number;
  onFault: (fault: Fault) => void;
}

/** Stands between trivec and Qdrant, on one port for the whole run; while `armed` it loses and refuses requests. */
export class FaultyProxy {
  armed = false;
  readonly #onFault: (fault: Fault) => void;
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  readonly #upstream: string;
  readonly #lateMs: number;
  readonly #random: () => number;

  private constructor(upstream: string, options: FaultyProxyOptions) {
    this.#upstream = upstream;
    this.#lateMs = options.lateMs;
    this.#onFault = options.onFault;
    this.#random = seededRandom(options.seed);
  }

  static async start(upstream: string, options: FaultyProxyOptions): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(upstream, options);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const body = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>));
      const fault = this.armed ? nextFault(this.#random, FAULTS) : undefined;
      if (fault !== undefined) this.#onFault(fault);
      if (fault === 'tooMany') return refuse(response, 429, { 'retry-after': '1' });
      if (fault === 'unavailable') return refuse(response, 503, {});
      if (fault === 'reset') return void request.socket.destroy();
      if (fault === 'late') await sleep(this.#lateMs);
      await this.#pass(request, response, body, fault === 'lostAnswer');
    } catch {
      // Qdrant is dead, or the sender has left: nobody gets an answer.
      request.socket.destroy();
    }
  }

  async #pass(request: IncomingMessage, response: ServerResponse, body: Buffer, lost: boolean) {
    const { method, headers, url = '/' } = request;
    const { 'transfer-encoding': _, 'accept-encoding': __, ...passed } = headers;
    const outgoing = forward(new URL(url, this.#upstream), {
      ...(method !== undefined && { method }),
      headers: { ...passed, 'content-length': body.length },
      agent: false,
    });
    outgoing.end(body);
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
    const text = Buffer.concat(await Array.fromAsync(answer as AsyncIterable<Buffer>));
    if (lost) return void request.socket.destroy();
    response.writeHead(answer.statusCode ?? 502, {
      'content-type': answer.headers['content-type'] ?? 'application/json',
    });
    response.end(text);
  }
}

function refuse(response: ServerResponse, status: number, headers: Record<string, string>): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify({ status: { error: `Injected ${status}` }, time: 0 }));
}
