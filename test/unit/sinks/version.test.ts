import assert from 'node:assert/strict';
import test from 'node:test';
import { TrivecError } from '../../../packages/core/src/errors.ts';
import { collectionRules } from '../../../packages/core/src/sinks/qdrant/collection.ts';
import { requireVersion } from '../../../packages/core/src/sinks/qdrant/version.ts';

const NAMES = { dense: 'dense', sparse: 'sparse', colbert: 'colbert' };
const DENSE = collectionRules(NAMES, { dense: 8, sparse: false });
const HYBRID = collectionRules(NAMES, { dense: 8, sparse: true });
const ALL = collectionRules(NAMES, { dense: 8, sparse: true, colbert: 8 });

const SERVER = { description: 'http://qdrant:6333', grpc: false };
const BY_GRPC = { ...SERVER, grpc: true };

test('a server that is too old for what is sent is refused, with both versions', () => {
  for (const [version, rules, server, needed] of [
    ['0.9.1', DENSE, SERVER, '0.10.0'],
    ['1.6.1', HYBRID, SERVER, '1.7.0'],
    ['1.9.7', ALL, SERVER, '1.10.0'],
    ['v1.9', ALL, SERVER, '1.10.0'],
    ['1.12.1', DENSE, BY_GRPC, '1.12.2'],
    ['1.9.7', ALL, BY_GRPC, '1.10.0'],
  ] as const)
    assert.throws(
      () => requireVersion(version, rules, server),
      (error: unknown) =>
        error instanceof TrivecError &&
        error.code === 'invalid_request' &&
        error.message.includes(`the Qdrant at http://qdrant:6333 is ${version};`) &&
        error.message.includes(` came with ${needed}.`),
      version,
    );
});

test('one that is new enough, or does not say, is not', () => {
  for (const version of ['1.12.2', '1.13.0', '1.18.3', '1.19.0-dev', '2.0.0', 'dev', '', undefined])
    requireVersion(version, ALL, BY_GRPC);
  requireVersion('1.10.0', ALL, SERVER);
  requireVersion('1.7.4', HYBRID, SERVER);
  requireVersion('1.0.0', DENSE, SERVER);
});
