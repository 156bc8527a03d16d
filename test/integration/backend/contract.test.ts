import assert from 'node:assert/strict';
import test from 'node:test';
import type { WorkerAnnouncement } from '@trivec/core/registry/workerRegistry';
import { describeBackends, type TestBackends } from '../../support/backends.ts';
import { interactiveContract } from './interactiveContract.ts';
import { ledgerContract } from './ledgerContract.ts';
import { queueContract } from './queueContract.ts';

// One backend of each kind for all: starting the embedded one takes seconds.
describeBackends('backend contract', {}, (backends) => {
  test('it answers a ping', async () => {
    const backend = await backends.backend();
    await backend.ping();
    assert.equal(backend.kind, backends.kind);
  });
  queueContract(backends);
  ledgerContract(backends);
  interactiveContract(backends);
  registryContract(backends);
});

function announcement(workerId: string): WorkerAnnouncement {
  return {
    workerId,
    model: {
      kind: 'embedding',
      name: 'mini',
      fingerprint: 'f',
      dtype: 'float32',
      outputs: ['dense'],
      denseDims: 8,
      colbertDims: 0,
      maxTokens: 512,
      standIn: true,
      description: 'a model of this test',
      license: 'none',
    },
    device: 'cpu',
    maxBatchTokens: 4096,
    tokensPerSecond: 0,
    startedAtMs: 1,
  };
}

function registryContract(backends: TestBackends): void {
  test('a worker is listed while it announces itself', async () => {
    const { registry } = await backends.backend();
    assert.deepEqual(await registry.list(), []);
    const first = await registry.announce(() => announcement('w1'));
    const second = await registry.announce(() => announcement('w2'));
    const listed = (await registry.list()).sort((a, b) => a.workerId.localeCompare(b.workerId));
    assert.deepEqual(listed, [announcement('w1'), announcement('w2')]);
    await first.close();
    await first.close();
    assert.deepEqual(await registry.list(), [announcement('w2')]);
    await second.close();
    assert.deepEqual(await registry.list(), []);
  });

  test('a worker that starts is listed apart, until it is there', async () => {
    const { registry } = await backends.backend();
    const starting = { workerId: 'w3', destinations: ['', 'eu'] };
    const announced = await registry.announceStart(starting);
    assert.deepEqual(await registry.listStarting(), [starting]);
    assert.deepEqual(await registry.list(), []);
    await announced.close();
    await announced.close();
    assert.deepEqual(await registry.listStarting(), []);
  });
}
