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

/** There is no autovacuum in the embedded Postgres; what a start finds dead stays in the way of every scan. */
const VACUUM = ['bullmq.job', 'bullmq.event', 'bullmq.meta', 'trivec.jobs', 'trivec.shards'];

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
    const ledger = await PostgresLedger.open(database);
    const { rowCount: released } = await database.query(RELEASE_HELD);
    if (released > 0) logger.info({ released }, 'items held by a process that died wait again');
    for (const table of VACUUM) await database.query(`VACUUM ${table}`);
    const registry = resources.add(new EmbeddedRegistry());
    const interactive = resources.add(new EmbeddedLane());
    const queues = resources.add(shardQueues(postgresDriver(database), config.lockDurationMs, logger));
    return {
      kind: 'embedded',
      ledger,
      registry,
      interactive,
      shardQueue: queues.of,
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
