import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'node:test';
import { Code, ConnectError } from '@connectrpc/connect';
import { isKeyRefused } from '../../../packages/core/src/sinks/qdrant/failure.ts';
import { failureOfGrpc } from '../../../packages/core/src/sinks/qdrant/grpcFailure.ts';
import { GrpcUpserts } from '../../../packages/core/src/sinks/qdrant/grpcUpserts.ts';

const ASKED = { address: 'http://qdrant:6334', timeoutMs: 5000 };

const answered = (code: Code, message = 'why', metadata = {}) =>
  failureOfGrpc(new ConnectError(message, code, metadata), ASKED);

test('codes are judged like the statuses that REST has for them', () => {
  const status = (...codes: Code[]) => codes.map((code) => answered(code).httpStatus);
  assert.deepEqual(
    status(Code.Unavailable, Code.ResourceExhausted, Code.DeadlineExceeded, Code.Aborted, Code.Internal),
    [503, 429, 408, 503, 500],
  );
  assert.deepEqual(
    status(Code.InvalidArgument, Code.NotFound, Code.AlreadyExists, Code.OutOfRange),
    [400, 404, 409, 413],
  );
  for (const code of [Code.Unavailable, Code.ResourceExhausted, Code.DeadlineExceeded, Code.Unimplemented])
    assert.equal(answered(code).code, 'sink_unavailable', Code[code]);
  for (const code of [Code.InvalidArgument, Code.NotFound, Code.Unauthenticated])
    assert.equal(answered(code).code, 'sink_rejected', Code[code]);
  assert.ok(isKeyRefused(answered(Code.Unauthenticated)) && isKeyRefused(answered(Code.PermissionDenied)));
  assert.match(answered(Code.InvalidArgument).message, /^Qdrant answered InvalidArgument \(gRPC\): why$/);
});

test('a wait that is asked for is read; a message that cannot be decoded is not sent again', () => {
  const limited = answered(Code.ResourceExhausted, 'Rate limiting exceeded', { 'retry-after': '37' });
  assert.deepEqual([limited.retryAfterSeconds, limited.overloaded], [37, true]);
  const garbled = answered(
    Code.Internal,
    'failed to decode Protobuf message: UpsertPoints.points: buffer underflow',
  );
  assert.deepEqual([garbled.httpStatus, garbled.retryable], [400, false]);
});

test('the network: retried, and the option is named', () => {
  const cause = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
  const refused = failureOfGrpc(new ConnectError('m', Code.Unavailable, {}, [], cause), ASKED);
  assert.match(refused.message, /http:\/\/qdrant:6334 .*QDRANT_GRPC_URL.*ECONNREFUSED/);
  assert.ok(refused.retryable && !refused.overloaded);
  const late = failureOfGrpc(new ConnectError('the operation timed out', Code.DeadlineExceeded), ASKED);
  assert.match(late.message, /did not answer within 5000 ms/);
  const cut = failureOfGrpc(new ConnectError('http/2 stream closed', Code.Canceled), ASKED);
  assert.match(cut.message, /cannot be reached: http\/2 stream closed\.$/);
  assert.ok(cut.retryable && !cut.overloaded);
});

test('a port that speaks no gRPC is a failure of each request, and nothing else', async (t) => {
  const rest = createServer((_request, response) => response.end('{}')).listen(0, '127.0.0.1');
  t.after(() => rest.close());
  await once(rest, 'listening');
  const url = `http://127.0.0.1:${(rest.address() as AddressInfo).port}`;
  const upserts = new GrpcUpserts({ timeoutMs: 5000, concurrency: 1 }, url);
  t.after(() => upserts.close());
  // The second opens a connection while the first one's is still closing.
  for (let request = 0; request < 3; request++)
    await assert.rejects(upserts.check('x'), {
      code: 'sink_unavailable',
      message: /does not speak gRPC \(ERR_HTTP2_ERROR\)/,
    });
});
