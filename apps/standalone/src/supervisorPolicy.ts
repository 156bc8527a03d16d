/** How a process ended: by itself with a code, or by a signal. */
export interface ChildExit {
  code: number | null;
  signal: NodeJS.Signals | null;
  ranMs: number;
  /** Somebody asked the supervisor to stop before the process ended. */
  stopRequested: boolean;
}

export interface RestartPolicy {
  firstDelayMs: number;
  maxDelayMs: number;
  /** This many crashes in a row, none after a healthy run, and the supervisor gives up. */
  maxCrashes: number;
  /** A process that ran this long was healthy: its crash counts as the first again. */
  healthyMs: number;
}

export const DEFAULT_POLICY: RestartPolicy = {
  firstDelayMs: 500,
  maxDelayMs: 30_000,
  // A document that kills the process takes four crashes to be convicted, and two of them may come together.
  maxCrashes: 12,
  healthyMs: 60_000,
};

export type RestartDecision =
  | { action: 'end'; exitCode: number; reason: 'stopped' | 'invalid_config' | 'crash_loop' }
  | { action: 'restart'; delayMs: number; crashes: number };

/** The exit code of a process that another start would end in just the same way, such as a bad option. */
const CONFIG_EXIT_CODE = 2;

/**
 * What follows the end of the process. `crashes` counts those in a row before this one.
 * The delay doubles from `firstDelayMs` with each crash in a row, up to `maxDelayMs`.
 */
export function afterExit(
  crashes: number,
  exit: ChildExit,
  policy: RestartPolicy = DEFAULT_POLICY,
): RestartDecision {
  if (exit.stopRequested) {
    // Stopped while it was still loading, before it could listen for signals: as asked, and nothing is lost.
    const wasAskedTo = exit.signal === 'SIGINT' || exit.signal === 'SIGTERM';
    return { action: 'end', exitCode: exit.code ?? (wasAskedTo ? 0 : 1), reason: 'stopped' };
  }
  if (exit.code === 0) return { action: 'end', exitCode: 0, reason: 'stopped' };
  // With these options it has run before: somebody may hold its folder for a moment, or a disk be away.
  if (exit.code === CONFIG_EXIT_CODE && crashes === 0) {
    return { action: 'end', exitCode: CONFIG_EXIT_CODE, reason: 'invalid_config' };
  }
  const inARow = (exit.ranMs >= policy.healthyMs ? 0 : crashes) + 1;
  if (inARow >= policy.maxCrashes) {
    return { action: 'end', exitCode: exit.code ?? 1, reason: 'crash_loop' };
  }
  const delayMs = Math.min(policy.maxDelayMs, policy.firstDelayMs * 2 ** (inARow - 1));
  return { action: 'restart', delayMs, crashes: inARow };
}
