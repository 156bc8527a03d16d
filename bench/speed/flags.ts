/** Flags of the speed benches. Pure. */
import { parseArgs } from 'node:util';

export type Flags<Defaults extends Record<string, string>> = {
  text: Record<keyof Defaults, string>;
  /** Throws for what is not a number of at least `least`. */
  number: (name: keyof Defaults & string, least?: number) => number;
  /** Comma-separated. */
  list: (name: keyof Defaults & string) => string[];
  /** One of the values, else it throws. */
  choice: <const Value extends string>(name: keyof Defaults & string, values: readonly Value[]) => Value;
};

/** `--name value` for every name of the defaults; any other flag throws. */
export function readFlags<Defaults extends Record<string, string>>(
  defaults: Defaults,
  args: readonly string[] = process.argv.slice(2),
): Flags<Defaults> {
  const options = Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => [name, { type: 'string' as const, default: value }]),
  );
  const text = parseArgs({ args: [...args], options }).values as Record<keyof Defaults, string>;
  const list = (name: keyof Defaults & string) =>
    text[name]
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '');
  return {
    text,
    list,
    number: (name, least = 0) => {
      const value = Number(text[name]);
      if (text[name].trim() === '' || !Number.isFinite(value) || value < least)
        throw new RangeError(`--${name} must be a number of at least ${least}, not “${text[name]}”.`);
      return value;
    },
    choice: (name, values) => {
      const found = values.find((value) => value === text[name]);
      if (found === undefined)
        throw new RangeError(`--${name} must be one of ${values.join(', ')}, not “${text[name]}”.`);
      return found;
    },
  };
}
