import type { TrivecError } from '@trivec/core/errors';
import { Type } from 'typebox';
import { type ErrorSpeaker, publicMessage } from '../../plugins/errors.ts';
import { nullable } from '../../schemas/common.ts';

export const OpenAiErrorSchema = Type.Object({
  error: Type.Object({
    message: Type.String(),
    type: Type.String(),
    param: nullable(Type.String()),
    code: nullable(Type.String()),
  }),
});

export const openAiError: ErrorSpeaker = (error) => ({
  status: error.status,
  body: {
    error: {
      message: publicMessage(error),
      type: typeOf(error),
      param: error.param ?? null,
      code: codeOf(error),
    },
  },
});

function typeOf({ status }: TrivecError): string {
  if (status === 429) return 'rate_limit_error';
  if (status === 401) return 'authentication_error';
  return status < 500 ? 'invalid_request_error' : 'server_error';
}

/** OpenAI's own names where it has one for the case. */
function codeOf({ code }: TrivecError): string {
  if (code === 'unauthorized') return 'invalid_api_key';
  if (code === 'unknown_model') return 'model_not_found';
  if (code === 'rate_limited') return 'rate_limit_exceeded';
  return code;
}
