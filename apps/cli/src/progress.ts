import cliProgress from 'cli-progress';
import { formatCount } from './format.ts';

/** What goes on, as one bar on a terminal, or as a line every two seconds where output is kept (CI, a file). */
export interface Progress {
  /** `done` and `total` in the unit of the label; `note` says the rest. */
  update(done: number, note: string): void;
  /** Leaves the last state on the screen. */
  stop(): void;
}

export interface ProgressOptions {
  label: string;
  /** The state in the thing's own unit. */
  show: (done: number) => string;
  /** Undefined where nobody knows: then there is no bar and no percentage. */
  total: number | undefined;
  stream?: NodeJS.WriteStream;
  /** Between two lines where there is no terminal. */
  lineIntervalMs?: number;
}

export function openProgress(options: ProgressOptions): Progress {
  const stream = options.stream ?? process.stderr;
  return stream.isTTY ? bar(options, stream) : lines(options, stream);
}

export function showDocuments(total: number): (done: number) => string {
  return (done) => `${formatCount(done)}/${formatCount(total)} documents`;
}

function bar({ label, show, total }: ProgressOptions, stream: NodeJS.WriteStream): Progress {
  const single = new cliProgress.SingleBar(
    {
      format: total === undefined ? `${label} {shown} {note}` : `${label} {bar} {percentage}% {shown} {note}`,
      barsize: 24,
      hideCursor: true,
      // Ctrl-C is the command's own business; it calls stop().
      gracefulExit: false,
      stream,
    },
    cliProgress.Presets.shades_classic,
  );
  single.start(Math.max(1, total ?? 1), 0, { shown: show(0), note: '' });
  return {
    update(done, note) {
      single.update(total === undefined ? 0 : Math.min(done, total), {
        shown: show(done),
        note: note === '' ? '' : `· ${note}`,
      });
    },
    stop() {
      single.stop();
    },
  };
}

function lines(options: ProgressOptions, stream: NodeJS.WriteStream): Progress {
  const { label, show, total, lineIntervalMs = 2000 } = options;
  let shownAtMs = Number.NEGATIVE_INFINITY;
  let allDoneAtMs: number | undefined;
  let last = '';
  /** What of a line is news: a rate alone is none. */
  let news = '';
  let shownNews: string | undefined;
  let shown = '';
  const print = () => {
    if (last === shown) return;
    shown = last;
    shownNews = news;
    shownAtMs = performance.now();
    stream.write(`${last}\n`);
  };
  return {
    update(done, note) {
      const parts = [label, percentOf(done, total), show(done)].filter((part) => part !== '');
      last = `${parts.join(' ')}${note === '' ? '' : ` · ${note}`}`;
      news = `${done} ${note.replaceAll(/\d[\d.,]*/g, '')}`;
      const nowMs = performance.now();
      if (total !== undefined && done >= total) allDoneAtMs ??= nowMs;
      // What usually follows at once is the end, which has a line of its own.
      const isEnding = allDoneAtMs !== undefined && nowMs - allDoneAtMs < lineIntervalMs;
      if (news !== shownNews && !isEnding && nowMs - shownAtMs >= lineIntervalMs) print();
    },
    stop: print,
  };
}

function percentOf(done: number, total: number | undefined): string {
  if (total === undefined) return '';
  return `${total === 0 ? 100 : Math.floor((Math.min(done, total) / total) * 100)}%`;
}
