import { closestMatch } from 'leven';

/** A wrong name is near to a right one with at most so many letters wrong. */
const MAX_DISTANCE = 4;

/** What was probably meant by `name`, whatever its case: a third of its letters (rounded up) may be wrong. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const byLowerCase = new Map(known.map((one) => [one.toLowerCase(), one]));
  const asked = name.toLowerCase();
  const exact = byLowerCase.get(asked);
  const maxDistance = Math.min(MAX_DISTANCE, Math.ceil(asked.length / 3));
  if (exact !== undefined || asked === '') return exact;
  const match = closestMatch(asked, [...byLowerCase.keys()], { maxDistance });
  return match === undefined ? undefined : byLowerCase.get(match);
}
