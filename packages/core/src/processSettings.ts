/** What a server process can only be given when it is started. Pure. */

export interface ProcessSettings {
  /** Flags for Node, beside those the process would have anyway. */
  execArgv: string[];
  /** The whole environment. */
  env: Record<string, string | undefined>;
}

/**
 * Node takes up to 128 MB for the young objects of every thread, in steps that come when they come; 32 are enough here.
 * A semi-space is half of it.
 */
const SEMI_SPACE_FLAG = '--max-semi-space-size=16';

/**
 * What glibc 2.35 and later is told; any other C library ignores it. A forward pass gets its large arrays anew in each
 * run, and page by page of 4 KiB that is up to a quarter of its processor time: huge pages. glibc has them in its main
 * heap and in what it maps array by array, not in the heaps that it makes for further threads, such as the one that runs
 * the model, with its weights: therefore one heap for all.
 */
const TUNABLES = { hugetlb: '1', arena_max: '1' };

/**
 * Whoever has set one of these in `env` (also by glibc's older names, such as MALLOC_ARENA_MAX) or, for Node, in
 * `execArgv`, keeps what they have set.
 */
export function processSettings(
  env: Record<string, string | undefined>,
  execArgv: readonly string[] = [],
): ProcessSettings {
  const flags = [...execArgv, env.NODE_OPTIONS ?? ''].join(' ');
  const set = env.GLIBC_TUNABLES ?? '';
  const added = Object.entries(TUNABLES)
    .filter(([name]) => !set.includes(`glibc.malloc.${name}=`) && !env[`MALLOC_${name.toUpperCase()}`])
    .map(([name, value]) => `glibc.malloc.${name}=${value}`);
  return {
    execArgv: /--max[-_]semi[-_]space[-_]size/.test(flags) ? [] : [SEMI_SPACE_FLAG],
    env: { ...env, GLIBC_TUNABLES: [...(set === '' ? [] : [set]), ...added].join(':') },
  };
}
