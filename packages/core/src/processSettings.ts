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
 * glibc 2.35 and later asks Linux for huge pages: a forward pass gets its large arrays anew in each run, and page by
 * page of 4 KiB that is up to a quarter of its processor time. Any other C library ignores it.
 */
const HUGE_PAGES = 'glibc.malloc.hugetlb=1';

/** Whoever has set one of the two in `env` or, for Node, in `execArgv`, keeps what they have set. */
export function processSettings(
  env: Record<string, string | undefined>,
  execArgv: readonly string[] = [],
): ProcessSettings {
  const flags = [...execArgv, env.NODE_OPTIONS ?? ''].join(' ');
  const tunables = env.GLIBC_TUNABLES ?? '';
  return {
    execArgv: /--max[-_]semi[-_]space[-_]size/.test(flags) ? [] : [SEMI_SPACE_FLAG],
    env: {
      ...env,
      GLIBC_TUNABLES: tunables.includes('glibc.malloc.hugetlb=')
        ? tunables
        : [tunables, HUGE_PAGES].filter((part) => part !== '').join(':'),
    },
  };
}
