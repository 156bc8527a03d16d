import type { Config } from '@trivec/core/config';
import { requireFolder } from '@trivec/core/folders';
import { checkAddress } from './address.ts';
import { ApiKeys } from './apiKeys.ts';
import { assertBindAllowed } from './plugins/hosts.ts';
import { trustedProxies } from './trustedProxies.ts';

/**
 * What can be wrong about the API's options (a taken PORT, too) and shows without a model: to be called before anything
 * is opened or loaded, which takes minutes. Throws `invalid_config`.
 */
export async function checkApiConfig(config: Config): Promise<void> {
  assertBindAllowed(config, { hasKeys: new ApiKeys(config).size > 0 });
  trustedProxies(config);
  for (const folder of config.sourceDirs) await requireFolder('SOURCE_DIRS', folder);
  await checkAddress(config);
}
