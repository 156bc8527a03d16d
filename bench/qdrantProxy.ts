import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Passes bytes on to a Qdrant; can make its answers late, or cut everybody off. */
export class QdrantProxy {
  delayMs = 0;
  readonly #sockets = new Set<Socket>();
  readonly #upstream: URL;
  #dead = false;
  readonly #server = createServer((client) => this.#serve(client));

  private constructor(upstream: string) {
    this.#upstream = new URL(upstream);
  }

  static async start(upstream: string): Promise<QdrantProxy> {
    const proxy = new QdrantProxy(upstream);
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
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(client: Socket): void {
    if (this.#dead) {
      client.destroy();
      return;
    }
    const server = connect(Number(this.#upstream.port), this.#upstream.hostname);
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    client.pipe(server);
    server.on('data', async (bytes) => {
      server.pause();
      if (this.delayMs > 0) await sleep(this.delayMs);
      client.write(bytes);
      server.resume();
    });
  }
}
