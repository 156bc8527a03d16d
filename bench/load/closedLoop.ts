/** Clients that each ask again as soon as they are answered. */
import type { Poster } from './post.ts';

/** One request: `units` texts or documents. */
export interface Call {
  url: string;
  json: string;
  units: number;
}

export interface Sample {
  ms: number;
  units: number;
  /** What came instead of a 2xx: the status and the start of the body, or the network's error. */
  failure?: string;
}

export interface Loop {
  samples: Sample[];
  wallMs: number;
}

const SHOWN_CHARS = 200;

/** Until `requests` were made or `seconds` are over, whichever comes first; what is under way then is waited for. */
export async function closedLoop(
  poster: Poster,
  next: (index: number) => Call,
  {
    clients,
    requests = Number.POSITIVE_INFINITY,
    seconds = Number.POSITIVE_INFINITY,
  }: {
    clients: number;
    requests?: number;
    seconds?: number;
  },
): Promise<Loop> {
  const samples: Sample[] = [];
  const startedAtMs = performance.now();
  let index = 0;
  const client = async () => {
    while (index < requests && performance.now() - startedAtMs < seconds * 1000)
      samples.push(await measure(poster, next(index++)));
  };
  await Promise.all(Array.from({ length: clients }, client));
  return { samples, wallMs: performance.now() - startedAtMs };
}

async function measure(poster: Poster, { url, json, units }: Call): Promise<Sample> {
  const startedAtMs = performance.now();
  try {
    const { status, body } = await poster.post(url, json);
    const ms = performance.now() - startedAtMs;
    if (status >= 200 && status < 300) return { ms, units };
    return { ms, units, failure: `${status} ${body.toString().slice(0, SHOWN_CHARS)}` };
  } catch (error) {
    const failure = error instanceof Error ? error.message : String(error);
    return { ms: performance.now() - startedAtMs, units, failure };
  }
}
