import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TrivecClient } from '../../../apps/cli/src/client.ts';
import { watchJob } from '../../../apps/cli/src/watch.ts';
import { apiRig, assertError } from '../../support/apiRig.ts';
import { ANYONE, documents } from '../../support/jobRig.ts';

async function listening(t: TestContext) {
  const rig = await apiRig(t);
  const url = await rig.app.listen({ host: '127.0.0.1', port: 0 });
  return { ...rig, url, client: new TrivecClient(url) };
}

test('events: the job whenever it changes, the ended job last, the body of GET /jobs/:id', async (t) => {
  const { client, jobs } = await listening(t);
  const { id } = await jobs.submit(documents(3));
  const seen = [];
  for await (const job of client.events(id)) {
    seen.push(job.status);
    if (job.status === 'queued') await jobs.drain();
    else assert.deepEqual(job, { ...(await client.job(id)), tokensPerSecond: job.tokensPerSecond });
  }
  assert.deepEqual(seen, ['queued', 'completed']);
});

test('a job that no worker serves any more says so, without a change of its record', async (t) => {
  const { client, jobs, state } = await listening(t);
  const { id } = await jobs.submit(documents(3));
  const { workers } = state;
  const seen = [];
  for await (const job of client.events(id)) {
    assert.equal((await client.job(id)).waitingFor, job.waitingFor);
    if (job.status === 'completed') break;
    seen.push(job.waitingFor);
    if (seen.length < 3) state.workers = seen.length === 1 ? [] : workers;
    else await jobs.drain();
  }
  assert.deepEqual(seen, [null, 'worker', null]);
});

test('events of a job that is not there, and for a client that wants no events, are answered as errors', async (t) => {
  const { get, jobs } = await listening(t);
  assertError(await get('/jobs/job_x/events'), 404, 'job_not_found', /job_x/);
  const { id } = await jobs.submit(documents(1));
  const refused = await get(`/jobs/${id}/events`, { accept: 'application/json' });
  assertError(refused, 406, 'not_acceptable', /text\/event-stream/, 'accept');
});

test('a client that leaves is not looked after any more; a stop of the server ends the stream', async (t) => {
  const { client, app, jobs } = await listening(t);
  const { id } = await jobs.submit(documents(1));
  let reads = 0;
  const read = jobs.ledger.readJob.bind(jobs.ledger);
  jobs.ledger.readJob = (jobId) => {
    reads++;
    return read(jobId);
  };
  for await (const _ of client.events(id)) break;
  await sleep(100);
  const before = reads;
  await sleep(1200);
  assert.equal(reads, before, 'the job is still read for a client that has left');

  const events = client.events(id);
  await events.next();
  await app.close();
  assert.deepEqual(await events.next(), { done: true, value: undefined });
});

test('events of a job that is deleted meanwhile end', async (t) => {
  const { client, jobs } = await listening(t);
  const { id } = await jobs.submit(documents(1));
  const events = client.events(id);
  await events.next();
  await jobs.service.delete(id, ANYONE);
  // The deletion ends the job first: whether that is seen is a matter of time.
  for await (const job of events) assert.equal(job.status, 'cancelled');
  assert.equal((await fetch(`${client.url}/health/live`)).status, 200);
});

test('watch follows the events, and asks where there are none', async (t) => {
  const { client, jobs } = await listening(t);
  for (const broken of [false, true]) {
    const { id } = await jobs.submit(documents(2));
    const watched = new TrivecClient(client.url);
    if (broken)
      watched.events = () => {
        throw new Error('a proxy has cut the stream');
      };
    const progress = { stream: { write: () => true, isTTY: false } as unknown as NodeJS.WriteStream };
    const watching = watchJob(watched, id, { pollMs: 20, progress });
    await sleep(50);
    await jobs.drain();
    assert.equal((await watching).status, 'completed');
  }
});
