/**
 * `npm run chaos`: real processes are killed in the middle of a job; then every result is compared with the input.
 * Exits 1 when anything was lost, doubled, miscounted or left behind.
 */
import { randomInt } from 'node:crypto';
import { numberFlag, parseFlags } from '../speed/flags.ts';
import type { QdrantChoice } from './qdrant.ts';
import { type ChaosReport, runChaos } from './run.ts';

const { values } = parseFlags({
  options: {
    backend: { type: 'string', default: 'redis' },
    seed: { type: 'string' },
    documents: { type: 'string' },
    kills: { type: 'string' },
    short: { type: 'boolean', default: false },
    logs: { type: 'boolean', default: false },
    destination: { type: 'string' },
    'qdrant-binary': { type: 'string' },
    'qdrant-url': { type: 'string' },
    'qdrant-grpc-url': { type: 'string' },
    grpc: { type: 'boolean', default: false },
  },
});
if (values.backend !== 'redis' && values.backend !== 'embedded') {
  console.error(`--backend is redis or embedded, not ${values.backend}.`);
  process.exit(2);
}
if (values.destination !== undefined && values.destination !== 'qdrant') {
  console.error(`--destination is qdrant, not ${values.destination}.`);
  process.exit(2);
}
const { backend, short } = values;
const seed = numberFlag('seed', values.seed ?? String(randomInt(2 ** 31)));
const documents = numberFlag('documents', values.documents ?? (short ? '3000' : '20000'), 1);
const kills = numberFlag('kills', values.kills ?? (short ? '4' : backend === 'redis' ? '32' : '12'));
const pace = short ? { minGapMs: 300, maxGapMs: 1_500 } : { minGapMs: 500, maxGapMs: 3_000 };

const qdrant = qdrantChoice();

console.log(
  `chaos on ${backend}${qdrant ? ` into Qdrant (${qdrant.kind}, ${qdrant.grpc ? 'gRPC' : 'REST'})` : ''}: seed ${seed}, ${documents} documents, ${kills} kills`,
);
const report = await runChaos({
  backend,
  seed,
  documents,
  kills,
  ...pace,
  maxDownMs: short ? 500 : 1_500,
  ...(qdrant && { qdrant }),
  timeoutMs: short ? 90_000 : 15 * 60_000,
  log: (line) => console.log(line),
});
print(report);
const faults = faultsOf(report);
for (const fault of faults) console.error(`FAULT ${fault}`);
if (faults.length > 0 || values.logs)
  for (const { name, text } of report.logs) console.error(`\n===== ${name}\n${text}`);
console.log(
  faults.length === 0
    ? 'Nothing lost, nothing doubled, nothing left behind.'
    : `${faults.length} faults; again with --backend ${backend} --seed ${seed} --documents ${documents} --kills ${kills}`,
);
process.exitCode = faults.length === 0 ? 0 : 1;

/** The double, unless a real one is named: strangers can run it. */
function qdrantChoice(): QdrantChoice | undefined {
  const { destination, grpc, 'qdrant-binary': path, 'qdrant-url': url, 'qdrant-grpc-url': grpcUrl } = values;
  if (path !== undefined) return { kind: 'binary', path, grpc };
  if (url !== undefined)
    return { kind: 'url', url, grpc: grpcUrl !== undefined, ...(grpcUrl !== undefined && { grpcUrl }) };
  return destination === undefined && !grpc ? undefined : { kind: 'double', grpc };
}

function print({
  jobs,
  kills: done,
  retries,
  unasked,
  faults,
  undisturbedMs,
  disturbedMs,
}: ChaosReport): void {
  const perRole = Map.groupBy(done, ({ role, index }) => `${role} ${index + 1}`);
  console.table(Object.fromEntries([...perRole].map(([who, list]) => [who, { kills: list.length }])));
  console.table(
    jobs.map(({ id, rows, maxDifference, faults }, i) => ({
      job: i === 0 ? 'undisturbed' : `disturbed ${i}`,
      id,
      rows,
      'largest difference': maxDifference,
      faults: faults.length,
    })),
  );
  console.log(
    `${(undisturbedMs / 1000).toFixed(1)} s undisturbed, ${(disturbedMs / 1000).toFixed(1)} s with ${done.length} kills; ` +
      `${retries} requests repeated; ended by themselves: ${unasked.length === 0 ? 'none' : unasked.join(', ')}`,
  );
  if (qdrant !== undefined) console.log(`faults on the way to Qdrant: ${JSON.stringify(faults)}`);
}

function faultsOf({ jobs, leftovers, stuck, kills: done }: ChaosReport): string[] {
  return [
    ...jobs.flatMap(({ id, faults }) => faults.map((fault) => `${id}: ${fault}`)),
    ...leftovers,
    ...stuck.map((process) => `did not end in order: ${process}`),
    ...(done.length < kills ? [`only ${done.length} of ${kills} kills were done`] : []),
  ];
}
