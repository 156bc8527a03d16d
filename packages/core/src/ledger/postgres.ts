import type { EmbeddedPostgres } from '../backend/embeddedPostgres.ts';
import type { JobRecord, ShardRecord } from '../jobs/records.ts';
import { postgresError } from '../queue/bullmqDriver.ts';
import { decodeCursor, encodeCursor, isOpen } from './jobCursor.ts';
import type { LedgerStore } from './ledgerStore.ts';
import { NoteFiles } from './noteFiles.ts';

const CHUNK = 1_000;

/**
 * Run at every start; each statement leaves what is there as it is. Records are JSON in text, not jsonb,
 * which refuses the `\\u0000` that a client's id or metadata may hold.
 */
const SCHEMA = `
CREATE SCHEMA IF NOT EXISTS trivec;
CREATE TABLE IF NOT EXISTS trivec.jobs (
  id text PRIMARY KEY,
  version integer NOT NULL,
  owner text NOT NULL,
  is_open boolean NOT NULL,
  created_at_ms bigint NOT NULL,
  record text NOT NULL
);
ALTER TABLE trivec.jobs ADD COLUMN IF NOT EXISTS idempotency text;
CREATE UNIQUE INDEX IF NOT EXISTS jobs_idempotency ON trivec.jobs (idempotency);
CREATE INDEX IF NOT EXISTS jobs_newest ON trivec.jobs (created_at_ms DESC, id COLLATE "C" DESC);
CREATE INDEX IF NOT EXISTS jobs_owner_newest ON trivec.jobs (owner, created_at_ms DESC, id COLLATE "C" DESC);
CREATE INDEX IF NOT EXISTS jobs_open ON trivec.jobs (id) WHERE is_open;
CREATE TABLE IF NOT EXISTS trivec.shards (
  job_id text NOT NULL,
  ordinal integer NOT NULL,
  record text NOT NULL,
  PRIMARY KEY (job_id, ordinal)
);`;

const WRITE_SHARDS = `
INSERT INTO trivec.shards (job_id, ordinal, record)
SELECT $1, shard.ordinal, shard.record FROM unnest($2::integer[], $3::text[]) AS shard (ordinal, record)
ON CONFLICT (job_id, ordinal) DO UPDATE SET record = EXCLUDED.record`;

/** One statement, because the session is shared: a transaction could take in what others run meanwhile. */
const COMPARE_AND_SWAP = `
WITH swapped AS (
  UPDATE trivec.jobs
     SET version = version + 1, owner = $3, is_open = $4, record = $5
   WHERE id = $1 AND version = $2
  RETURNING id
), written AS (
  INSERT INTO trivec.shards (job_id, ordinal, record)
  SELECT swapped.id, shard.ordinal, shard.record
    FROM swapped, unnest($6::integer[], $7::text[]) AS shard (ordinal, record)
  ON CONFLICT (job_id, ordinal) DO UPDATE SET record = EXCLUDED.record
)
SELECT id FROM swapped`;

const LIST = `
SELECT record FROM trivec.jobs
 WHERE ($1::text IS NULL OR owner = $1)
   AND ($2::bigint IS NULL OR (created_at_ms, id COLLATE "C") < ($2::bigint, $3::text COLLATE "C"))
 ORDER BY created_at_ms DESC, id COLLATE "C" DESC
 LIMIT $4`;

/** The ledger in the embedded Postgres, schema `trivec`; its notes are files. */
export class PostgresLedger implements LedgerStore {
  readonly #database: EmbeddedPostgres;
  readonly #notes: NoteFiles;

  private constructor(database: EmbeddedPostgres, notes: NoteFiles) {
    this.#database = database;
    this.#notes = notes;
  }

  static async open(database: EmbeddedPostgres, notesFolder: string): Promise<PostgresLedger> {
    await database.query(SCHEMA);
    const exists = async (jobId: string) =>
      (await database.query('SELECT 1 FROM trivec.jobs WHERE id = $1', [jobId])).rowCount > 0;
    return new PostgresLedger(database, await NoteFiles.open(notesFolder, exists));
  }

  async putShards(jobId: string, shards: readonly ShardRecord[]): Promise<void> {
    for (let start = 0; start < shards.length; start += CHUNK) {
      await this.#query(WRITE_SHARDS, [jobId, ...shardColumns(shards.slice(start, start + CHUNK))]);
    }
  }

  async commitJob(job: JobRecord): Promise<string> {
    const digest = job.idempotency?.digest ?? null;
    for (;;) {
      await this.#query(
        `INSERT INTO trivec.jobs (id, version, owner, is_open, created_at_ms, record, idempotency)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
        [job.id, job.version, job.owner, isOpen(job), job.createdAtMs, JSON.stringify(job), digest],
      );
      const [holder] = await this.#query<{ id: string }>(
        'SELECT id FROM trivec.jobs WHERE id = $1 OR idempotency = $2',
        [job.id, digest],
      );
      // none: the holder was deleted in between, and the key is free again
      if (holder) return holder.id;
    }
  }

  async readKeyedJob(digest: string): Promise<JobRecord | undefined> {
    const rows = await this.#query<{ record: string }>(
      'SELECT record FROM trivec.jobs WHERE idempotency = $1',
      [digest],
    );
    return rows[0] && JSON.parse(rows[0].record);
  }

  async readJob(jobId: string): Promise<JobRecord | undefined> {
    const rows = await this.#query<{ record: string }>('SELECT record FROM trivec.jobs WHERE id = $1', [
      jobId,
    ]);
    return rows[0] && JSON.parse(rows[0].record);
  }

  async readShards(jobId: string, fromOrdinal: number, limit: number): Promise<ShardRecord[]> {
    const rows = await this.#query<{ record: string }>(
      'SELECT record FROM trivec.shards WHERE job_id = $1 AND ordinal >= $2 ORDER BY ordinal LIMIT $3',
      [jobId, fromOrdinal, limit],
    );
    return rows.map(({ record }) => JSON.parse(record) as ShardRecord);
  }

  async compareAndSwap(job: JobRecord, shards: readonly ShardRecord[] = []): Promise<boolean> {
    const next: JobRecord = { ...job, version: job.version + 1 };
    const rows = await this.#query(COMPARE_AND_SWAP, [
      job.id,
      job.version,
      job.owner,
      isOpen(job),
      JSON.stringify(next),
      ...shardColumns(shards),
    ]);
    return rows.length === 1;
  }

  writeNote(jobId: string, ordinal: number, note: string | undefined): Promise<void> {
    return note === undefined ? this.#notes.remove(jobId, ordinal) : this.#notes.write(jobId, ordinal, note);
  }

  readNote(jobId: string, ordinal: number): Promise<string | undefined> {
    return this.#notes.read(jobId, ordinal);
  }

  async listJobs(query: { owner?: string; limit: number; cursor?: string }) {
    const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
    const rows = await this.#query<{ record: string }>(LIST, [
      query.owner ?? null,
      after?.createdAtMs ?? null,
      after?.id ?? null,
      query.limit + 1,
    ]);
    const jobs = rows.slice(0, query.limit).map(({ record }) => JSON.parse(record) as JobRecord);
    const last = jobs.at(-1);
    return rows.length > query.limit && last ? { jobs, cursor: encodeCursor(last) } : { jobs };
  }

  async listOpenJobs(): Promise<string[]> {
    const rows = await this.#query<{ id: string }>('SELECT id FROM trivec.jobs WHERE is_open');
    return rows.map(({ id }) => id);
  }

  async deleteJob(jobId: string): Promise<void> {
    await this.#query(
      `WITH gone AS (DELETE FROM trivec.shards WHERE job_id = $1)
       DELETE FROM trivec.jobs WHERE id = $1`,
      [jobId],
    );
    await this.#notes.removeAll(jobId);
  }

  async #query<Row>(text: string, params?: readonly unknown[]): Promise<Row[]> {
    try {
      return (await this.#database.query<Row>(text, params)).rows;
    } catch (error) {
      throw postgresError(error);
    }
  }
}

function shardColumns(shards: readonly ShardRecord[]): [ordinals: number[], records: string[]] {
  return [shards.map(({ ordinal }) => ordinal), shards.map((shard) => JSON.stringify(shard))];
}
