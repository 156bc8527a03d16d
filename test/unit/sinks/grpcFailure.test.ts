import assert from 'node:assert/strict';
import test from 'node:test';
import { Code, ConnectError } from '@connectrpc/connect';
import { isKeyRefused } from '../../../packages/core/src/sinks/qdrant/failure.ts';
import { failureOfGrpc } from '../../../packages/core/src/sinks/qdrant/grpcFailure.ts';

const answered = (code: Code, message = 'why', metadata = {}) =>
  failureOfGrpc(new ConnectError(message, code, metadata), 5000);

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
  const refused = failureOfGrpc(new ConnectError('m', Code.Unavailable, {}, [], cause), 5000);
  assert.match(refused.message, /QDRANT_GRPC_URL.*ECONNREFUSED/);
  assert.ok(refused.retryable && !refused.overloaded);
  const late = failureOfGrpc(new ConnectError('the operation timed out', Code.DeadlineExceeded), 5000);
  assert.match(late.message, /did not answer within 5000 ms/);
});
