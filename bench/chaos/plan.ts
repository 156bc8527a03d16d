const ROLES = ['api', 'worker', 'redis', 'server', 'qdrant'] as const;
export type Role = (typeof ROLES)[number];

export interface Kill {
  /** Since the kill before, or since the start. */
  afterMs: number;
  role: Role;
  /** Which of several processes of that role. */
  index: number;
  /** How long it stays dead. */
  downMs: number;
}

/** Which processes there are, and how many of each. */
export type Cast = Partial<Record<Role, number>>;

export interface PlanOptions {
  seed: number;
  kills: number;
  cast: Cast;
  minGapMs: number;
  maxGapMs: number;
  maxDownMs: number;
}

/** Numbers in [0, 1) that a seed determines (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The same kills for the same seed. Every process of the cast is killed before one is killed much more often. */
export function planKills({ seed, kills, cast, minGapMs, maxGapMs, maxDownMs }: PlanOptions): Kill[] {
  const random = seededRandom(seed);
  const between = (low: number, high: number) => Math.round(low + random() * (high - low));
  const everyone = Object.entries(cast).flatMap(([role, count]) =>
    Array.from({ length: count }, (_, index) => ({ role: role as Role, index })),
  );
  let round: typeof everyone = [];
  return Array.from({ length: kills }, () => {
    if (round.length === 0) round = [...everyone];
    const [target] = round.splice(Math.floor(random() * round.length), 1);
    return { ...target!, afterMs: between(minGapMs, maxGapMs), downMs: between(0, maxDownMs) };
  });
}
