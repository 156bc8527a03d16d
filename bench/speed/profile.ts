/** Where the time of a thread went, from a profile that Node wrote (--cpu-prof). Pure. */

export interface CpuProfile {
  nodes: {
    id: number;
    callFrame: { functionName: string; url: string };
    children?: readonly number[];
  }[];
  /** Microseconds of the system's monotonic clock, as of `process.hrtime`. */
  startTime: number;
  samples: readonly number[];
  timeDeltas: readonly number[];
}

/** The innermost frame of a sample that matches one of these tells what it was doing. */
const AREAS: readonly (readonly [pattern: RegExp, area: string])[] = [
  [/onnxruntime-/, 'forward pass (onnxruntime)'],
  [/engine\/feeds|engine\/finishBatch|vectors\/heads/, 'before and after the pass'],
  [/vectors\/(arrow|resultColumns)|apache-arrow/, 'results as Arrow'],
  [/models\/tokenizer|node_modules\/tokenizers|@huggingface\/tokenizers/, 'handing texts to the tokenizer'],
  [/core\/src\/engine\//, 'scheduler and packing'],
  [/core\/src\/storage\//, 'storage'],
  [/core\/src\/(backend|ledger|queue|registry)\/|bullmq|pglite|ioredis|redis-parser/, 'queue and ledger'],
  [/core\/src\/jobs\//, 'intake and shards'],
  [/apps\/api\/|fastify|find-my-way|light-my-request/, 'HTTP'],
];

const OTHER = 'other';

/** Milliseconds by area between two times of the profile's clock; what waits is `idle`. */
export function timeByArea(profile: CpuProfile, fromUs: number, toUs: number): Map<string, number> {
  const areas = areasOfNodes(profile);
  const sums = new Map<string, number>();
  let atUs = profile.startTime;
  for (const [i, node] of profile.samples.entries()) {
    // A delta leads from the sample before to this one: the time is the sample's before.
    const before = i === 0 ? node : profile.samples[i - 1]!;
    const from = atUs;
    atUs += profile.timeDeltas[i]!;
    const ms = (Math.min(atUs, toUs) - Math.max(from, fromUs)) / 1000;
    if (ms <= 0) continue;
    const area = areas.get(before) ?? OTHER;
    sums.set(area, (sums.get(area) ?? 0) + ms);
  }
  return sums;
}

function areasOfNodes({ nodes }: CpuProfile): Map<number, string> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const areas = new Map<number, string>();
  const root = nodes[0];
  const open = root === undefined ? [] : [{ node: root, above: OTHER }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const area = areaOf(next.node.callFrame) ?? next.above;
    areas.set(next.node.id, area);
    for (const child of next.node.children ?? []) open.push({ node: byId.get(child)!, above: area });
  }
  return areas;
}

function areaOf({ functionName, url }: { functionName: string; url: string }): string | undefined {
  if (functionName === '(idle)') return 'idle';
  if (functionName === '(garbage collector)') return 'garbage collection';
  return AREAS.find(([pattern]) => pattern.test(url))?.[1];
}

/** Which of a server's threads a profile is of. */
export function threadOf({ nodes }: CpuProfile): string {
  const has = (part: string) => nodes.some(({ callFrame }) => callFrame.url.includes(part));
  if (has('engine/inferenceThread')) return 'inference';
  if (has('backend/embeddedPostgresThread')) return 'embedded Postgres';
  if (has('jobs/sinkWriterThread')) return 'sink writer';
  return has('standalone/src/serverProcess') ? 'main' : 'another';
}
