/** Names of settings that no option has: found before somebody wonders why they do nothing. Pure. */
import leven, { closestMatch } from 'leven';
import { nearest } from './nearest.ts';

/** Of docker compose, which reads the same `.env` file. */
const OF_COMPOSE = /^(COMPOSE|DOCKER)_|^QDRANT_(GRPC_)?PORT$/;
const OUR_PREFIX = 'TRIVEC_';
/** Shorter names are near too many that belong to somebody else. */
const MIN_UNMISTAKABLE_CHARS = 11;
const TYPO_DISTANCE = 2;
/** Somewhat shorter ones are meant where a letter is too many, missing, or in its neighbour's place. */
const MIN_NEARLY_UNMISTAKABLE_CHARS = 10;

/**
 * A line for every name in the `.env` file that is not in `known`, with the nearest that is; of the environment, which
 * is full of other programs' names, only for those that can hardly be anything but a slip.
 */
export function unknownSettings(
  known: readonly string[],
  names: { file: readonly string[]; environment: readonly string[] },
): string[] {
  const all = new Set(known);
  const inFile = names.file.filter((name) => !all.has(name) && !OF_COMPOSE.test(name));
  const lines = inFile.map((name) => {
    const near = nearest(unprefixed(name.toUpperCase()), known);
    const advice = near === undefined ? 'docs/configuration.md has them all' : `did you mean ${near}?`;
    return `${name} in .env: unknown; ${advice}`;
  });
  for (const name of names.environment) {
    const meant = all.has(name) || inFile.includes(name) ? undefined : slipOf(name, known);
    if (meant !== undefined) lines.push(`${name}: unknown; did you mean ${meant}?`);
  }
  return lines;
}

function slipOf(name: string, known: readonly string[]): string | undefined {
  if (name.startsWith(OUR_PREFIX) && known.includes(unprefixed(name))) return unprefixed(name);
  const unmistakable = known.filter(
    (one) =>
      one.length >= MIN_UNMISTAKABLE_CHARS ||
      (one.length >= MIN_NEARLY_UNMISTAKABLE_CHARS && isMistyped(name, one)),
  );
  const meant = closestMatch(name, unmistakable, { maxDistance: TYPO_DISTANCE });
  // One of many instead of many, or the other way round, may well be meant for another program: MODEL_FILE, SOURCE_DIR.
  return meant === undefined || singular(meant) === singular(name) ? undefined : meant;
}

function isMistyped(name: string, meant: string): boolean {
  if (name.length === meant.length) return letters(name) === letters(meant);
  return leven(name, meant) === 1;
}

function letters(name: string): string {
  return [...name].sort().join('');
}

function unprefixed(name: string): string {
  return name.startsWith(OUR_PREFIX) ? name.slice(OUR_PREFIX.length) : name;
}

function singular(name: string): string {
  return name.replaceAll('S', '');
}
