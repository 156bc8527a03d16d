import { randomUUID } from 'node:crypto';
import type { ChainableCommander, Redis } from 'ioredis';
import { redisError } from '../backend/redisClient.ts';
import { runScript } from '../backend/redisScript.ts';
import type { JobRecord, ShardRecord } from '../jobs/records.ts';
import { decodeCursor, encodeCursor, isOpen, positionOf, sortKey } from './jobCursor.ts';
import type { LedgerStore } from './ledgerStore.ts';
import { RedisLedgerKeys } from './redisKeys.ts';
import { COMMIT, COMPARE_AND_SWAP, DELETE, FORGET_OPEN } from './redisScripts.ts';

const CHUNK = 1_000;
/** Shards of an upload that died are forgotten after this; the commit makes them permanent. */
const UNCOMMITTED_TTL_SECONDS = 24 * 3600;
/** A holder may write one after its job was deleted. */
const NOTES_TTL_SECONDS = 7 * 24 * 3600;
/** An index entry without its job is of a commit under way, or a leftover; after this it is a leftover. */
const LEFTOVER_AFTER_MS = 3600_000;
/** The same for a job that ended but is still in the open index: it may be about to be opened again. */
const ENDED_AFTER_MS = 60_000;

/**
 * The ledger in Redis. The keys of a job share one slot of a cluster and change in one script; the indexes
 * lie in another slot, so they are written before what they point to and removed after it, and readers skip
 * entries that point to nothing.
 */
export class RedisLedger implements LedgerStore {
  readonly #redis: Redis;
  readonly #keys: RedisLedgerKeys;

  constructor(redis: Redis, keyPrefix: string) {
    this.#redis = redis;
    this.#keys = new RedisLedgerKeys(keyPrefix);
  }

  putShards(jobId: string, shards: readonly ShardRecord[]): Promise<void> {
    return guard(async () => {
      const key = this.#keys.shards(jobId);
      for (let start = 0; start < shards.length; start += CHUNK) {
        const fields = shards.slice(start, start + CHUNK).flatMap(shardField);
        await all(
          this.#redis
            .pipeline()
            .hset(key, ...fields)
            .expire(key, UNCOMMITTED_TTL_SECONDS),
        );
      }
    });
  }

  commitJob(job: JobRecord): Promise<string> {
    return guard(async () => {
      const member = sortKey(job);
      const index = this.#redis.pipeline();
      index.zadd(this.#keys.list(), 0, member);
      index.zadd(this.#keys.list(job.owner), 0, member);
      if (isOpen(job)) index.zadd(this.#keys.open, Date.now(), job.id);
      await all(index);
      const holder = await runScript<string>(
        this.#redis,
        COMMIT,
        this.#keys.record(job.id),
        this.#keys.shards(job.id),
        this.#keys.claim(job.id),
        job.version,
        JSON.stringify(job),
        openFlag(job),
        job.idempotency === undefined ? '' : job.id,
      );
      if (holder === '') return job.id;
      await this.#unlist(job);
      return holder;
    });
  }

  readKeyedJob(digest: string): Promise<JobRecord | undefined> {
    return guard(async () => {
      const jobId = await this.#redis.get(this.#keys.claimOf(digest));
      return jobId === null ? undefined : this.readJob(jobId);
    });
  }

  readJob(jobId: string): Promise<JobRecord | undefined> {
    return guard(async () => {
      const json = await this.#redis.hget(this.#keys.record(jobId), 'j');
      return json === null ? undefined : (JSON.parse(json) as JobRecord);
    });
  }

  readShards(jobId: string, fromOrdinal: number, limit: number): Promise<ShardRecord[]> {
    return guard(async () => {
      const shards: ShardRecord[] = [];
      while (shards.length < limit) {
        const first = fromOrdinal + shards.length;
        const count = Math.min(CHUNK, limit - shards.length);
        const ordinals = Array.from({ length: count }, (_, index) => String(first + index));
        const found = await this.#redis.hmget(this.#keys.shards(jobId), ...ordinals);
        for (const json of found) if (json !== null) shards.push(JSON.parse(json) as ShardRecord);
        // ordinals have no gaps
        if (found.includes(null)) break;
      }
      return shards;
    });
  }

  compareAndSwap(job: JobRecord, shards: readonly ShardRecord[] = []): Promise<boolean> {
    return guard(async () => {
      const next: JobRecord = { ...job, version: job.version + 1 };
      const closes = !isOpen(job);
      const touchedAt = closes ? await this.#redis.zscore(this.#keys.open, job.id) : null;
      // each time, not only when it opens: the index then heals by itself
      if (!closes) await this.#redis.zadd(this.#keys.open, Date.now(), job.id);
      const swapped = await runScript<number>(
        this.#redis,
        COMPARE_AND_SWAP,
        this.#keys.record(job.id),
        this.#keys.shards(job.id),
        job.version,
        next.version,
        JSON.stringify(next),
        openFlag(job),
        randomUUID(),
        ...shards.flatMap(shardField),
      );
      // whoever has opened it again since has touched the entry, and keeps it
      if (swapped === 1 && touchedAt !== null)
        await runScript(this.#redis, FORGET_OPEN, this.#keys.open, job.id, touchedAt);
      return swapped === 1;
    });
  }

  writeNote(jobId: string, ordinal: number, note: string | undefined): Promise<void> {
    return guard(async () => {
      const key = this.#keys.notes(jobId);
      if (note === undefined) await this.#redis.hdel(key, String(ordinal));
      else await all(this.#redis.pipeline().hset(key, String(ordinal), note).expire(key, NOTES_TTL_SECONDS));
    });
  }

  readNote(jobId: string, ordinal: number): Promise<string | undefined> {
    return guard(async () => (await this.#redis.hget(this.#keys.notes(jobId), String(ordinal))) ?? undefined);
  }

  listJobs(query: { owner?: string; limit: number; cursor?: string }) {
    return guard(async () => {
      const key = this.#keys.list(query.owner);
      const jobs: JobRecord[] = [];
      let after = query.cursor === undefined ? undefined : sortKey(decodeCursor(query.cursor));
      for (;;) {
        // one more than asked for tells whether there is another page
        const wanted = query.limit + 1 - jobs.length;
        const members = await this.#redis.zrevrangebylex(
          key,
          after === undefined ? '+' : `(${after}`,
          '-',
          'LIMIT',
          0,
          wanted,
        );
        jobs.push(...(await this.#readListed(key, members)));
        if (jobs.length > query.limit) break;
        if (members.length < wanted) return { jobs };
        after = members.at(-1)!;
      }
      const page = jobs.slice(0, query.limit);
      const last = page.at(-1);
      return last ? { jobs: page, cursor: encodeCursor(last) } : { jobs: page };
    });
  }

  listOpenJobs(): Promise<string[]> {
    return guard(async () => {
      const entries = await this.#redis.zrange(this.#keys.open, '0', '-1', 'WITHSCORES');
      const touched = new Map<string, string>();
      for (let index = 0; index < entries.length; index += 2) {
        touched.set(entries[index]!, entries[index + 1]!);
      }
      const ids = [...touched.keys()];
      const flags = this.#redis.pipeline();
      for (const id of ids) flags.hget(this.#keys.record(id), 'o');
      const open: string[] = [];
      for (const [index, flag] of (await all(flags)).entries()) {
        const id = ids[index]!;
        if (flag === '1') open.push(id);
        else await this.#forgetOpen(id, touched.get(id)!, flag === null ? LEFTOVER_AFTER_MS : ENDED_AFTER_MS);
      }
      return open;
    });
  }

  deleteJob(jobId: string): Promise<void> {
    return guard(async () => {
      const job = await this.readJob(jobId);
      await runScript(
        this.#redis,
        DELETE,
        this.#keys.record(jobId),
        this.#keys.shards(jobId),
        this.#keys.claim(jobId),
        this.#keys.notes(jobId),
        jobId,
      );
      if (job) await this.#unlist(job);
      else await this.#redis.zrem(this.#keys.open, jobId);
    });
  }

  async #unlist(job: JobRecord): Promise<void> {
    const member = sortKey(job);
    await all(
      this.#redis
        .pipeline()
        .zrem(this.#keys.open, job.id)
        .zrem(this.#keys.list(), member)
        .zrem(this.#keys.list(job.owner), member),
    );
  }

  async #readListed(key: string, members: readonly string[]): Promise<JobRecord[]> {
    const positions = members.map((member) => positionOf(member)!);
    const reads = this.#redis.pipeline();
    for (const { id } of positions) reads.hget(this.#keys.record(id), 'j');
    const jobs: JobRecord[] = [];
    for (const [index, json] of (await all(reads)).entries()) {
      if (typeof json === 'string') jobs.push(JSON.parse(json) as JobRecord);
      else if (positions[index]!.createdAtMs < Date.now() - LEFTOVER_AFTER_MS) {
        await this.#redis.zrem(key, members[index]!);
      }
    }
    return jobs;
  }

  async #forgetOpen(jobId: string, touchedAt: string, afterMs: number): Promise<void> {
    if (Number(touchedAt) > Date.now() - afterMs) return;
    await runScript(this.#redis, FORGET_OPEN, this.#keys.open, jobId, touchedAt);
  }
}

function shardField(shard: ShardRecord): [ordinal: string, json: string] {
  return [String(shard.ordinal), JSON.stringify(shard)];
}

function openFlag(job: JobRecord): string {
  return isOpen(job) ? '1' : '0';
}

/** The replies of a pipeline, or the first error in it. */
async function all(pipeline: ChainableCommander): Promise<unknown[]> {
  const replies = (await pipeline.exec()) ?? [];
  return replies.map(([error, reply]) => {
    if (error) throw error;
    return reply;
  });
}

async function guard<R>(action: () => Promise<R>): Promise<R> {
  try {
    return await action();
  } catch (error) {
    throw redisError(error);
  }
}
