import assert from 'node:assert/strict';
import test from 'node:test';
import { TrivecError } from '../../../packages/core/src/errors.ts';
import {
  type CollectionConfig,
  collectionRules,
  createBody,
  mismatches,
  planCollection,
} from '../../../packages/core/src/sinks/qdrant/collection.ts';

const NAMES = { dense: 'dense', sparse: 'sparse', colbert: 'colbert' };
const RULES = collectionRules(NAMES, { dense: 1024, colbert: 1024, sparse: true });
const WANTED = { collection: 'docs', create: true, ifExists: 'upsert' } as const;

function config(params: object): CollectionConfig {
  return { params, hnsw_config: { m: 16 }, optimizer_config: {} } as unknown as CollectionConfig;
}

function conflictOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof TrivecError && error.status === 409, String(error));
    return error.message;
  }
  assert.fail('no conflict');
}

test('a collection is made as BGE-M3 needs it', () => {
  assert.deepEqual(createBody(RULES), {
    vectors: {
      dense: { size: 1024, distance: 'Cosine' },
      colbert: {
        size: 1024,
        distance: 'Cosine',
        multivector_config: { comparator: 'max_sim' },
        hnsw_config: { m: 0 },
      },
    },
    sparse_vectors: { sparse: { index: { on_disk: false } } },
  });
});

test('what was created fits', () => {
  assert.deepEqual(mismatches(RULES, config(createBody(RULES))), []);
});

test('vectors that the job does not send may be there', () => {
  const rules = collectionRules({ dense: 'dense' }, { dense: 1024, sparse: true });
  assert.deepEqual(planCollection(WANTED, rules, config(createBody(RULES)), 'j'), {
    action: 'use',
    collection: 'docs',
  });
});

test('an unnamed vector has the empty name', () => {
  const rules = collectionRules({ dense: '' }, { dense: 384, sparse: true });
  assert.deepEqual(mismatches(rules, config({ vectors: { size: 384, distance: 'Cosine' } })), []);
});

test('a collection that does not fit is a conflict that shows both sides', () => {
  const message = conflictOf(() =>
    planCollection(
      WANTED,
      RULES,
      config({
        vectors: { dense: { size: 384, distance: 'Dot' }, colbert: { size: 1024, distance: 'Cosine' } },
        sparse_vectors: { bm25: { modifier: 'idf' } },
      }),
      'j',
    ),
  );
  assert.match(message, /dense: the job sends 1024 Cosine, the collection has 384 Dot/);
  assert.match(
    message,
    /colbert: the job sends 1024 Cosine multivector max_sim, the collection has 1024 Cosine/,
  );
  assert.match(message, /sparse: the job sends sparse, the collection has no vector of that name/);
  assert.match(message, /bm25: sparse with modifier idf/);
});

test('missing, present, replaced', () => {
  const existing = config(createBody(RULES));
  const plan = (wanted: object, found?: CollectionConfig) =>
    planCollection({ ...WANTED, ...wanted }, RULES, found, 'job7');
  assert.deepEqual(plan({}), { action: 'create', collection: 'docs' });
  assert.match(
    conflictOf(() => plan({ create: false })),
    /does not exist, and destination.create is false/,
  );
  assert.match(
    conflictOf(() => plan({ ifExists: 'fail' }, existing)),
    /exists already/,
  );
  const replacement = { action: 'replace', collection: 'docs__trivec_job7', alias: 'docs' };
  assert.deepEqual(plan({ ifExists: 'replace' }), replacement);
  assert.deepEqual(plan({ ifExists: 'replace' }, config({ vectors: {} })), replacement);
});

test('names must differ, and something must be sent', () => {
  const param = (call: () => unknown) => {
    try {
      call();
    } catch (error) {
      return error instanceof TrivecError ? error.param : undefined;
    }
    return undefined;
  };
  const sizes = { dense: 4, sparse: true };
  assert.equal(
    param(() => collectionRules({ dense: 'a', sparse: 'a' }, sizes)),
    'destination.vectors.sparse',
  );
  assert.equal(
    param(() => collectionRules({ colbert: 'c' }, sizes)),
    'destination.vectors',
  );
});
