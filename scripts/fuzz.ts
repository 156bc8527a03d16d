/**
 * `npm run fuzz [runs]`: so many requests (10,000) to every route, made from the schemas and from what they forbid, with
 * a stand-in for the engine behind. Exits 1 at the first fault of the server, with the request that made it.
 */
import { after, test } from 'node:test';
import { apiRig } from '../test/support/apiRig.ts';
import { decodeAnything, fuzzRoute, fuzzTargets } from '../test/support/fuzz.ts';

const RUNS = Number(process.argv[2] ?? 10_000);
const MAX_GROWTH_BYTES = 64 * 1024 ** 2;

test(`${RUNS} requests a route`, async (t) => {
  const rig = await apiRig(t, { env: { MAX_INPUTS: '5', MAX_INPUT_CHARS: '300' } });
  decodeAnything(rig);
  let first: number | undefined;
  for (const target of fuzzTargets(rig.app.swagger() as never)) {
    await t.test(`${target.method} ${target.path}`, () => fuzzRoute(rig, target, RUNS));
    rig.state.requests.length = 0;
    rig.engine.embedCalls.length = 0;
    for (const kept of [
      rig.jobs.ledger.jobs,
      rig.jobs.ledger.shards,
      rig.jobs.storage.blobs,
      rig.jobs.queue.items,
    ])
      kept.clear();
    globalThis.gc?.();
    first ??= process.memoryUsage().heapUsed;
  }
  const grownBytes = process.memoryUsage().heapUsed - (first ?? 0);
  console.log(`heap grew by ${(grownBytes / 1024 ** 2).toFixed(1)} MiB`);
  if (grownBytes > MAX_GROWTH_BYTES) throw new Error(`The heap grew by ${grownBytes} bytes.`);
});

after(() => {
  const open = process.getActiveResourcesInfo().filter((name) => /TCP|Timeout|Pipe/.test(name));
  console.log(`open handles at the end: ${open.length === 0 ? 'none' : open.join(', ')}`);
});
