import assert from 'node:assert/strict';
import test from 'node:test';
import { Ledger } from '@trivec/core/jobs/ledger';
import { expireJobs } from '@trivec/core/jobs/retention';
import { POISON } from '../../support/fakeEngine.ts';
import { ANYONE, jobRig } from '../../support/jobRig.ts';

test('a job that was opened again since it was listed does not expire', async () => {
  const rig = jobRig();
  const { id } = await rig.submit(
    [
      { id: 'a', text: 'fine' },
      { id: 'b', text: POISON },
    ],
    { retentionMs: 0 },
  );
  await rig.drain();
  const list = rig.ledger.listJobs.bind(rig.ledger);
  rig.ledger.listJobs = async (query) => {
    const page = await list(query);
    await rig.service.retry(id, ANYONE);
    return page;
  };
  const deps = { ledger: new Ledger(rig.ledger), storage: rig.storage, logger: rig.logger };
  await expireJobs(deps, Date.now() + 1000);
  assert.equal((await rig.job(id)).status, 'running');
  rig.ledger.listJobs = list;
  await rig.drain();
  await expireJobs(deps, Date.now() + 1000);
  rig.assertEmpty();
});
