import assert from 'node:assert/strict';
import test from 'node:test';
import { FAULTS, type Fault, nextFault } from '../../../bench/chaos/faults.ts';
import { seededRandom } from '../../../bench/chaos/plan.ts';

test('faults come as often as they are said to, the same for the same seed', () => {
  const draw = (seed: number) => {
    const random = seededRandom(seed);
    return Array.from({ length: 20_000 }, () => nextFault(random));
  };
  const drawn = draw(3);
  assert.deepEqual(draw(3), drawn);
  for (const [fault, share] of Object.entries(FAULTS) as [Fault, number][]) {
    const per = (drawn.filter((each) => each === fault).length / drawn.length) * 1000;
    assert.ok(Math.abs(per - share) < share / 4 + 1, `${fault}: ${per} of a thousand, not ${share}`);
  }
});
