import { openBackend } from '@trivec/core/backend/open';
import { loadConfig } from '@trivec/core/config';
import { createLogger } from '@trivec/core/telemetry/logger';

/**
 * A worker of a test, in a process of its own: takes two items of the fingerprint `held` and one request,
 * finishes none of them, and says `taken` on stdout for each. It is there to be killed.
 */
const config = loadConfig(process.env);
const backend = await openBackend(config, createLogger({ logLevel: 'silent' }));
const hold = async () => {
  process.stdout.write('taken\n');
  await new Promise(() => undefined);
};
await backend.shardQueue('held').consume(hold, { concurrency: 2 });
await backend.interactive.serve('held', hold, { concurrency: 1 });
process.stdout.write('ready\n');
