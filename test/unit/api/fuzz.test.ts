import test from 'node:test';
import { apiRig } from '../../support/apiRig.ts';
import { decodeAnything, fuzzRoute, fuzzTargets } from '../../support/fuzz.ts';

/** One seed, so that a run says the same twice; `npm run fuzz` takes others. */
const SEED = 1;
const RUNS = 200;

test('no request ends in a fault of the server, whatever the route and the body', async (t) => {
  const rig = await apiRig(t, { env: { MAX_INPUTS: '5', MAX_INPUT_CHARS: '300' } });
  decodeAnything(rig);
  for (const target of fuzzTargets(rig.app.swagger() as never)) {
    // What takes no body has little to get wrong.
    const runs = target.method === 'POST' ? RUNS : 10;
    await t.test(`${target.method} ${target.path}`, () => fuzzRoute(rig, target, runs, SEED));
  }
});
