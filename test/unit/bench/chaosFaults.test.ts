import assert from 'node:assert/strict';
import test from 'node:test';
import { FAULTS, nextFault, TCP_FAULTS, tcpFaults } from '../../../bench/chaos/faults.ts';
import { seededRandom } from '../../../bench/chaos/plan.ts';

const DRAWS = 20_000;

for (const shares of [FAULTS, TCP_FAULTS])
  test(`faults come as often as they are said to, the same for the same seed: ${Object.keys(shares)}`, () => {
    const draw = (seed: number) => {
      const random = seededRandom(seed);
      return Array.from({ length: DRAWS }, () => nextFault<string>(random, shares));
    };
    const drawn = draw(3);
    assert.deepEqual(draw(3), drawn);
    for (const [fault, share] of Object.entries(shares)) {
      const per = (drawn.filter((each) => each === fault).length / DRAWS) * 1000;
      assert.ok(Math.abs(per - share) < share / 4 + 1, `${fault}: ${per} of a thousand, not ${share}`);
    }
  });

test('a connection breaks after any part of the bytes; only a delay is shorter than the client waits', () => {
  const met: string[] = [];
  const draw = tcpFaults(seededRandom(7), { lateMs: 3000, onFault: (kind) => met.push(kind) });
  const drawn = Array.from({ length: DRAWS }, () => draw(4)).filter((each) => each !== undefined);
  assert.deepEqual(
    drawn.map(({ fault }) => fault.kind),
    met,
  );
  assert.deepEqual([...new Set(drawn.map(({ passed }) => passed))].sort(), [0, 1, 2, 3, 4]);
  for (const { fault } of drawn) {
    if (fault.kind === 'delay') assert.ok(fault.ms <= 1500);
    if (fault.kind === 'stall') assert.equal(fault.ms, 3000);
  }
});
