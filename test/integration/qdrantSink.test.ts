import assert from 'node:assert/strict';
import { TrivecError } from '../../packages/core/src/errors.ts';
import { collectionRules, planCollection } from '../../packages/core/src/sinks/qdrant/collection.ts';
import type { QdrantDestination } from '../../packages/core/src/sinks/qdrant/destination.ts';
import {
  checkCollection,
  deferIndexing,
  dropReplacement,
  makeCollection,
  movedAway,
  readHnswM,
  replacedBy,
  restoreIndexing,
  swapAlias,
} from '../../packages/core/src/sinks/qdrant/lifecycle.ts';
import { namesFrom, readHits, searchBody } from '../../packages/core/src/sinks/qdrant/search.ts';
import { writeDocuments } from '../../packages/core/src/sinks/qdrant/writer.ts';
import { readAll, testOnQdrant } from '../support/qdrantServers.ts';
import { assertHolds, corpus, DIMS, NAMES, prepared, RULES, target } from '../support/qdrantTarget.ts';
import { qdrantDestination, sinkDocument } from '../support/sinkDocuments.ts';

testOnQdrant(
  'a corpus arrives whole, and writing it again changes nothing',
  async (_t, { connection, collection, url }) => {
    await prepared(connection, collection);
    const documents = corpus(400, (i) => 1 + (i % 7 === 0 ? 2 : 0));
    const points = documents.reduce((sum, { texts }) => sum + texts.length, 0);
    for (let round = 0; round < 2; round++) {
      const report = await writeDocuments(target(connection, collection), documents);
      assert.deepEqual(
        [report.documents, report.points, report.failed, report.retries, report.stalePoints],
        [400, points, [], 0, 0],
      );
      assert.ok(report.bytes > 100_000);
      await assertHolds(url, collection, documents);
    }
  },
  { grpc: true },
);

testOnQdrant(
  'a document with fewer chunks than before loses the old ones',
  async (_t, { connection, collection, url }) => {
    await prepared(connection, collection);
    await writeDocuments(
      target(connection, collection),
      corpus(20, () => 4),
    );
    const keep = await writeDocuments(
      target(connection, collection, { deleteStaleChunks: false }),
      corpus(10, () => 3),
    );
    assert.equal(keep.stalePoints, 0);
    assert.equal((await readAll(url, collection)).size, 80);
    await writeDocuments(
      target(connection, collection),
      corpus(20, () => 4),
    );
    const documents = corpus(20, (i) => 1 + (i % 4));
    const report = await writeDocuments(target(connection, collection), documents);
    assert.equal(report.stalePoints, 80 - report.points);
    await assertHolds(url, collection, documents);
  },
  { grpc: true },
);

testOnQdrant(
  'what Qdrant refuses fails alone',
  async (_t, { connection, collection, url }) => {
    await prepared(connection, collection);
    const documents = corpus(100);
    const bad = { ...sinkDocument('bad', 1, { dims: DIMS + 1, rows: 1 }) };
    const mixed = [...documents.slice(0, 37), bad, ...documents.slice(37)];
    const report = await writeDocuments(target(connection, collection), mixed);
    assert.deepEqual([report.documents, report.points], [100, 100]);
    assert.equal(report.failed.length, 1);
    assert.equal(report.failed[0]!.id, 'bad');
    assert.match(report.failed[0]!.message, /expected dim: 8, got 9/);
    await assertHolds(url, collection, documents);
  },
  { grpc: true },
);

testOnQdrant(
  'two documents that Qdrant would take for one: the second fails',
  async (_t, { connection, collection }) => {
    await prepared(connection, collection);
    const upper = sinkDocument('550E8400-E29B-41D4-A716-446655440000', 1, { dims: DIMS, rows: 1 });
    const lower = sinkDocument('550e8400-e29b-41d4-a716-446655440000', 2, { dims: DIMS, rows: 1 });
    const report = await writeDocuments(target(connection, collection), [upper, lower]);
    assert.equal(report.documents, 1);
    assert.equal(report.failed[0]!.id, lower.id);
  },
);

testOnQdrant(
  'a collection: made, found fitting, refused with both sides',
  async (_t, { connection, collection }) => {
    await prepared(connection, collection);
    const check = (extra: Partial<QdrantDestination>, rules = RULES) =>
      checkCollection(connection, qdrantDestination(collection, extra), rules, 'job-2');
    assert.deepEqual(await check({}), { action: 'use', collection });
    const larger = collectionRules(NAMES, { dense: 16, colbert: DIMS, sparse: true });
    await assert.rejects(check({}, larger), (error: unknown) => {
      assert.ok(error instanceof TrivecError && error.code === 'collection_conflict');
      assert.match(error.message, /the job sends 16 Cosine, the collection has 8 Cosine/);
      return true;
    });
    await assert.rejects(check({ ifExists: 'fail' }), /exists already/);
    // Made by someone else between the check and the making.
    assert.equal(await makeCollection(connection, { action: 'create', collection }, RULES), false);
    await assert.rejects(
      makeCollection(connection, { action: 'create', collection }, larger),
      /made by someone else/,
    );
  },
);

testOnQdrant(
  'an alias is looked up once: it is said where the points are, and where the name leads afterwards',
  async (_t, { connection, collection }) => {
    const [alias, before, after] = [collection, `${collection}-a`, `${collection}-b`];
    for (const name of [before, after])
      await makeCollection(connection, { action: 'create', collection: name }, RULES);
    await connection.setAlias(alias, before);
    const check = (ifExists: 'upsert' | 'fail' | 'replace') =>
      checkCollection(connection, qdrantDestination(alias, { ifExists }), RULES, 'job-1');
    assert.deepEqual(await check('upsert'), { action: 'use', collection: before });
    await assert.rejects(check('fail'), /exists already/);
    assert.equal((await check('replace')).action, 'replace');
    assert.equal(await movedAway(connection, alias, before), undefined);
    assert.equal(await movedAway(connection, before, before), undefined);
    await connection.setAlias(alias, after);
    assert.deepEqual(await check('upsert'), { action: 'use', collection: after });
    const moved = (await movedAway(connection, alias, before)) ?? '';
    assert.ok(
      moved.includes(`wrote to ${before}`) && moved.includes(`${alias} stands for ${after} now`),
      moved,
    );
    await connection.deleteCollection(before);
    await connection.setAlias(before, after);
    const replaced = (await movedAway(connection, before, before)) ?? '';
    assert.ok(replaced.includes(`${before} was replaced by an alias of ${after}`), replaced);
    await connection.deleteCollection(after);
    assert.match((await movedAway(connection, alias, after)) ?? '', /is gone now/);
  },
);

testOnQdrant('indexing is put off and restored', async (_t, { connection, collection }) => {
  await prepared(connection, collection);
  const m = await readHnswM(connection, collection);
  assert.equal(m, 16);
  await deferIndexing(connection, collection);
  assert.equal((await connection.collectionConfig(collection))?.hnsw_config.m, 0);
  await restoreIndexing(connection, collection, m);
  assert.equal((await connection.collectionConfig(collection))?.hnsw_config.m, 16);
});

testOnQdrant(
  'a replacement is built aside and swapped in, each step again harmless',
  async (_t, { connection, collection, url }) => {
    await prepared(connection, collection);
    await writeDocuments(target(connection, collection), corpus(5));
    for (const jobId of ['one', 'two']) {
      const plan = await checkCollection(
        connection,
        qdrantDestination(collection, { ifExists: 'replace' }),
        RULES,
        jobId,
      );
      assert.ok(plan.action === 'replace');
      await makeCollection(connection, plan, RULES);
      await makeCollection(connection, plan, RULES);
      const documents = corpus(jobId === 'one' ? 7 : 3);
      await writeDocuments(target(connection, plan.collection), documents);
      const old = await replacedBy(connection, plan.alias, plan.collection);
      assert.equal(old, jobId === 'one' ? undefined : `${collection}__trivec_one`);
      // As if it had been killed before the old one was deleted.
      await swapAlias(connection, plan.alias, plan.collection);
      assert.equal(await replacedBy(connection, plan.alias, plan.collection), undefined);
      const replaced = old === undefined ? [] : [old];
      await swapAlias(connection, plan.alias, plan.collection, { replaced });
      await swapAlias(connection, plan.alias, plan.collection, { replaced });
      assert.equal(await connection.aliasTarget(collection), plan.collection);
      await assertHolds(url, collection, documents);
    }
    assert.equal(
      await connection.collectionConfig(`${collection}__trivec_one`),
      undefined,
      'the old one is gone',
    );
  },
  { grpc: true },
);

testOnQdrant(
  'replacements swapped in at once: one stands behind the alias, none is left over',
  async (_t, fixture) => {
    const { connection, collection, url } = fixture;
    const plans = ['one', 'two', 'three'].map((jobId) =>
      planCollection({ ...qdrantDestination(collection), ifExists: 'replace' }, RULES, undefined, jobId),
    );
    for (const plan of plans) await makeCollection(connection, plan, RULES);
    await Promise.all(plans.map((plan) => swapAlias(connection, collection, plan.collection)));
    const standing = await connection.aliasTarget(collection);
    // The others' last look may have been before the last swap: the next one is theirs again, after a redelivery.
    for (const plan of plans)
      if (plan.collection !== standing) await dropReplacement(connection, collection, plan.collection);
    await dropReplacement(connection, collection, standing!);
    const { result } = (await (await fetch(`${url}/collections`)).json()) as {
      result: { collections: { name: string }[] };
    };
    const left = result.collections.map(({ name }) => name).filter((name) => name.startsWith(collection));
    assert.deepEqual(left, [standing], 'what stands behind the alias is never dropped');
  },
);

testOnQdrant(
  'hybrid and re-ranked search find what was written',
  async (_t, { connection, collection }) => {
    await prepared(connection, collection);
    const documents = corpus(60);
    await writeDocuments(target(connection, collection), documents);
    const names = namesFrom((await connection.collectionConfig(collection))!);
    assert.deepEqual(names, NAMES);
    const wanted = documents[8]!;
    const vectors = { tokens: 5, ...wanted.texts[0] } as Parameters<typeof searchBody>[0];
    for (const mode of ['hybrid', 'dense', 'sparse', 'rerank'] as const) {
      const search = { mode, limit: 3, filter: { must: [{ key: 'lang', match: { value: 'en' } }] } };
      const points = await connection.query(collection, searchBody(vectors, names, search));
      const hits = readHits(points, search, vectors.colbert!.rows);
      assert.equal(hits.length, 3);
      assert.equal(hits[0]!.id, wanted.id, mode);
      assert.equal(hits[0]!.text, wanted.texts[0]!.text);
      assert.ok(hits.every((hit) => hit.payload.lang === 'en'));
      if (mode === 'dense' || mode === 'rerank')
        assert.ok(Math.abs(hits[0]!.score - 1) < 1e-5, `${mode} ${hits[0]!.score}`);
    }
  },
  { grpc: true },
);
