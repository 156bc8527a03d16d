import { runProcess } from '@trivec/core/runProcess';
import { startStandalone } from './server.ts';

await runProcess('any', async ({ config, logger, resources }) => {
  const server = resources.add(await startStandalone(config, logger));
  logger.info({ url: server.url, docs: `${server.url}/docs` }, 'ready');
});
