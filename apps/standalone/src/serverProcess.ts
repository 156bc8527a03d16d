import { runProcess } from '@trivec/core/runProcess';
import { startStandalone } from './server.ts';

await runProcess('any', async ({ config, logger, resources, fail }) => {
  const server = resources.add(await startStandalone(config, logger, { onUnavailable: fail }));
  logger.info({ url: server.url, docs: `${server.url}/docs` }, 'ready');
});
