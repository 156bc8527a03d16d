import { setTimeout as sleep } from 'node:timers/promises';

/**
 * A terminal's Ctrl-C goes to all programs of a pipeline. The one that writes into the pipe may end of it, and the pipe
 * with it, before the signal is seen here: it is, within this time.
 */
const SIGNAL_AFTER_END_MS = 200;

export interface InterruptibleUpload {
  /** To be sent. They fail when the signal came before the last of them was sent. */
  lines: AsyncIterable<string>;
  /** For the request. */
  signal: AbortSignal;
  /** From here on the server may make a job of what it has. */
  readonly sentWhole: boolean;
  /** To be called at the end. */
  release(): void;
}

/**
 * An upload that a signal cuts, as long as it is not whole. Once it is, the answer is waited for `answerWaitMs` longer:
 * it tells whether there is a job now. `piped`: the lines come from another program, whose end may be due to the same
 * signal.
 */
export function interruptibleUpload(
  source: AsyncIterable<string>,
  options: { signal: AbortSignal; piped: boolean; answerWaitMs: number },
): InterruptibleUpload {
  const { signal, piped, answerWaitMs } = options;
  const cut = new AbortController();
  let sentWhole = false;
  let timer: NodeJS.Timeout | undefined;
  const onAbort = () => {
    if (sentWhole) timer = setTimeout(() => cut.abort(), answerWaitMs);
    else cut.abort();
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });

  async function* lines(): AsyncGenerator<string> {
    yield* source;
    if (piped) await sleep(SIGNAL_AFTER_END_MS, undefined, { signal });
    signal.throwIfAborted();
    sentWhole = true;
  }
  return {
    lines: lines(),
    signal: cut.signal,
    get sentWhole() {
      return sentWhole;
    },
    release() {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    },
  };
}
