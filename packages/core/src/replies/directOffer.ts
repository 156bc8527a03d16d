/** A request that goes straight to a server, without the queue's round trips, as long as there are few of them. */

/** Longer tasks take the queue: what is published lies in Redis until its subscriber has read it. */
export const MAX_OFFERED_BYTES = 64 * 1024;
/** An offer that nobody has confirmed after this is lost, its server's connection having broken: it takes the queue. */
export const UNCONFIRMED_MS = 2_000;
/** A server says that it works on what it was offered once it has for this long; most answers are there before. */
export const CONFIRM_AFTER_MS = 500;

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
