import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface FakeHubOptions {
  /** Content by path; `lfs` files state a SHA-256, others git's SHA-1. */
  files: Readonly<Record<string, { content: Buffer; lfs?: boolean }>>;
  repo?: string;
  /** Requests without this token get 401, or `refusal`. */
  token?: string;
  refusal?: number;
  /** Stands before every path, as on a mirror that is not at the root. */
  prefix?: string;
}

/** A loopback server that answers what the hub's API answers for one repository. */
export class FakeHub {
  readonly repo: string;
  readonly commit = 'c0ffee'.padEnd(40, '0');
  /** `GET path` of every request, with its Range. */
  readonly requests: string[] = [];
  /** Breaks the connection of the next download of a path after so many bytes of its body. */
  readonly cuts = new Map<string, number>();
  /** Sends other bytes than announced, of the same length. */
  readonly corrupted = new Set<string>();
  /** Sizes stated in place of the true ones. */
  readonly statedBytes = new Map<string, number>();
  readonly failures = new Map<string, number>();
  /** Answers to come of 429 (with `Retry-After: 0`), whatever is asked. */
  tooMany = 0;
  readonly #options: FakeHubOptions;
  readonly #server = createServer((request, response) => this.#answer(request, response));

  static async start(options: FakeHubOptions): Promise<FakeHub> {
    const hub = new FakeHub(options);
    await new Promise<void>((resolve) => hub.#server.listen(0, '127.0.0.1', resolve));
    return hub;
  }

  private constructor(options: FakeHubOptions) {
    this.#options = options;
    this.repo = options.repo ?? 'tiny/model';
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}${this.#options.prefix ?? ''}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(request: IncomingMessage, response: ServerResponse): ServerResponse {
    const { prefix: root = '', refusal = 401 } = this.#options;
    const asked = decodeURIComponent(new URL(request.url ?? '/', this.url).pathname);
    const path = asked.startsWith(root) ? asked.slice(root.length) : `outside ${asked}`;
    this.requests.push([path, request.headers.range].filter(Boolean).join(' '));
    if (this.tooMany > 0) {
      this.tooMany--;
      response.setHeader('retry-after', '0');
      return json(response, 429, { error: 'Too many requests' });
    }
    const { token } = this.#options;
    if (token !== undefined && request.headers.authorization !== `Bearer ${token}`)
      return json(response, refusal, { error: 'Invalid username or password.' });
    if (path === `/api/models/${this.repo}/revision/main`)
      return json(response, 200, { _id: '1', id: this.repo, sha: this.commit, lastModified: '2026-01-01' });
    if (path === `/api/models/${this.repo}/tree/${this.commit}`) return json(response, 200, this.#tree());
    const prefix = `/${this.repo}/resolve/${this.commit}/`;
    const file = path.startsWith(prefix) ? this.#options.files[path.slice(prefix.length)] : undefined;
    if (file === undefined) return json(response, 404, { error: 'Entry not found' });
    return this.#send(path.slice(prefix.length), file.content, request, response);
  }

  #tree(): object[] {
    return Object.entries(this.#options.files).map(([path, { content, lfs }]) => {
      const oid = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
      const sha256 = createHash('sha256').update(content).digest('hex');
      return {
        type: 'file',
        path,
        size: content.length,
        oid: lfs === true ? '0'.repeat(40) : oid,
        ...(lfs === true && {
          lfs: { oid: sha256, size: this.statedBytes.get(path) ?? content.length, pointerSize: 130 },
        }),
      };
    });
  }

  #send(path: string, whole: Buffer, { headers }: IncomingMessage, response: ServerResponse): ServerResponse {
    const failures = this.failures.get(path) ?? 0;
    if (failures > 0) {
      this.failures.set(path, failures - 1);
      return json(response, 503, { error: 'busy' });
    }
    const content = this.corrupted.has(path) ? Buffer.alloc(whole.length, 0x2a) : whole;
    const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0);
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': content.length - from });
    const cut = this.cuts.get(path);
    if (cut === undefined) return response.end(content.subarray(from));
    this.cuts.delete(path);
    response.write(content.subarray(from, from + cut), () => setTimeout(() => response.destroy(), 20));
    return response;
  }
}

function json(response: ServerResponse, status: number, value: object): ServerResponse {
  response.writeHead(status, { 'content-type': 'application/json' });
  return response.end(JSON.stringify(value));
}
