/** What npm tells a script that it runs. */
export interface NpmCall {
  /** `trivec` under `npm run trivec`; `npx` under npx. */
  script: string | undefined;
  /** npm has a --dry-run of its own, which it takes wherever no `--` stands before it. */
  dryRun: boolean;
}

const EITHER = 'Write `npm run trivec -- embed … --dry-run`, or `npx trivec embed … --dry-run`.';

/** Why a command line must not run: npm kept the --dry-run that was meant for it. Pure. */
export function swallowedDryRun(args: readonly string[], npm: NpmCall | undefined): string | undefined {
  if (npm?.script !== 'trivec' || !npm.dryRun || args.includes('--dry-run')) return undefined;
  return `npm has taken --dry-run for itself. ${EITHER}`;
}

/** What to add to an error of the command line: npm drops the names of options and passes their values on. Pure. */
export function npmHint(error: string, npm: NpmCall | undefined): string {
  if (npm?.script !== 'trivec' || !error.startsWith('error: too many arguments')) return '';
  return 'npm keeps options that have no -- before them. Write `npm run trivec -- …`, or `npx trivec …`.\n';
}
