import type { Config } from '../config.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Backend } from './backend.ts';
import { openEmbeddedBackend } from './embedded.ts';
import { openRedisBackend } from './redis.ts';

/** The backend that BACKEND_URL names, ready to be used. The caller closes it. */
export function openBackend(config: Config, logger: Logger): Promise<Backend> {
  return config.backendUrl === 'embedded'
    ? openEmbeddedBackend(config, logger)
    : openRedisBackend(config, logger);
}
