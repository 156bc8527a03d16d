/** The command lines of the benches. What is wrong with one ends its process with a line and exit code 2. */
import { basename, dirname } from 'node:path';
import { type ParseArgsConfig, parseArgs } from 'node:util';

export type Flags<Defaults extends Record<string, string>> = {
  text: Record<keyof Defaults, string>;
  /** Throws for what is not a number of at least `least`. */
  number: (name: keyof Defaults & string, least?: number) => number;
  /** Comma-separated, as `number`. */
  numbers: (name: keyof Defaults & string, least?: number) => number[];
  /** Comma-separated. */
  list: (name: keyof Defaults & string) => string[];
  /** One of the values, else it throws. */
  choice: <const Value extends string>(name: keyof Defaults & string, values: readonly Value[]) => Value;
};

/** As `parseArgs` of the process's own arguments; what it does not know ends the process. */
export function parseFlags<Config extends ParseArgsConfig>(
  config: Config,
): ReturnType<typeof parseArgs<Config>> {
  return orExit(() => parseArgs(config));
}

/** A number among them. */
export function numberFlag(name: string, text: string, least = 0): number {
  return orExit(() => numberOf(name, text, least));
}

/** Ends the process where `read` throws what a user has to correct. */
export function orExit<T>(read: () => T, advice = ''): T {
  try {
    return read();
  } catch (error) {
    console.error(`${programName()}: ${usageLine((error as Error).message)}${advice}`);
    process.exit(2);
  }
}

/** Without the advice about dashes that parseArgs adds and no flag here needs. */
export function usageLine(message: string): string {
  const [first = ''] = message.split('. To specify a positional argument');
  return first.replace(/\.?$/, '.');
}

/** The script of package.json: `bench:load` for bench/load/main.ts, `bench:quantize-quality` for bench/quantizeQuality.ts. */
function programName(): string {
  const path = process.argv[1] ?? '';
  const file = basename(path, '.ts');
  const name = file === 'main' ? basename(dirname(path)) : file;
  return name === 'chaos'
    ? name
    : `bench:${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/**
 * `--name value` for every name of the defaults. Any other flag, and a value that is asked for and does not fit, ends the
 * process; it throws where `args` are given.
 */
export function readFlags<Defaults extends Record<string, string>>(
  defaults: Defaults,
  args?: readonly string[],
): Flags<Defaults> {
  const checked = <T>(read: () => T): T => (args === undefined ? orExit(read) : read());
  const options = Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => [name, { type: 'string' as const, default: value }]),
  );
  const given = args ?? process.argv.slice(2);
  const text = checked(() => parseArgs({ args: [...given], options }).values) as Record<
    keyof Defaults,
    string
  >;
  const list = (name: keyof Defaults & string) =>
    text[name]
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '');
  return {
    text,
    list,
    number: (name, least = 0) => checked(() => numberOf(name, text[name], least)),
    numbers: (name, least = 0) => checked(() => list(name).map((item) => numberOf(name, item, least))),
    choice: (name, values) =>
      checked(() => {
        const found = values.find((value) => value === text[name]);
        if (found === undefined)
          throw new RangeError(`--${name} must be one of ${values.join(', ')}, not “${text[name]}”.`);
        return found;
      }),
  };
}

function numberOf(name: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < least)
    throw new RangeError(`--${name} must be a number of at least ${least}, not “${text}”.`);
  return value;
}
