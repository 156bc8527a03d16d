import assert from 'node:assert/strict';
import test from 'node:test';
import { TcpProxy } from '../../bench/tcpProxy.ts';
import { writeDocuments } from '../../packages/core/src/sinks/qdrant/writer.ts';
import { QdrantDouble } from '../support/qdrantDouble.ts';
import { QdrantGrpcDouble } from '../support/qdrantGrpcDouble.ts';
import { connectTo } from '../support/qdrantServers.ts';
import { assertHolds, corpus, prepared, target } from '../support/qdrantTarget.ts';

const TIMEOUT_MS = 400;
/** Pieces of bytes, in either direction, that meet a fault in the middle. */
const BROKEN = [5, 9, 13];

const FAULTS = [
  { kind: 'cut' },
  { kind: 'reset' },
  { kind: 'delay', ms: TIMEOUT_MS / 4 },
  { kind: 'stall', ms: 2 * TIMEOUT_MS },
  // Nobody ever says that such a connection is dead: with fewer attempts than it would live, another must be tried.
  { kind: 'freeze' },
] as const;

test('connections that break in the middle of anything: each document is there once, and right', {
  concurrency: true,
}, async (t) => {
  const runs = (['REST', 'gRPC'] as const).flatMap((way) =>
    FAULTS.map((fault) =>
      t.test(`${fault.kind}, ${way}`, async (t) => {
        const double = await QdrantDouble.start();
        const grpc = await QdrantGrpcDouble.start(double);
        let pieces = 0;
        let met = 0;
        const proxy = await TcpProxy.start(way === 'REST' ? double.url : grpc.url, (bytes) => {
          if (!BROKEN.includes(++pieces)) return undefined;
          met++;
          return { fault, passed: bytes >> 1 };
        });
        const connection = connectTo(way === 'REST' ? proxy.url : double.url, {
          ...(way === 'gRPC' && { grpcUrl: proxy.url }),
          timeoutMs: TIMEOUT_MS,
          retries: 8,
          retryDelayMs: 10,
        });
        const whole = connectTo(double.url);
        t.after(async () => {
          await whole.close();
          await connection.close();
          await proxy.close();
          await grpc.close();
          await double.close();
        });
        await prepared(whole, 'docs');
        const documents = corpus(120);
        const limits = { maxBytes: 20_000, maxPoints: 8 };
        const report = await writeDocuments({ ...target(connection, 'docs'), limits }, documents);
        assert.deepEqual([report.documents, report.failed], [120, []]);
        assert.ok(met > 0);
        await assertHolds(double.url, 'docs', documents);
      }),
    ),
  );
  await Promise.all(runs);
});
