/** A request that goes straight to a server, without the queue's round trips, as long as there are few of them. */

/** Longer tasks take the queue: what is published lies in Redis until its subscriber has read it. */
export const MAX_OFFERED_BYTES = 64 * 1024;
/** An offer that is not answered within this is taken back, unless its server has taken it. */
export const TAKE_BACK_AFTER_MS = 1_000;
/** For how long a server is offered nothing after it left an offer unread. It takes from the queue all the same. */
export const AVOIDED_MS = 30_000;

/** Of this process in one server at a time. Beyond, whichever server has room first takes it from the queue. */
const OFFERS_PER_SERVER = 8;

/**
 * The open server with the fewest requests of this process, by the servers of those under way (undefined for one in the
 * queue). None where all have enough, or where somebody waits in the queue already: nobody overtakes.
 */
export function chooseServer(
  open: readonly string[],
  underWay: Iterable<string | undefined>,
): string | undefined {
  const counts = new Map(open.map((server) => [server, 0]));
  for (const server of underWay) {
    if (server === undefined) return undefined;
    const count = counts.get(server);
    if (count !== undefined) counts.set(server, count + 1);
  }
  let best: string | undefined;
  let least = OFFERS_PER_SERVER;
  for (const [server, count] of counts) {
    if (count >= least) continue;
    best = server;
    least = count;
  }
  return best;
}

/** The open servers without those that are avoided at `nowMs`. */
export function withoutAvoided(
  open: readonly string[],
  avoidedUntilMs: ReadonlyMap<string, number>,
  nowMs: number,
): readonly string[] {
  if (avoidedUntilMs.size === 0) return open;
  return open.filter((server) => (avoidedUntilMs.get(server) ?? 0) <= nowMs);
}
