import { styleText } from 'node:util';
import type { DestinationStream } from 'pino';

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

/** Log lines for people: `12:34:56 info listening url=http://… backend=embedded`, an error's stack below. */
export function terminalLog(stream: { write(text: string): unknown }): DestinationStream {
  return { write: (line) => void stream.write(`${forPeople(line)}\n`) };
}

function forPeople(line: string): string {
  const entry = JSON.parse(line) as Record<string, unknown> & { level: number; time: number; msg?: string };
  const time = new Date(entry.time).toTimeString().slice(0, 8);
  const fields = Object.entries(entry)
    .filter(([name]) => !UNSHOWN.has(name))
    .map(
      ([name, value]) => `${name}=${printable(typeof value === 'string' ? value : JSON.stringify(value))}`,
    );
  const { stack } = (entry.err ?? {}) as { stack?: string };
  const head = [styleText('gray', time), LEVELS[entry.level] ?? entry.level, printable(entry.msg ?? '')].join(
    ' ',
  );
  const tail = fields.length === 0 ? '' : ` ${styleText('gray', fields.join(' '))}`;
  return `${head}${tail}${stack === undefined ? '' : `\n${printable(stack, '\n')}`}`;
}

/** What clients send stands in these lines, too: a terminal would obey their control characters. */
function printable(text: string, allowed = ''): string {
  return text.replace(/\p{Cc}/gu, (char) => (allowed.includes(char) ? char : escapeOf(char)));
}

function escapeOf(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
