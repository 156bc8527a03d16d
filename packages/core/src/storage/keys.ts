import { TrivecError } from '../errors.ts';

const SEGMENT = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$/;

/** Throws `internal` for a key that could leave the storage: our own code makes keys, so it is our own mistake. */
export function checkKey(key: string): void {
  if (!key.split('/').every((segment) => SEGMENT.test(segment)))
    throw new TrivecError('internal', `Not a storage key: ${JSON.stringify(key)}.`);
}

/** As `checkKey`, for a prefix: keys' segments, each followed by `/`. */
export function checkPrefix(prefix: string): void {
  if (!prefix.endsWith('/'))
    throw new TrivecError('internal', `Not a storage prefix: ${JSON.stringify(prefix)}.`);
  checkKey(prefix.slice(0, -1));
}
