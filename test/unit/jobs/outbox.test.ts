import assert from 'node:assert/strict';
import test from 'node:test';
import { Ledger } from '@trivec/core/jobs/ledger';
import { Outbox } from '@trivec/core/jobs/outbox';
import { ANYONE, documents, jobRig } from '../../support/jobRig.ts';

const [DEAD, LIVE] = ['https://dead.example/hook', 'https://live.example/hook'];

/** Twenty ended jobs that are to be told to the one, and twenty to the other, offered in that order. */
async function offered() {
  const rig = jobRig();
  const gate = Promise.withResolvers<void>();
  const told: Record<string, string[]> = { [DEAD]: [], [LIVE]: [] };
  const sender = {
    async send({ url, id }: { url: string; id: string }) {
      told[url]!.push(id);
      if (url === DEAD) await gate.promise;
    },
  };
  const outbox = new Outbox({ ledger: new Ledger(rig.ledger), sender, logger: rig.logger });
  const secret = Buffer.alloc(32, 7).toString('base64');
  const ids: string[] = [];
  for (const url of [...Array<string>(20).fill(DEAD), ...Array<string>(20).fill(LIVE)]) {
    const { id } = await rig.submit(documents(1), { webhook: { url, secret } });
    await rig.service.cancel(id, ANYONE);
    ids.push(id);
  }
  for (const id of ids) outbox.offer(await rig.job(id), Date.now());
  while (told[LIVE]!.length < 20) await new Promise(setImmediate);
  const states = () => Promise.all(ids.map(async (id) => (await rig.job(id)).webhook!.delivery!.state));
  return { outbox, gate, told, states };
}

test('a receiver that does not answer leaves room to the others; what has none at once waits for its turn', async () => {
  const { outbox, gate, told, states } = await offered();
  assert.equal(told[DEAD]!.length, 4);
  gate.resolve();
  await outbox.settle();
  assert.equal(new Set(told[DEAD]).size, 20);
  assert.deepEqual(new Set(await states()), new Set(['delivered']));
});

test('closing gives up what waits', async () => {
  const { outbox, gate, told } = await offered();
  const closed = outbox.close();
  gate.resolve();
  await closed;
  assert.equal(told[DEAD]!.length, 4);
});
