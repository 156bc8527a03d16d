import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/**
 * Cores for one forward pass: physical ones (two threads on one core compete for the same multipliers), within
 * the processors this process may use and the container's CPU limit.
 */
export function countCores(read: (path: string) => string | undefined = readText): number {
  const allowed = availableParallelism();
  const limits = [allowed, physicalCores(read('/proc/cpuinfo')), cgroupCores(read)].filter(
    (limit) => limit !== undefined,
  );
  return Math.max(1, Math.floor(Math.min(...limits)));
}

/** Distinct (socket, core) pairs of Linux's /proc/cpuinfo; undefined where it doesn't say. */
export function physicalCores(cpuinfo: string | undefined): number | undefined {
  const cores = new Set<string>();
  for (const block of cpuinfo?.split('\n\n') ?? []) {
    const socket = /^physical id\s*:\s*(\d+)/m.exec(block)?.[1];
    const core = /^core id\s*:\s*(\d+)/m.exec(block)?.[1];
    if (socket !== undefined && core !== undefined) cores.add(`${socket}:${core}`);
  }
  return cores.size === 0 ? undefined : cores.size;
}

/** The CPU limit of the cgroup this process is in (v2, else v1), as seen from inside a container. */
export function cgroupCores(read: (path: string) => string | undefined): number | undefined {
  const [quota, period] = read('/sys/fs/cgroup/cpu.max')?.trim().split(' ') ?? [
    read('/sys/fs/cgroup/cpu/cpu.cfs_quota_us')?.trim(),
    read('/sys/fs/cgroup/cpu/cpu.cfs_period_us')?.trim(),
  ];
  const cores = Number(quota) / Number(period);
  return Number.isFinite(cores) && cores > 0 ? cores : undefined;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
