/**
 * A server of the interactive lane in a process of its own. Arguments: backend URL, fingerprint. Says `ready` on its
 * output, and answers each request with how many it has run.
 */
import { openBackend } from '@trivec/core/backend/open';
import { loadConfig } from '@trivec/core/config';
import { createLogger } from '@trivec/core/telemetry/logger';

const [, , backendUrl, fingerprint] = process.argv as string[];
const config = loadConfig({ BACKEND_URL: backendUrl, KEY_PREFIX: 'p' });
const backend = await openBackend(config, createLogger({ logLevel: 'silent' }));
let runs = 0;
await backend.interactive.serve(fingerprint!, async () => ++runs, { concurrency: 2 });
process.stdout.write('ready\n');
