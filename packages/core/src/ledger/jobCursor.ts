import { TrivecError } from '../errors.ts';

/** Jobs are listed newest first, by creation time and, where that is equal, by id. */
export interface JobPosition {
  createdAtMs: number;
  id: string;
}

const CREATED_DIGITS = 15;

/** A string that sorts as the position does, in any comparison by bytes. */
export function sortKey({ createdAtMs, id }: JobPosition): string {
  return `${String(createdAtMs).padStart(CREATED_DIGITS, '0')}.${id}`;
}

export function positionOf(key: string): JobPosition | undefined {
  const match = /^(\d{15})\.(.+)$/s.exec(key);
  return match ? { createdAtMs: Number(match[1]), id: match[2]! } : undefined;
}

export function encodeCursor(position: JobPosition): string {
  return Buffer.from(sortKey(position)).toString('base64url');
}

/** Throws `invalid_cursor` for anything that `encodeCursor` did not make. */
export function decodeCursor(cursor: string): JobPosition {
  const position = positionOf(Buffer.from(cursor, 'base64url').toString());
  if (!position) {
    throw new TrivecError('invalid_cursor', 'cursor: not one that a list of jobs returned.', {
      param: 'cursor',
    });
  }
  return position;
}

/** Something is still to be done: also for an ended job whose destination must be put in order, or whose webhook is to be told. */
export function isOpen(job: {
  status: string;
  sink?: { finished: boolean };
  webhook?: { delivery?: { state: string } };
}): boolean {
  if (job.status === 'queued' || job.status === 'running' || job.status === 'paused') return true;
  if (job.webhook?.delivery?.state === 'pending') return true;
  return job.sink !== undefined && !job.sink.finished;
}
