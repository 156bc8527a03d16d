import { BlockList, isIP } from 'node:net';
import type { Config } from '@trivec/core/config';
import { TrivecError } from '@trivec/core/errors';

/** What Fastify's `trustProxy` takes. Throws `invalid_config` for what is neither an address nor a network. */
export function trustedProxies({ trustedProxies }: Pick<Config, 'trustedProxies'>): string[] | false {
  for (const entry of trustedProxies)
    if (!isNetwork(entry))
      throw new TrivecError(
        'invalid_config',
        `TRUSTED_PROXIES: "${entry}" is neither an address nor a network such as 10.0.0.0/8.`,
        { param: 'TRUSTED_PROXIES' },
      );
  return trustedProxies.length > 0 && [...trustedProxies];
}

function isNetwork(entry: string): boolean {
  const [address = '', bits] = entry.split('/');
  const family = isIP(address);
  if (family === 0 || bits === undefined) return family !== 0;
  try {
    new BlockList().addSubnet(address, Number(bits), family === 6 ? 'ipv6' : 'ipv4');
    return true;
  } catch {
    return false;
  }
}
