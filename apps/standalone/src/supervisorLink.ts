import { isMainThread } from 'node:worker_threads';

// Preloaded into the process that a supervisor forked. The channel closes when the supervisor dies, however
// it dies: then this process stops as if it had been asked to, so that nothing is left holding DATA_DIR.
if (isMainThread && process.channel !== undefined) {
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  // A listener makes the channel hold the process open; whether it goes on is its own business.
  process.channel.unref();
}
