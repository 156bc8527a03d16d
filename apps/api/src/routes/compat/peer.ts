import { STATUS_CODES } from 'node:http';
import { type TSchema, Type } from 'typebox';
import { jsonResponse } from '../../schemas/common.ts';

/** The success of a peer's route, and its error body at each status that it can answer. */
export function peerResponses<S extends TSchema>(
  ok: S,
  error: TSchema,
  statuses: readonly number[],
): { 200: S } {
  return {
    200: ok,
    ...Object.fromEntries(
      statuses.map((status) => [status, jsonResponse(STATUS_CODES[status] ?? String(status), error)]),
    ),
  };
}

/** What TEI and its like call the end that is cut. */
export const DirectionSchema = Type.Optional(Type.Enum(['Right', 'Left', 'right', 'left']));

export function direction(given: string | undefined): 'right' | 'left' | undefined {
  return given === undefined ? undefined : given.toLowerCase() === 'left' ? 'left' : 'right';
}
