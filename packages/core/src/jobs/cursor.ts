import { createHash } from 'node:crypto';
import { TrivecError } from '../errors.ts';
import type { JobRecord } from './records.ts';

/** A place in a job's results: row `position` of shard `ordinal`. */
export interface ResultPosition {
  ordinal: number;
  position: number;
}

export function encodeCursor(jobId: string, { ordinal, position }: ResultPosition): string {
  return Buffer.from(`${jobId}:${ordinal}:${position}`).toString('base64url');
}

/** Throws `invalid_cursor` for what `encodeCursor` did not make for this job. */
export function decodeCursor(job: JobRecord, cursor: string): ResultPosition {
  const text = cursor.length > 256 ? '' : Buffer.from(cursor, 'base64url').toString('utf8');
  const [, jobId, ordinal, position] = /^([A-Za-z0-9_-]+):(\d{1,15}):(\d{1,15})$/.exec(text) ?? [];
  if (jobId === undefined) throw invalid('cursor is not one that this server gave out.');
  if (jobId !== job.id) throw invalid('cursor belongs to another job.');
  const place = { ordinal: Number(ordinal), position: Number(position) };
  if (place.ordinal > job.shards.total) throw invalid('cursor lies behind the end of the job.');
  return place;
}

/** A place in the list of one owner's jobs (of everyone's, without one): it is no place in any other list. */
export function listCursor(owner: string | undefined, position: string): string {
  return `${listTag(owner)}.${position}`;
}

/** Throws `invalid_cursor` for a cursor of another list. */
export function listPosition(owner: string | undefined, cursor: string): string {
  const at = cursor.indexOf('.');
  if (at === -1) throw invalid('cursor: not one that a list of jobs returned.');
  if (cursor.slice(0, at) !== listTag(owner)) throw invalid('cursor belongs to the list of another API key.');
  return cursor.slice(at + 1);
}

function listTag(owner: string | undefined): string {
  return createHash('sha256')
    .update(JSON.stringify(owner ?? null))
    .digest('base64url')
    .slice(0, 8);
}

function invalid(message: string): TrivecError {
  return new TrivecError('invalid_cursor', message, { param: 'cursor' });
}
