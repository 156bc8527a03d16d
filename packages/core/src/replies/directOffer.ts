/** A request that goes straight to a server, without the queue's round trips, as long as there are few of them. */

/** Longer tasks take the queue: what is published lies in Redis until its subscriber has read it. */
export const MAX_OFFERED_BYTES = 64 * 1024;
/** A server says that it works on what it was offered once it has for this long; most answers are there before. */
export const CONFIRM_AFTER_MS = 500;
/** An offer that its server has not confirmed after this is doubted. */
const UNCONFIRMED_MS = 2_000;
/** A server whose heartbeat came this long after an offer has survived it, and would have confirmed what it heard. */
const SURVIVED_MS = 2 * CONFIRM_AFTER_MS;
/** For how long a server is offered nothing after it left an offer unconfirmed. It takes from the queue all the same. */
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

/**
 * What became of an offer that its server has not confirmed, by its age and by how long ago the server's last heartbeat
 * was (undefined where it is no longer there). One that ends its server within the time to confirm must not end a second
 * one, and no message says whether it did; heartbeats do, at no cost to the offers that are answered:
 * - `young`: it may still be confirmed;
 * - `doubtful`: the server has not been heard since;
 * - `unheard`: the server lives and knows nothing of it; another may have it;
 * - `gone`: the server died, maybe of it.
 */
export function judgeOffer(
  ageMs: number,
  sinceHeartbeatMs: number | undefined,
): 'young' | 'doubtful' | 'unheard' | 'gone' {
  if (ageMs <= UNCONFIRMED_MS) return 'young';
  if (sinceHeartbeatMs === undefined) return 'gone';
  return ageMs - sinceHeartbeatMs >= SURVIVED_MS ? 'unheard' : 'doubtful';
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
