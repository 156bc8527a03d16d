import { join } from 'node:path';
import { runMigrations } from 'bullmq';
import type { Config } from '../config.ts';
import { PostgresLedger } from '../ledger/postgres.ts';
import { postgresDriver, postgresError } from '../queue/bullmqDriver.ts';
import { EmbeddedRegistry } from '../registry/embedded.ts';
import { EmbeddedLane } from '../replies/embedded.ts';
import { Resources } from '../shutdown.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Backend } from './backend.ts';
import { lockDataDir } from './dataDirLock.ts';
import { EmbeddedPostgres } from './embeddedPostgres.ts';
import { shardQueues } from './shardQueues.ts';

/**
 * The lock on DATA_DIR proves that whoever held these items is dead, so they wait again at once, instead of
 * when their locks expire.
 */
const RELEASE_HELD = `
UPDATE bullmq.job
   SET state = 'waiting', lock_token = NULL, locked_until_ms = NULL, stalled_marked = false
 WHERE state = 'active'`;

/** The embedded Postgres has no autovacuum; dead rows of finished items would slow every scan for work. */
const VACUUM_INTERVAL_MS = 10 * 60_000;
const VACUUMED_TABLES = ['bullmq.job', 'bullmq.event', 'bullmq.meta', 'trivec.jobs', 'trivec.shards'];

/**
 * The backend of one process, kept in DATA_DIR. Throws `data_dir_in_use` while another process has it,
 * `invalid_config` where its database can't be opened.
 */
export async function openEmbeddedBackend(config: Config, logger: Logger): Promise<Backend> {
  const resources = new Resources();
  try {
    const lock = lockDataDir(config.dataDir);
    resources.add({ close: async () => lock.close() });
    const database = resources.add(await EmbeddedPostgres.open(join(config.dataDir, 'postgres')));
    await runMigrations(database, 'bullmq');
    await database.query('SET search_path TO bullmq, public');
    const ledger = await PostgresLedger.open(database, join(config.dataDir, 'notes'));
    const { rowCount: released } = await database.query(RELEASE_HELD);
    if (released > 0) logger.info({ released }, 'items held by a process that died wait again');
    resources.add(await keepVacuumed(database, logger));
    const registry = resources.add(new EmbeddedRegistry());
    const interactive = resources.add(new EmbeddedLane());
    const queues = resources.add(shardQueues(postgresDriver(database), config.lockDurationMs, logger));
    return {
      kind: 'embedded',
      ledger,
      registry,
      interactive,
      shardQueue: queues.of,
      sinkQueue: queues.sink,
      // Nobody else has the folder.
      claim: async () => true,
      ping: async () => {
        await database.query('SELECT 1').catch((error) => {
          throw postgresError(error);
        });
      },
      close: () => resources.close(),
    };
  } catch (error) {
    await resources.close();
    throw postgresError(error);
  }
}

/** Once now and then at intervals, until closed. */
async function keepVacuumed(database: EmbeddedPostgres, logger: Logger): Promise<{ close(): Promise<void> }> {
  const vacuum = async () => {
    for (const table of VACUUMED_TABLES) await database.query(`VACUUM ${table}`);
  };
  await vacuum();
  const timer = setInterval(() => {
    vacuum().catch((error: Error) => logger.warn({ reason: error.message }, 'vacuum failed'));
  }, VACUUM_INTERVAL_MS);
  return { close: async () => clearInterval(timer) };
}
