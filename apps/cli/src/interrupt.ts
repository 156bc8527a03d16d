import { SAME_SIGNAL_MS } from '@trivec/core/shutdown';

/** The first SIGINT or SIGTERM aborts; a later one ends the process at once. `release` stops listening. */
export function onInterrupt(): { signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  let firstAtMs = 0;
  const listener = () => {
    if (!controller.signal.aborted) {
      firstAtMs = performance.now();
      controller.abort();
    } else if (performance.now() - firstAtMs > SAME_SIGNAL_MS) {
      // Not process.exit(): in the middle of a forward pass onnxruntime would abort noisily.
      process.kill(process.pid, 'SIGKILL');
    }
  };
  process.on('SIGINT', listener);
  process.on('SIGTERM', listener);
  return {
    signal: controller.signal,
    release() {
      process.off('SIGINT', listener);
      process.off('SIGTERM', listener);
    },
  };
}
