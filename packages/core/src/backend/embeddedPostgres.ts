import { EventEmitter, once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { TrivecError } from '../errors.ts';

/** The major version of the Postgres inside `@electric-sql/pglite`, as PG_VERSION in a data folder says it. */
export const POSTGRES_MAJOR = '18';
const CLOSE_TIMEOUT_MS = 10_000;

/** Without `text`: close the database. */
export interface ThreadRequest {
  id: number;
  text?: string;
  params?: readonly unknown[];
}

export type ThreadReply =
  | { kind: 'ready' }
  | { kind: 'notification'; channel: string; payload: string }
  | { kind: 'result'; id: number; rows: unknown[]; rowCount: number }
  | { kind: 'error'; id: number; message: string; code: string | undefined; detail: string | undefined };

export interface QueryResult<Row> {
  rows: Row[];
  rowCount: number;
}

/** What BullMQ's Postgres backend asks of a checked-out client. All clients are one session. */
export interface PoolClient extends EventEmitter {
  query<Row>(text: string, params?: readonly unknown[]): Promise<QueryResult<Row>>;
  release(): void;
}

/**
 * One Postgres in this process, kept in a folder, in a thread of its own. It has the shape of a `pg.Pool`
 * so that BullMQ accepts it. One session for all: a caller must not leave a transaction open across awaits.
 *
 * It survives kill -9 of the process, not the loss of power: PGlite never fsyncs.
 */
export class EmbeddedPostgres extends EventEmitter {
  /** Says to BullMQ that a dropped LISTEN is noticed; otherwise its workers would poll. */
  readonly options = { keepAlive: true };
  readonly #thread: Worker;
  readonly #pending = new Map<
    number,
    { resolve: (result: QueryResult<never>) => void; reject: (error: Error) => void }
  >();
  readonly #clients = new Set<PoolClient>();
  readonly #exited: Promise<void>;
  #nextId = 1;
  #closing: Promise<void> | undefined;
  #failure: TrivecError | undefined;

  private constructor(thread: Worker) {
    super();
    this.setMaxListeners(0);
    this.#thread = thread;
    this.#exited = new Promise((resolve) => thread.once('exit', () => resolve()));
    thread.on('message', (message: ThreadReply) => this.#receive(message));
  }

  /** Opens or creates the database. Throws `invalid_config` where the folder can't be opened, or is not trivec's. */
  static async open(folder: string): Promise<EmbeddedPostgres> {
    const [makingMarker, readyMarker] = [`${folder}.making`, `${folder}.ready`];
    prepareFolder(folder, makingMarker, readyMarker);
    // What making it takes is resident until the thread ends: some 250 MB.
    if (!existsSync(readyMarker)) await endOf(await startThread(folder));
    const thread = await startThread(folder);
    const database = new EmbeddedPostgres(thread);
    thread.removeAllListeners('error').on('error', (error) => database.#fail(error));
    thread.once('exit', () => database.#fail(new Error('its thread ended')));
    writeFileSync(readyMarker, `${POSTGRES_MAJOR}\n`, { mode: 0o600 });
    rmSync(makingMarker, { force: true });
    return database;
  }

  query<Row = Record<string, unknown>>(text: string, params?: readonly unknown[]): Promise<QueryResult<Row>> {
    if (this.#closing) return Promise.reject(unavailable('it is closed'));
    return this.#send<Row>(params === undefined ? { text } : { text, params });
  }

  /** A client of the pool. There is one session, so this is a view of it that gets its notifications. */
  async connect(): Promise<PoolClient> {
    const emitter = new EventEmitter();
    emitter.setMaxListeners(0);
    const client: PoolClient = Object.assign(emitter, {
      query: <Row>(text: string, params?: readonly unknown[]) => this.query<Row>(text, params),
      release: () => void this.#clients.delete(client),
    });
    this.#clients.add(client);
    return client;
  }

  /** Called by BullMQ for pools it owns; this one belongs to the backend, which calls `close`. */
  async end(): Promise<void> {}

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (!this.#failure) {
      const timer = setTimeout(() => void this.#thread.terminate(), CLOSE_TIMEOUT_MS);
      await this.#send({}).catch(() => undefined);
      await this.#exited;
      clearTimeout(timer);
    }
    this.#clients.clear();
  }

  #send<Row>(request: Omit<ThreadRequest, 'id'>): Promise<QueryResult<Row>> {
    if (this.#failure) return Promise.reject(this.#failure);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as (result: QueryResult<never>) => void, reject });
      this.#thread.postMessage({ id, ...request } satisfies ThreadRequest);
    });
  }

  #receive(message: ThreadReply): void {
    if (message.kind === 'ready') return;
    if (message.kind === 'notification') {
      for (const client of this.#clients) client.emit('notification', message);
      return;
    }
    const waiting = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    if (message.kind === 'result') {
      waiting?.resolve({ rows: message.rows as never[], rowCount: message.rowCount });
    } else {
      const { code, detail } = message;
      waiting?.reject(Object.assign(new Error(message.message), { code, detail }));
    }
  }

  /**
   * The thread is gone. What waits is told; unless that was a close, the process can do nothing useful any
   * more, and a crash lets the supervisor start it afresh.
   */
  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = unavailable(error.message);
    for (const { reject } of this.#pending.values()) reject(this.#failure);
    this.#pending.clear();
    if (!this.#closing) {
      setImmediate(() => {
        throw this.#failure;
      });
    }
  }
}

/** Resolves when the database is open. Throws `invalid_config`. */
async function startThread(folder: string): Promise<Worker> {
  const thread = new Worker(new URL('./embeddedPostgresThread.ts', import.meta.url), {
    name: 'postgres',
    workerData: { folder },
  });
  try {
    await new Promise<void>((resolve, reject) => {
      thread.once('message', () => resolve());
      thread.once('error', reject);
      thread.once('exit', () => reject(new Error('its thread ended')));
    });
  } catch (error) {
    await thread.terminate();
    throw new TrivecError(
      'invalid_config',
      `DATA_DIR: the database in ${folder} can't be opened: ${(error as Error).message}`,
      { param: 'DATA_DIR', cause: error },
    );
  }
  return thread;
}

/** Closes the database and waits for its thread's end. */
async function endOf(thread: Worker): Promise<void> {
  const exited = once(thread, 'exit');
  thread.postMessage({ id: 0 } satisfies ThreadRequest);
  await exited;
}

/**
 * A folder that is marked as being made is of a process that died over it: nothing was acknowledged from it, and Postgres
 * would refuse the half of it. One without a mark is somebody else's, and stays. One of another Postgres fails with no
 * reason given, so it is named here.
 */
function prepareFolder(folder: string, makingMarker: string, readyMarker: string): void {
  if (!existsSync(readyMarker)) {
    if (existsSync(makingMarker)) rmSync(folder, { recursive: true, force: true });
    else if (existsSync(folder) && !isEmptyFolder(folder))
      throw new TrivecError(
        'invalid_config',
        `DATA_DIR: ${folder} is no database that trivec has made, and is left alone. Choose another DATA_DIR.`,
        { param: 'DATA_DIR' },
      );
    writeFileSync(makingMarker, '', { mode: 0o600 });
  }
  const versionFile = join(folder, 'PG_VERSION');
  if (!existsSync(versionFile)) return;
  const found = readFileSync(versionFile, 'utf8').trim();
  if (found !== POSTGRES_MAJOR) {
    throw new TrivecError(
      'invalid_config',
      `DATA_DIR: the database in ${folder} was made by Postgres ${found}, this trivec brings ` +
        `Postgres ${POSTGRES_MAJOR}. Use the trivec that made it, or another DATA_DIR.`,
      { param: 'DATA_DIR' },
    );
  }
}

function isEmptyFolder(path: string): boolean {
  return statSync(path).isDirectory() && readdirSync(path).length === 0;
}

function unavailable(reason: string): TrivecError {
  return new TrivecError('backend_unavailable', `The embedded database does not answer: ${reason}.`, {
    retryAfterSeconds: 5,
  });
}
