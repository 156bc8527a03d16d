import { TrivecError } from '../errors.ts';

/** The refusals and endings that both lanes share, so that a client reads the same on both. */
export const laneErrors = {
  noWorker: () =>
    new TrivecError('model_unavailable', 'No worker with this model is running.', { retryAfterSeconds: 5 }),
  workerGone: () =>
    new TrivecError('model_unavailable', 'The worker went away before it answered; repeat the request.', {
      retryAfterSeconds: 1,
    }),
  deadline: () =>
    new TrivecError('deadline_exceeded', 'The request was not answered in time.', { retryAfterSeconds: 1 }),
  cancelled: () => new TrivecError('cancelled', 'The client left before the answer.'),
  closing: () => new TrivecError('shutting_down', 'The server is stopping.', { retryAfterSeconds: 1 }),
};

/** The longest delay that timers take; longer ones would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export function timerMs(deadlineAtMs: number): number {
  return Math.min(MAX_TIMER_MS, Math.max(0, deadlineAtMs - Date.now()));
}
