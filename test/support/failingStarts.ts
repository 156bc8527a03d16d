/**
 * Stands in for the inference thread. The model's graph file counts its starts: the first goes well, the second ends at
 * once, the third finds no device, and the others go well where the file says that it heals.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import type { FromThread, ThreadSetup } from '@trivec/core/engine/threadMessages';

const { graphFile } = workerData as ThreadSetup;
const { starts, heals } = JSON.parse(readFileSync(graphFile, 'utf8')) as { starts: number; heals: boolean };
writeFileSync(graphFile, JSON.stringify({ starts: starts + 1, heals }));

if (starts === 0 || (starts > 2 && heals)) await import('./dyingThread.ts');
else if (starts === 2) parentPort!.postMessage({ type: 'unusable', refused: [] } satisfies FromThread);
else process.exit(4);
