import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { QdrantDouble } from '../support/qdrantDouble.ts';
import { type Answer, EXCHANGES, exchange } from '../support/qdrantExchanges.ts';

const recorded = JSON.parse(
  readFileSync(new URL('../golden/qdrant/answers.json', import.meta.url), 'utf8'),
) as { version: string; answers: Answer[] };

/** Floats to 5 digits; what a parser says of where and why JSON is broken is left out; retrieved points have no order. */
function comparable({ status, body }: Answer): unknown {
  const simple = (value: unknown): unknown => {
    if (typeof value === 'number') return Number.isInteger(value) ? value : Number(value.toFixed(5));
    if (typeof value === 'string')
      return value
        .replace(/ at line \d+ column \d+$/, '')
        .replace(/^(Format error in JSON body): (key must|EOF|Expected|Unexpected).*/, '$1');
    if (Array.isArray(value)) {
      const items = value.map(simple);
      const isRecord = (item: unknown) =>
        typeof item === 'object' && item !== null && 'id' in item && !('score' in item);
      return items.every(isRecord)
        ? items.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
        : items;
    }
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, simple(inner)]));
  };
  return { status, body: simple(body) };
}

async function compare(url: string): Promise<void> {
  assert.equal(recorded.answers.length, EXCHANGES.length, 'record the answers again');
  for (const [i, item] of EXCHANGES.entries()) {
    const answer = await exchange(url, item);
    const label = `${i}: ${item.method} ${item.path} ${item.body?.slice(0, 200) ?? ''}`;
    assert.deepEqual(comparable(answer), comparable(recorded.answers[i]!), label);
  }
}

test(`the double answers as Qdrant ${recorded.version} did`, async (t) => {
  const double = await QdrantDouble.start();
  t.after(() => double.close());
  await compare(double.url);
});

test('a real Qdrant answers as recorded', { skip: !process.env.QDRANT_TEST_URL }, async () => {
  await compare(process.env.QDRANT_TEST_URL!);
});

test('the double refuses what is too large, and a wrong key', async (t) => {
  const double = await QdrantDouble.start({ apiKey: 'secret' });
  t.after(() => double.close());
  const ask = (path: string, body: string | undefined, key = 'secret') =>
    fetch(double.url + path, {
      method: body === undefined ? 'GET' : 'PUT',
      headers: { 'api-key': key, 'content-type': 'application/json' },
      ...(body !== undefined && { body }),
    });
  assert.equal((await ask('/collections', undefined, 'wrong')).status, 401);
  assert.equal((await ask('/', undefined, 'wrong')).status, 200);
  const create = {
    vectors: { c: { size: 1024, distance: 'Cosine', multivector_config: { comparator: 'max_sim' } } },
  };
  assert.equal((await ask('/collections/big', JSON.stringify(create))).status, 200);
  const rows = (count: number) =>
    `[${Array(count)
      .fill(`[${Array(1024).fill('0.5').join(',')}]`)
      .join(',')}]`;
  const points = (vector: string, payload = '{}') =>
    `{"points":[{"id":1,"vector":${vector},"payload":${payload}}]}`;
  const tooMany = await ask('/collections/big/points', points(`{"c":${rows(1024)}}`));
  assert.equal(tooMany.status, 422);
  assert.match(await tooMany.text(), /Total size of all vectors \(1048576\) must be less than 1048576/);
  assert.equal((await ask('/collections/big/points', points(`{"c":${rows(1023)}}`))).status, 200);
  const oversize = await ask('/collections/big/points', points('{}', `{"x":"${'x'.repeat(33 * 2 ** 20)}"}`));
  assert.equal(oversize.status, 400);
  assert.match(await oversize.text(), /is larger than allowed \(limit: 33554432 bytes\)/);
});
