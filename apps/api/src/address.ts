import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Config } from '@trivec/core/config';
import { defaultUrl } from '@trivec/core/defaultUrl';
import { TrivecError } from '@trivec/core/errors';

type Address = Pick<Config, 'host' | 'port'>;

/**
 * Listens for a moment, so that an address that cannot be had is told before a model is loaded. Nobody is answered: the
 * API listens once a model is there. Throws what `atAddress` throws.
 */
export async function checkAddress(address: Address): Promise<void> {
  const probe = createServer((socket) => socket.destroy());
  await atAddress(address, async ({ host, port }) => {
    probe.listen(port, host);
    await once(probe, 'listening');
  });
  probe.close();
  await once(probe, 'close');
}

/** Throws `invalid_config` where HOST or PORT cannot be had: another attempt would end in just the same way. */
export async function atAddress<T>(
  { host, port }: Address,
  listen: (address: Address) => Promise<T>,
): Promise<T> {
  try {
    return await listen({ host, port });
  } catch (cause) {
    const [param, problem] = LISTEN_PROBLEMS[(cause as NodeJS.ErrnoException).code ?? ''] ?? [];
    if (param === undefined) throw cause;
    const given = param === 'HOST' ? host : `${port} of ${host}`;
    const url = param === 'PORT' ? await runningServer(host, port) : undefined;
    if (url !== undefined)
      throw new TrivecError(
        'invalid_config',
        `PORT: a trivec server runs at ${url} already. Use it, stop it, or choose another PORT (0 takes a free one).`,
        { param, cause },
      );
    throw new TrivecError('invalid_config', `${param}: ${given} ${problem}.`, { param, cause });
  }
}

const PROBE_TIMEOUT_MS = 1_000;

/** The address of a trivec server that has the port. */
async function runningServer(host: string, port: number): Promise<string | undefined> {
  const url = defaultUrl({ host, port });
  try {
    const response = await fetch(url, {
      headers: { accept: 'application/json' },
      redirect: 'manual',
      signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
    });
    const { name } = (await response.json()) as { name?: unknown };
    return name === 'trivec' ? url : undefined;
  } catch {
    return undefined;
  }
}

const LISTEN_PROBLEMS: Partial<Record<string, ['HOST' | 'PORT', string]>> = {
  EADDRINUSE: ['PORT', 'is taken by another process. Stop it, or choose another PORT (0 takes a free one)'],
  EACCES: ['PORT', 'may not be used by this user. Choose a PORT above 1023'],
  EADDRNOTAVAIL: ['HOST', 'is not an address of this machine'],
  ENOTFOUND: ['HOST', 'is not a name or address that can be found'],
};
