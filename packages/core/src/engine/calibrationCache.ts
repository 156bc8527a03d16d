/** What was measured of a model on a machine, kept under DATA_DIR so that the next start need not measure. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Type } from 'typebox';
import { Value } from 'typebox/value';
import type { Timed } from './costModel.ts';

/** What measurements depend on; any of it different, they are taken anew. */
export interface CalibrationKey {
  fingerprint: string;
  device: string;
  /** All that onnxruntime is told, as JSON. */
  session: string;
  onnxruntime: string;
  processor: string;
  maxBulkBatchMs: number;
}

export interface Measurements {
  samples: readonly Timed[];
  /** Of activations; absent where the device's memory is not this process's. */
  bytesPerToken?: number | undefined;
}

const positive = Type.Number({ exclusiveMinimum: 0 });
const FILE = Type.Object({
  key: Type.String(),
  samples: Type.Array(Type.Object({ count: positive, length: positive, ms: positive }), { minItems: 1 }),
  bytesPerToken: Type.Optional(positive),
});

export class CalibrationCache {
  readonly #folder: string;
  readonly #file: string;
  readonly #key: string;

  constructor(dataDir: string, key: CalibrationKey) {
    this.#key = JSON.stringify(Object.entries(key).sort(([a], [b]) => a.localeCompare(b)));
    this.#folder = join(dataDir, 'calibration');
    const name = createHash('sha256').update(this.#key).digest('hex').slice(0, 32);
    this.#file = join(this.#folder, `${name}.json`);
  }

  /** Undefined where there is none, or none that can be believed. */
  async read(): Promise<Measurements | undefined> {
    try {
      const found: unknown = JSON.parse(await readFile(this.#file, 'utf8'));
      if (!Value.Check(FILE, found) || found.key !== this.#key) return undefined;
      const { samples, bytesPerToken } = found;
      return { samples, ...(bytesPerToken !== undefined && { bytesPerToken }) };
    } catch {
      return undefined;
    }
  }

  /** Best effort: where the folder cannot be written, the next start measures again. */
  async write(measurements: Measurements): Promise<void> {
    const draft = `${this.#file}.${randomUUID()}`;
    try {
      await mkdir(this.#folder, { recursive: true });
      await writeFile(draft, JSON.stringify({ key: this.#key, ...measurements }));
      await rename(draft, this.#file);
    } catch {
      await rm(draft, { force: true }).catch(() => undefined);
    }
  }
}
