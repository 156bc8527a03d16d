import { randomUUID } from 'node:crypto';
import test, { type TestContext } from 'node:test';
import { QdrantConnection, type QdrantServer } from '../../packages/core/src/sinks/qdrant/client.ts';
import { QdrantDouble } from './qdrantDouble.ts';
import { QdrantGrpcDouble } from './qdrantGrpcDouble.ts';

export function connectTo(url: string, overrides: Partial<QdrantServer> = {}): QdrantConnection {
  return new QdrantConnection({
    url,
    timeoutMs: 10_000,
    concurrency: 4,
    retries: 4,
    retryDelayMs: 1,
    ...overrides,
  });
}

export interface QdrantFixture {
  connection: QdrantConnection;
  /** A name that nobody else uses; what is made under it, or under it plus a suffix, is removed afterwards. */
  collection: string;
  url: string;
}

/**
 * The same test on the double, and on the server of QDRANT_TEST_URL when it is set; with `grpc` a second time with
 * upserts by gRPC, on the real server where QDRANT_TEST_GRPC_URL is set.
 */
export function testOnQdrant(
  name: string,
  body: (t: TestContext, fixture: QdrantFixture) => Promise<void>,
  { grpc = false }: { grpc?: boolean } = {},
): void {
  test(`${name} (double)`, async (t) => {
    const double = await QdrantDouble.start();
    await run(t, { url: double.url }, body, () => double.close());
  });
  if (grpc)
    test(`${name} (double, gRPC)`, async (t) => {
      const double = await QdrantDouble.start();
      const port = await QdrantGrpcDouble.start(double);
      await run(t, { url: double.url, grpcUrl: port.url }, body, async () => {
        await port.close();
        await double.close();
      });
    });
  const { QDRANT_TEST_URL: url, QDRANT_TEST_GRPC_URL: grpcUrl } = process.env;
  if (url) test(`${name} (real server)`, (t) => run(t, { url }, body));
  if (url && grpcUrl && grpc) test(`${name} (real server, gRPC)`, (t) => run(t, { url, grpcUrl }, body));
}

async function run(
  t: TestContext,
  { url, grpcUrl }: { url: string; grpcUrl?: string },
  body: (t: TestContext, fixture: QdrantFixture) => Promise<void>,
  close?: () => Promise<void>,
) {
  const collection = `trivec_test_${randomUUID()}`;
  const connection = connectTo(url, { ...(grpcUrl !== undefined && { grpcUrl }) });
  t.after(async () => {
    const { result } = (await (await fetch(`${url}/collections`)).json()) as {
      result: { collections: { name: string }[] };
    };
    for (const { name } of result.collections)
      if (name.startsWith(collection)) await connection.deleteCollection(name);
    await connection.close();
    await close?.();
  });
  await body(t, { connection, collection, url });
}

/** All points with vectors, by the id that trivec gave their document and their place in it. */
export async function readAll(url: string, collection: string): Promise<Map<string, ReadPoint>> {
  const found = new Map<string, ReadPoint>();
  let offset: unknown;
  do {
    const answer = await fetch(`${url}/collections/${collection}/points/scroll`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        limit: 500,
        with_payload: true,
        with_vector: true,
        ...(offset != null && { offset }),
      }),
    });
    const { result } = (await answer.json()) as {
      result: { points: ReadPoint[]; next_page_offset: unknown };
    };
    for (const point of result.points) {
      const { id, point: ordinal } = point.payload.trivec;
      found.set(`${id} ${ordinal}`, point);
    }
    offset = result.next_page_offset;
  } while (offset != null);
  return found;
}

export interface ReadPoint {
  id: number | string;
  payload: Record<string, unknown> & {
    trivec: { id: string; job: string; chunk: number; point: number; points: number };
  };
  vector: {
    dense?: number[];
    sparse?: { indices: number[]; values: number[] };
    colbert?: number[][];
  };
}
