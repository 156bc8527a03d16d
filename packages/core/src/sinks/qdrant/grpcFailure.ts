import { Code, ConnectError } from '@connectrpc/connect';
import { type Asked, failureOfAnswer, networkFailure, QdrantFailure, timeoutFailure } from './failure.ts';

/** The status that REST answers where gRPC answers this code (qdrant 1.18, `StorageError`; and tonic's own). */
const HTTP_STATUS: Record<Code, number> = {
  [Code.Canceled]: 503,
  [Code.Unknown]: 500,
  [Code.InvalidArgument]: 400,
  [Code.DeadlineExceeded]: 408,
  [Code.NotFound]: 404,
  [Code.AlreadyExists]: 409,
  [Code.PermissionDenied]: 403,
  [Code.ResourceExhausted]: 429,
  [Code.FailedPrecondition]: 500,
  [Code.Aborted]: 503,
  // A message that is too large for a server, or for a proxy before it.
  [Code.OutOfRange]: 413,
  // No Qdrant, or not its gRPC port: an operator can help that, so it is waited for.
  [Code.Unimplemented]: 501,
  [Code.Internal]: 500,
  [Code.Unavailable]: 503,
  [Code.DataLoss]: 500,
  [Code.Unauthenticated]: 401,
};

const WHERE = 'gRPC: QDRANT_GRPC_URL, or grpcUrl of QDRANT_TARGETS';

/** An error of a gRPC call as one of ours, judged like REST's. */
export function failureOfGrpc(error: unknown, { address, timeoutMs }: Asked): QdrantFailure {
  const asked = { address: `${address} (${WHERE})`, timeoutMs };
  const unreachable = (cause: unknown) => networkFailure(cause, asked);
  if (!(error instanceof ConnectError)) return unreachable(error);
  // An answer has no cause; what went wrong on this side of it has one.
  if (error.cause instanceof Error) return unreachable(error.cause);
  if (error.code === Code.DeadlineExceeded && /operation timed out/.test(error.rawMessage))
    return timeoutFailure(asked);
  // Canceled, and by nobody here: the connection is gone.
  if (error.code === Code.Unimplemented || error.code === Code.Canceled) return unreachable(error.rawMessage);
  const undecodable = error.code === Code.Internal && /decode Protobuf/i.test(error.rawMessage);
  const { message, httpStatus, overloaded, retryable, retryAfterSeconds } = failureOfAnswer(
    undecodable ? 400 : HTTP_STATUS[error.code],
    error.rawMessage,
    error.metadata.get('retry-after'),
  );
  return new QdrantFailure({
    message: message.replace(/^Qdrant answered \d+/, `Qdrant answered ${Code[error.code]} (gRPC)`),
    overloaded,
    retryable,
    cause: error,
    ...(httpStatus !== undefined && { httpStatus }),
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  });
}
