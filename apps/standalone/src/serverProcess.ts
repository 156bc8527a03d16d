import { runProcess } from '@trivec/core/runProcess';
import { startStandalone } from './server.ts';
import { welcome } from './welcome.ts';

await runProcess('any', async ({ config, logger, resources, fail }) => {
  const server = resources.add(await startStandalone(config, logger, { onUnavailable: fail }));
  if (process.stderr.isTTY) process.stderr.write(welcome(server.url, config));
  if (!process.stdout.isTTY) logger.info({ url: server.url, docs: `${server.url}/docs` }, 'ready');
});
