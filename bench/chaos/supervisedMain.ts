import { supervise } from '@trivec/standalone/supervisor';
import { DEFAULT_POLICY } from '@trivec/standalone/supervisorPolicy';

// What `npm start` runs, with more patience: here the crashes are the purpose.
process.exitCode = await supervise(new URL(import.meta.resolve('@trivec/standalone/serverProcess')), {
  policy: { ...DEFAULT_POLICY, firstDelayMs: 100, maxDelayMs: 100, maxCrashes: Number.POSITIVE_INFINITY },
});
