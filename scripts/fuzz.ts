/**
 * `npm run fuzz [runs [path]]`: so many requests (10,000) to every route (that begins with `path`), made from the schemas and from what they forbid, with
 * a stand-in for the engine behind. Exits 1 where the server fails, with the request, its seed and its path, which
 * repeat it; where memory is not given back; or where it would hang.
 */
import { after, test } from 'node:test';
import { apiRig } from '../test/support/apiRig.ts';
import { decodeAnything, fuzzRoute, fuzzTargets } from '../test/support/fuzz.ts';

const RUNS = Number(process.argv[2] ?? 10_000);
const UNDER = process.argv[3] ?? '/';
const WARM_UP_RUNS = 50;
/** Of a route that takes nothing: all its requests are the same one. */
const FIXED_RUNS = 200;
const MAX_GROWTH_BYTES = 64 * 1024 ** 2;

test(`${RUNS} requests a route`, async (t) => {
  const rig = await apiRig(t, { env: { MAX_INPUTS: '5', MAX_INPUT_CHARS: '300' } });
  decodeAnything(rig);
  const targets = fuzzTargets(rig.app.swagger() as never).filter(({ path }) => path.startsWith(UNDER));
  /** Of what is left when the stand-ins have forgotten what they were told. */
  async function heapBytes(): Promise<number> {
    rig.state.requests.length = 0;
    rig.engine.embedCalls.length = 0;
    for (const kept of [
      rig.jobs.ledger.jobs,
      rig.jobs.ledger.shards,
      rig.jobs.storage.blobs,
      rig.jobs.queue.items,
    ])
      kept.clear();
    await new Promise(setImmediate);
    globalThis.gc?.();
    return process.memoryUsage().heapUsed;
  }
  // What is loaded, compiled and remembered once is no leak.
  for (const target of targets) await fuzzRoute(rig, target, WARM_UP_RUNS);
  const before = await heapBytes();
  for (const target of targets) {
    const isFixed = target.body === undefined && !target.path.includes('{');
    const runs = isFixed ? Math.min(RUNS, FIXED_RUNS) : RUNS;
    await t.test(`${target.method} ${target.path}`, () => fuzzRoute(rig, target, runs));
    await heapBytes();
  }
  const grownBytes = (await heapBytes()) - before;
  console.log(`heap grew by ${(grownBytes / 1024 ** 2).toFixed(1)} MiB`);
  if (grownBytes > MAX_GROWTH_BYTES) throw new Error(`The heap grew by ${grownBytes} bytes.`);
});

after(() => {
  const open = process.getActiveResourcesInfo().filter((name) => /TCP|Timeout|Pipe/.test(name));
  console.log(`open handles at the end: ${open.length === 0 ? 'none' : open.join(', ')}`);
});
