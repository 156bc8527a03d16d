import type { TrivecError } from '@trivec/core/errors';
import { type TSchema, Type } from 'typebox';
import { type ErrorSpeaker, publicMessage } from '../../plugins/errors.ts';
import { peerResponses } from './peer.ts';

const TeiErrorSchema = Type.Object({ error: Type.String(), error_type: Type.String() });
export const TeiOpenAiErrorSchema = Type.Object({
  message: Type.String(),
  code: Type.Integer(),
  type: Type.String(),
});
export const TEI_STATUSES = [400, 403, 404, 413, 415, 422, 424, 429, 499, 503] as const;

interface Spoken {
  status: number;
  type: string;
}

/** TEI's few kinds of error, and their statuses. */
function spoken({ code, status }: TrivecError): Spoken {
  if (code === 'empty_input') return { status: 400, type: 'Empty' };
  if (code === 'tokenizer_failed') return { status: 422, type: 'Tokenizer' };
  if (code === 'model_failed' || code === 'internal') return { status: 424, type: 'Backend' };
  if (status === 429 || code === 'deadline_exceeded') return { status: 429, type: 'Overloaded' };
  if (status >= 500) return { status: 503, type: 'Unhealthy' };
  const isValidation = code === 'invalid_request' || code === 'unknown_output';
  return { status: isValidation ? 422 : status, type: 'Validation' };
}

/** A wrong key is answered without a body. */
export const teiError: ErrorSpeaker = (error) => {
  if (error.code === 'unauthorized') return { status: 401 };
  const { status, type } = spoken(error);
  return { status, body: { error: publicMessage(error), error_type: type } };
};

export const teiOpenAiError: ErrorSpeaker = (error) => {
  if (error.code === 'unauthorized') return { status: 401 };
  const { status, type } = spoken(error);
  return { status, body: { message: publicMessage(error), code: status, type } };
};

export const teiResponses = <S extends TSchema>(ok: S) => ({
  ...peerResponses(ok, TeiErrorSchema, TEI_STATUSES),
  401: Type.Null({ description: 'Without a body.' }),
});
