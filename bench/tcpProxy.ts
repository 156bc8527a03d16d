import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export type TcpFault =
  /** The bytes come late, in time still. */
  | { kind: 'delay'; ms: number }
  /** A part of the bytes is passed on, then the connection ends in both directions. */
  | { kind: 'cut' }
  /** The same, and the client is told by RST. */
  | { kind: 'reset' }
  /** A part is passed on, the rest and all that follows after a pause, whether or not the sender is there still. */
  | { kind: 'stall'; ms: number }
  /** A part is passed on, and nothing more in this direction for as long as both keep the connection. */
  | { kind: 'freeze' };

/** What the next bytes meet, and how many of them are passed on before. */
export type TcpFaultDraw = (bytes: number) => { fault: TcpFault; passed: number } | undefined;

/** Passes bytes on, whatever is spoken; can make them late, lose them, or cut everybody off. */
export class TcpProxy {
  /** Of each piece of an answer. */
  answerDelayMs = 0;
  readonly #connections = new Set<Socket>();
  readonly #upstream: URL;
  readonly #draw: TcpFaultDraw;
  #dead = false;
  readonly #server = createServer({ allowHalfOpen: true }, (client) => this.#serve(client));

  private constructor(upstream: string, draw: TcpFaultDraw) {
    this.#upstream = new URL(upstream);
    this.#draw = draw;
  }

  static async start(upstream: string, draw: TcpFaultDraw = () => undefined): Promise<TcpProxy> {
    const proxy = new TcpProxy(upstream, draw);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  set dead(dead: boolean) {
    this.#dead = dead;
    if (dead) this.#cut();
  }

  async close(): Promise<void> {
    this.#cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #cut(): void {
    for (const socket of this.#connections) socket.destroy();
  }

  #serve(client: Socket): void {
    if (this.#dead) {
      client.destroy();
      return;
    }
    const { port, hostname } = this.#upstream;
    const server = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
    for (const socket of [client, server]) {
      this.#connections.add(socket);
      socket.setNoDelay(true);
      // Met again by whoever reads from it or writes to it.
      socket.on('error', () => undefined);
      socket.on('close', () => this.#connections.delete(socket));
    }
    const both = { client, server };
    void this.#carry(client, server, both);
    void this.#carry(server, client, both);
  }

  async #carry(
    from: Socket,
    to: Socket,
    { client, server }: { client: Socket; server: Socket },
  ): Promise<void> {
    let frozen = false;
    try {
      for await (const bytes of from as AsyncIterable<Buffer>) {
        if (frozen) continue;
        if (from === server && this.answerDelayMs > 0) await sleep(this.answerDelayMs);
        const { fault, passed } = this.#draw(bytes.length) ?? { passed: bytes.length };
        if (fault?.kind === 'delay') await sleep(fault.ms);
        await send(to, bytes.subarray(0, passed));
        if (fault?.kind === 'cut' || fault?.kind === 'reset') {
          if (fault.kind === 'reset') client.resetAndDestroy();
          else client.destroy();
          server.destroy();
          return;
        }
        frozen = fault?.kind === 'freeze';
        if (fault?.kind === 'stall') await sleep(fault.ms);
        if (!frozen) await send(to, bytes.subarray(passed));
      }
      if (frozen) to.destroy();
      else to.end();
    } catch {
      to.destroy();
    }
  }
}

async function send(to: Socket, bytes: Buffer): Promise<void> {
  if (bytes.length === 0) return;
  await new Promise<void>((resolve, reject) => {
    to.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}
