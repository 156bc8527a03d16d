/** Runs `supervise` over supervisedServer.ts with a policy quick enough for a test. */
import { isRunByNpm } from '@trivec/core/npmParent';
import { supervise } from '../../apps/standalone/src/supervisor.ts';

process.exitCode = await supervise(new URL('./supervisedServer.ts', import.meta.url), {
  policy: { firstDelayMs: 10, maxDelayMs: 40, maxCrashes: 3, healthyMs: 60_000 },
  endsWithParent: isRunByNpm(process.env),
});
