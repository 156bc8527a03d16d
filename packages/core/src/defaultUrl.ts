import type { Config } from './config.ts';

/** Where `npm start` with this configuration listens, seen from this machine. */
export function defaultUrl(config: Pick<Config, 'host' | 'port'>): string {
  const wildcard: Record<string, string> = { '0.0.0.0': '127.0.0.1', '::': '[::1]' };
  const host = wildcard[config.host] ?? (config.host.includes(':') ? `[${config.host}]` : config.host);
  return `http://${host}:${config.port}`;
}
