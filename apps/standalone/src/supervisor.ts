import { type ChildProcess, fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { watchParent } from '@trivec/core/npmParent';
import type { ProcessSettings } from '@trivec/core/processSettings';
import { SAME_SIGNAL_MS } from '@trivec/core/shutdown';
import { afterExit, type ChildExit, DEFAULT_POLICY, type RestartPolicy } from './supervisorPolicy.ts';

const LINK = new URL('./supervisorLink.ts', import.meta.url).href;

export interface SuperviseOptions {
  policy?: RestartPolicy;
  /** Of the process; without them it is started with what the supervisor has itself. */
  settings?: ProcessSettings;
  log?: (line: string) => void;
  /** The end of the process that started the supervisor counts as a SIGTERM where none came. */
  endsWithParent?: boolean;
}

/**
 * Runs the module in a process of its own and starts it again when it crashes, as `afterExit` decides.
 * SIGINT and SIGTERM are passed on, and the process may end in order; a second one kills it. Should the
 * supervisor itself be killed, the process gets SIGTERM by itself (supervisorLink.ts).
 * Resolves with the code to exit with.
 */
export async function supervise(entryUrl: URL, options: SuperviseOptions = {}): Promise<number> {
  const policy = options.policy ?? DEFAULT_POLICY;
  const log = options.log ?? ((line: string) => process.stderr.write(`${line}\n`));
  const stop = new AbortController();
  let child: ChildProcess | undefined;
  let firstSignalAtMs = 0;

  const onSignal = (signal: NodeJS.Signals) => {
    if (!stop.signal.aborted) {
      firstSignalAtMs = performance.now();
      stop.abort();
      child?.kill(signal);
    } else if (performance.now() - firstSignalAtMs > SAME_SIGNAL_MS) {
      child?.kill('SIGKILL');
    }
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  const onParentGone = () => {
    if (!stop.signal.aborted) onSignal('SIGTERM');
  };
  const unwatch = options.endsWithParent === true ? watchParent(onParentGone) : undefined;
  try {
    let crashes = 0;
    for (;;) {
      const startedAtMs = performance.now();
      child = start(entryUrl, options.settings);
      const ended = await endOf(child);
      child = undefined;
      const exit: ChildExit = {
        ...ended,
        ranMs: performance.now() - startedAtMs,
        stopRequested: stop.signal.aborted,
      };
      const decision = afterExit(crashes, exit, policy);
      if (decision.action === 'end') {
        if (decision.reason === 'crash_loop') {
          log(`trivec: the server ended ${policy.maxCrashes} times in a row (${how(exit)}); giving up.`);
        }
        return decision.exitCode;
      }
      crashes = decision.crashes;
      log(`trivec: the server ended (${how(exit)}); starting it again in ${decision.delayMs / 1000} s.`);
      await sleep(decision.delayMs, undefined, { signal: stop.signal }).catch(() => undefined);
      if (stop.signal.aborted) return 0;
    }
  } finally {
    unwatch?.();
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

function start(entryUrl: URL, settings: ProcessSettings | undefined): ChildProcess {
  return fork(fileURLToPath(entryUrl), process.argv.slice(2), {
    execArgv: [...process.execArgv, ...(settings?.execArgv ?? []), '--import', LINK],
    ...(settings !== undefined && { env: settings.env }),
    // Its own process group: a terminal's Ctrl-C then reaches the supervisor alone, which passes it on once.
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
}

function endOf(child: ChildProcess): Promise<Pick<ChildExit, 'code' | 'signal'>> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
}

function how({ code, signal }: ChildExit): string {
  return signal === null ? `exit code ${code}` : signal;
}
