import { Type } from 'typebox';
import { OverloadedError } from '../../admission.ts';
import { type ErrorSpeaker, publicMessage } from '../../plugins/errors.ts';
import { peerResponses } from './peer.ts';

const ErrorSchema = Type.Object({ detail: Type.String(), retry_after: Type.Optional(Type.Integer()) });
const STATUSES = [400, 401, 403, 404, 413, 415, 422, 429, 500, 503, 504] as const;

/** Backpressure is 503 here, a rate limit 429; what is out of its limits 422. */
export const smartEmbedderError: ErrorSpeaker = (error) => {
  const { code, retryAfterSeconds } = error;
  const status =
    code === 'invalid_request' || code === 'unknown_output'
      ? 422
      : error instanceof OverloadedError
        ? 503
        : error.status;
  return {
    status,
    body: {
      detail: publicMessage(error),
      ...(status === 429 && { retry_after: retryAfterSeconds ?? 1 }),
    },
  };
};

export const smartEmbedderResponses = <S extends Parameters<typeof peerResponses>[0]>(ok: S) =>
  peerResponses(ok, ErrorSchema, STATUSES);
