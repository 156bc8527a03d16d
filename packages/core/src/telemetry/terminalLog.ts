import { styleText } from 'node:util';
import type { DestinationStream } from 'pino';
import { plainLine } from './plainLine.ts';

const INFO = 30;

const LEVELS: Readonly<Record<number, string>> = {
  10: styleText('gray', 'trace'),
  20: styleText('gray', 'debug'),
  30: styleText('green', 'info'),
  40: styleText('yellow', 'warn'),
  50: styleText('red', 'error'),
  60: styleText('red', 'fatal'),
};

/** What every line has, and a person at a terminal has no use for. */
const UNSHOWN = new Set(['level', 'time', 'pid', 'msg', 'err']);

/**
 * Log lines for people: `12:34:56 warn Redis is away reason=…`, an error's stack below. What all goes well says is said in
 * a few words (plainLine.ts), unless `full` asks for every line with all its fields.
 */
export function terminalLog(
  stream: { write(text: string): unknown },
  { full = false }: { full?: boolean } = {},
): DestinationStream {
  return {
    write: (line) => {
      const text = forPeople(line, full);
      if (text !== undefined) stream.write(`${text}\n`);
    },
  };
}

function forPeople(line: string, full: boolean): string | undefined {
  const entry = JSON.parse(line) as Record<string, unknown> & { level: number; time: number; msg?: string };
  const plain = full || entry.level !== INFO ? undefined : plainLine(entry.msg ?? '', entry);
  if (plain === '') return undefined;
  const time = new Date(entry.time).toTimeString().slice(0, 8);
  const fields = plain === undefined ? fieldsOf(entry) : '';
  const { stack } = (entry.err ?? {}) as { stack?: string };
  const head = [
    styleText('gray', time),
    LEVELS[entry.level] ?? entry.level,
    printable(plain ?? entry.msg ?? ''),
  ].join(' ');
  const tail = fields === '' ? '' : ` ${styleText('gray', fields)}`;
  return `${head}${tail}${stack === undefined ? '' : `\n${printable(stack, '\n')}`}`;
}

function fieldsOf(entry: Readonly<Record<string, unknown>>): string {
  return Object.entries(entry)
    .filter(([name]) => !UNSHOWN.has(name))
    .map(([name, value]) => `${name}=${printable(typeof value === 'string' ? value : JSON.stringify(value))}`)
    .join(' ');
}

/** What clients send stands in these lines, too: a terminal would obey their control characters. */
function printable(text: string, allowed = ''): string {
  return text.replace(/\p{Cc}/gu, (char) => (allowed.includes(char) ? char : escapeOf(char)));
}

function escapeOf(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
