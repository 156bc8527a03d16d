/**
 * Preloaded (NODE_OPTIONS=--import) into the processes that a bench starts: writes its memory, processor time and
 * event-loop delay to a file of its own twice a second, and each of its threads the size of its heap to another.
 * SIGUSR2 starts the delay's histogram anew.
 */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import { isMainThread, threadId } from 'node:worker_threads';
import type { ProcessFigures } from './service.ts';

const WRITE_MS = 500;
/** The histogram counts the whole time from one sample to the next; what is above it is delay. */
const RESOLUTION_MS = 5;

const folder = process.env.TRIVEC_BENCH_PROBE;
const heapBytes = () => getHeapStatistics().total_physical_size;
const put = (path: string, value: unknown) => {
  writeFileSync(`${path}.new`, JSON.stringify(value));
  renameSync(`${path}.new`, path);
};

if (!isMainThread && folder !== undefined) {
  const path = join(folder, `${process.pid}-${threadId}.heap`);
  put(path, heapBytes());
  setInterval(() => put(path, heapBytes()), WRITE_MS).unref();
  process.on('exit', () => rmSync(path, { force: true }));
}

if (isMainThread && folder !== undefined) {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  process.on('SIGUSR2', () => delay.reset());
  const beyond = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
  const write = () => {
    const { user, system } = process.cpuUsage();
    const figures: ProcessFigures = {
      pid: process.pid,
      program: process.argv[1]?.split('/').slice(-3).join('/') ?? basename(process.execPath),
      rssBytes: process.memoryUsage.rss(),
      v8Bytes: heapBytes(),
      cpuMs: (user + system) / 1000,
      loopDelayP99Ms: beyond(delay.percentile(99)),
      loopDelayMaxMs: beyond(delay.max),
    };
    put(join(folder, `${process.pid}.json`), figures);
  };
  setInterval(write, WRITE_MS).unref();
}
