import assert from 'node:assert/strict';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type TestContext } from 'node:test';
import { jobView } from '@trivec/core/jobs/jobView';
import { Ledger } from '@trivec/core/jobs/ledger';
import { Outbox } from '@trivec/core/jobs/outbox';
import { expireJobs } from '@trivec/core/jobs/retention';
import type { RequestedOptions } from '@trivec/core/jobs/serviceTypes';
import { applyWebhook, MAX_ATTEMPTS, resolveWebhook } from '@trivec/core/jobs/webhook';
import { isOpen } from '@trivec/core/ledger/jobCursor';
import { createLogger } from '@trivec/core/telemetry/logger';
import { isPublicAddress, namesPrivateAddress, WebhookSender } from '@trivec/core/webhooks/sender';
import { Webhook } from 'standardwebhooks';
import { silentLogger } from '../support/backends.ts';
import { ANYONE, documents, jobRig } from '../support/jobRig.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

interface Received {
  headers: IncomingHttpHeaders;
  body: string;
}

/** A receiver that answers as told, one status after the other, the last one for ever. */
async function receiver(t: TestContext, statuses: number[] = [204]) {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await Array.fromAsync(request)).toString();
    const status = statuses[Math.min(received.length, statuses.length - 1)]!;
    received.push({ headers: request.headers, body });
    response.writeHead(status, status === 302 ? { location: '/elsewhere' } : {}).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return { received, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook` };
}

async function rigWith(t: TestContext, url: string, { allowPrivate = true, logger = silentLogger } = {}) {
  const rig = jobRig();
  Object.assign(rig.deps.config, { allowPrivateWebhooks: allowPrivate });
  const sender = new WebhookSender({ allowPrivate });
  t.after(() => sender.close());
  const outbox = new Outbox({ ledger: new Ledger(rig.ledger), sender, logger });
  const options: RequestedOptions = { webhook: { url, secret: SECRET } };
  return {
    ...rig,
    submit: (more: RequestedOptions = {}) => rig.submit(documents(3), { ...options, ...more }),
    async deliver(id: string, nowMs = Date.now()) {
      outbox.offer(await rig.job(id), nowMs);
      await outbox.settle();
      return (await rig.job(id)).webhook!.delivery!;
    },
  };
}

test('the end of a job is told once, signed by the Standard Webhooks convention', async (t) => {
  const { received, url } = await receiver(t);
  const rig = await rigWith(t, url);
  const job = await rig.submit();
  assert.equal((await rig.job(job.id)).webhook!.delivery, undefined);
  await rig.drain();
  const ended = await rig.job(job.id);
  assert.equal(ended.webhook!.delivery!.state, 'pending');
  assert.ok(isOpen(ended), 'the reconciler would not find it');
  assert.equal((await rig.deliver(job.id)).state, 'delivered');
  assert.equal((await rig.deliver(job.id)).attempts, 1);
  assert.equal(received.length, 1);
  const [{ headers, body }] = received as [Received];
  const message = new Webhook(SECRET).verify(body, headers as Record<string, string>) as {
    type: string;
    data: { id: string; counts: object };
  };
  assert.equal(message.type, 'job.completed');
  assert.equal(message.data.id, job.id);
  assert.deepEqual(message.data.counts, { documents: 3, embedded: 3, written: 0, failed: 0 });
  assert.equal(headers['webhook-id'], `${job.id}.1`);
  const secret = SECRET.slice('whsec_'.length);
  assert.ok(
    !body.includes(secret) && !JSON.stringify(jobView(ended, 1)).includes(secret),
    'the secret is shown',
  );
});

test('a cancelled job is told, too; what is not taken is repeated with the same id, and given up at last', async (t) => {
  const { received, url } = await receiver(t, [500]);
  const lines: string[] = [];
  const logger = createLogger({ logLevel: 'info' }, { write: (line) => lines.push(line) });
  const rig = await rigWith(t, url, { logger });
  const { id } = await rig.submit();
  await rig.service.cancel(id, ANYONE);
  let delivery = await rig.deliver(id);
  assert.equal(delivery.state, 'pending');
  assert.equal(delivery.error, 'answered 500');
  const { reason, attempt, nextAt, msg } = JSON.parse(lines[0]!);
  assert.deepEqual(
    [reason, attempt, nextAt, msg],
    [
      'answered 500',
      1,
      new Date(delivery.nextAtMs).toISOString(),
      'webhook not delivered; it is tried again',
    ],
  );
  assert.equal((await rig.deliver(id)).attempts, 1, 'it is not due yet');

  while (delivery.state === 'pending') {
    const job = await rig.job(id);
    job.webhook!.delivery!.nextAtMs = 0;
    assert.ok(await rig.ledger.compareAndSwap(job));
    delivery = await rig.deliver(id);
  }
  assert.deepEqual([delivery.state, delivery.attempts], ['failed', MAX_ATTEMPTS]);
  assert.equal(received.length, MAX_ATTEMPTS);
  assert.match(lines.at(-1)!, new RegExp(`"attempt":${MAX_ATTEMPTS},.*it is given up`));
  assert.equal(new Set(received.map(({ headers }) => headers['webhook-id'])).size, 1);
  assert.equal(JSON.parse(received[0]!.body).type, 'job.cancelled');
  assert.ok(!isOpen(await rig.job(id)));
});

test('redirects are not followed', async (t) => {
  const { received, url } = await receiver(t, [302, 200]);
  const rig = await rigWith(t, url);
  const { id } = await rig.submit();
  await rig.drain();
  assert.match((await rig.deliver(id)).error!, /answered 302; redirects are not followed/);
  assert.equal(received.length, 1);
});

test('private addresses: refused as they stand, and where a name leads to one', async (t) => {
  const { received, url } = await receiver(t);
  const rig = await rigWith(t, url, { allowPrivate: false });
  await assert.rejects(rig.submit(), { code: 'invalid_request', param: 'webhook.url' });
  for (const private_ of [
    'http://localhost/',
    'http://[::1]/',
    'http://0x7f.1/',
    'http://169.254.169.254/',
    'http://[::ffff:10.0.0.1]/',
    'http://10.1.2.3:80/',
    'http://[fd00::1]/',
  ])
    assert.ok(namesPrivateAddress(private_), private_);
  assert.ok(!namesPrivateAddress('https://example.org/x') && !namesPrivateAddress('http://93.184.216.34/'));
  assert.ok(
    !isPublicAddress('100.64.0.1') &&
      !isPublicAddress('64:ff9b::7f00:1') &&
      isPublicAddress('2606:4700::1111'),
  );
  // Judged again where the connection is made: by address, and by the address of a name.
  const sender = new WebhookSender({ allowPrivate: false });
  t.after(() => sender.close());
  const secret = SECRET.slice('whsec_'.length);
  for (const target of [url, url.replace('127.0.0.1', 'localhost'), url.replace('127.0.0.1', '[::1]')])
    await assert.rejects(sender.send({ url: target, secret, id: 'm', body: '{}' }), /address is private/);
  assert.equal(received.length, 0);
});

test('a webhook that can not be right is refused, and the secret is not quoted', () => {
  for (const [url, secret, message] of [
    ['nonsense', SECRET, /webhook.url is not a URL/],
    ['ftp://example.org', SECRET, /https:\/\/ or http/],
    ['https://a:b@example.org', SECRET, /no user and no password/],
    ['https://example.org', 'whsec_short', /webhook.secret must be 24 to 64 bytes in base64/],
    ['https://example.org', '?'.repeat(40), /webhook.secret must be/],
  ] as const)
    assert.throws(
      () => resolveWebhook({ url, secret }),
      (error: Error) => message.test(error.message) && !error.message.includes(secret),
    );
});

test('two processes that find the same delivery: one makes it; an end that was retried is another one', async (t) => {
  const { url } = await receiver(t);
  const rig = await rigWith(t, url);
  const { id } = await rig.submit();
  await rig.drain();
  const job = await rig.job(id);
  const nowMs = Date.now();
  const begun = applyWebhook(job, { type: 'webhook', closing: 1, outcome: 'begun' }, nowMs)!;
  assert.equal(
    applyWebhook(begun, { type: 'webhook', closing: 1, outcome: 'begun' }, nowMs + 1000),
    undefined,
  );
  assert.equal(applyWebhook(job, { type: 'webhook', closing: 2, outcome: 'begun' }, nowMs), undefined);
});

test('retention: ended jobs go with all they have, when their time has come and their webhook is told', async (t) => {
  const { url } = await receiver(t);
  const rig = await rigWith(t, url);
  const kept = await rig.submit();
  const expiring = await rig.submit({ retentionMs: 1000 });
  const running = await rig.submit({ retentionMs: 0 });
  for (const [id, { data }] of [...rig.queue.items]) {
    if (data.jobId === running.id) continue;
    rig.queue.items.delete(id);
    await rig.run(data);
  }
  const deps = { ledger: new Ledger(rig.ledger), storage: rig.storage, logger: rig.logger };
  const later = Date.now() + 5000;
  await expireJobs(deps, later);
  assert.ok(rig.ledger.jobs.has(expiring.id), 'its webhook is still to be told');
  await rig.deliver(expiring.id);
  await expireJobs(deps, Date.now() - 5000);
  assert.ok(rig.ledger.jobs.has(expiring.id), 'its time has not come');
  await expireJobs(deps, later);
  assert.deepEqual([...rig.ledger.jobs.keys()].sort(), [kept.id, running.id].sort());
  assert.ok(![...rig.storage.blobs.keys()].some((key) => key.includes(expiring.id)));

  Object.assign(rig.deps.config, { jobRetentionMs: 77 });
  assert.equal((await rig.submit()).options.retentionMs, 77);
});
