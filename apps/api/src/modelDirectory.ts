import { basename } from 'node:path';
import { TrivecError } from '@trivec/core/errors';
import type { ModelInfo } from '@trivec/core/models/modelInfo';
import type { FailedModel, WorkerAnnouncement, WorkerRegistry } from '@trivec/core/registry/workerRegistry';

/** A heartbeat comes every few seconds: a list this old is as good as a new one. */
const REGISTRY_CACHE_MS = 250;

export interface ServedModel {
  model: ModelInfo;
  /** The one a request gets that names none. */
  isDefault: boolean;
  /** Those of this fingerprint, the newest first. */
  workers: WorkerAnnouncement[];
}

/**
 * Names to fingerprints, from what the workers say. While two fingerprints of one model are alive (a rolling
 * upgrade), a new request goes to the one of the newest worker.
 */
export class ModelDirectory {
  readonly #registry: Pick<WorkerRegistry, 'list'>;
  readonly #configured: string;
  readonly #cacheMs: number;
  /** What clients may call a model, and its name. */
  readonly #aliases: ReadonlyMap<string, string>;
  #cached: { workers: Promise<WorkerAnnouncement[]>; readAtMs: number } | undefined;
  /** The last list that was read: what admission goes by, without a wait. */
  #lastWorkers: readonly WorkerAnnouncement[] = [];

  /** `cacheMs`: for how long a list of workers is believed. `aliases`: as MODEL_ALIASES has them. */
  constructor(
    registry: Pick<WorkerRegistry, 'list'>,
    configured: string,
    {
      cacheMs = REGISTRY_CACHE_MS,
      aliases = [],
    }: { cacheMs?: number | undefined; aliases?: readonly string[] } = {},
  ) {
    this.#registry = registry;
    this.#configured = configured;
    this.#cacheMs = cacheMs;
    this.#aliases = new Map(aliases.map((one) => one.split('=', 2) as [string, string]));
  }

  /** Padded tokens that all workers of a fingerprint run in one batch each, as last heard; 0 without any. */
  batchTokens(fingerprint: string): number {
    return this.#lastWorkers
      .filter(({ model }) => model.fingerprint === fingerprint)
      .reduce((sum, { maxBatchTokens }) => sum + maxBatchTokens, 0);
  }

  /** Requests that come together read the registry once; a failure is not kept. */
  #workers(): Promise<WorkerAnnouncement[]> {
    const nowMs = performance.now();
    if (this.#cached === undefined || nowMs - this.#cached.readAtMs >= this.#cacheMs) {
      const entry = { workers: this.#registry.list(), readAtMs: nowMs };
      this.#cached = entry;
      entry.workers.then(
        (workers) => {
          this.#lastWorkers = workers;
        },
        () => {
          if (this.#cached === entry) this.#cached = undefined;
        },
      );
    }
    return this.#cached.workers;
  }

  /** The models that a request can name now, the default first. */
  async served(): Promise<ServedModel[]> {
    const workers = [...(await this.#workers())].sort((a, b) => b.startedAtMs - a.startedAtMs);
    const models = new Map<string, ServedModel>();
    for (const worker of workers) {
      const { model } = worker;
      const known = models.get(model.name);
      if (known === undefined) {
        models.set(model.name, { model, isDefault: this.#isDefault(model), workers: [worker] });
      } else if (known.model.fingerprint === model.fingerprint) {
        known.workers.push(worker);
      }
    }
    const all = [...models.values()];
    const [only] = all;
    // A folder may say another name of itself than its path does: then it is the one that is there.
    if (only !== undefined && all.length === 1 && isPath(this.#configured)) only.isDefault = true;
    return all.sort(
      (a, b) => Number(b.isDefault) - Number(a.isDefault) || a.model.name.localeCompare(b.model.name),
    );
  }

  /** `unknown_model` with the names there are; `model_unavailable` where the name is right and no worker is there. */
  async resolve(asked: string | undefined): Promise<ModelInfo> {
    const served = await this.served();
    const isServed = served.some(({ model }) => model.name === asked);
    const name = asked === undefined || isServed ? asked : (this.#aliases.get(asked) ?? asked);
    const wanted = name ?? this.#configured;
    const found =
      served.find(({ model, isDefault }) => (name === undefined ? isDefault : model.name === name)) ??
      served.find(({ model, isDefault }) =>
        name === undefined || this.#isConfigured(name) ? isDefault : model.aliases?.includes(name),
      );
    if (found !== undefined) return found.model;
    const failure = (await this.failed()).find(
      (failed) => failed.name === wanted || basename(failed.name) === wanted,
    );
    if (failure !== undefined)
      throw new TrivecError(
        'model_unavailable',
        `The model ${basename(failure.name)} could not be loaded (${failure.code}); the worker's log says why.`,
        { param: 'model' },
      );
    if (name !== undefined && !this.#isConfigured(name)) {
      const names = [...new Set([this.#configured, ...served.map(({ model }) => model.name)])];
      throw new TrivecError(
        'unknown_model',
        `There is no model ${JSON.stringify(name)}; there is ${names.join(', ')}.`,
        {
          param: 'model',
        },
      );
    }
    throw unavailable(wanted);
  }

  /**
   * The model that scores pairs: the one named, else the first reranker that is served, else the default model's own
   * vectors.
   */
  async resolveScorer(name: string | undefined): Promise<ModelInfo> {
    if (name === undefined) {
      const reranker = (await this.served()).find(({ model }) => model.kind === 'reranker');
      if (reranker !== undefined) return reranker.model;
    }
    return this.resolve(name);
  }

  /** The model that made a job's vectors, and no other revision of it. */
  async resolveFingerprint(pinned: { name: string; fingerprint: string }): Promise<ModelInfo> {
    const workers = await this.#workers();
    const found = workers.find(({ model }) => model.fingerprint === pinned.fingerprint);
    if (found === undefined) throw unavailable(`${pinned.name} (${pinned.fingerprint})`);
    return found.model;
  }

  /** Of all models that workers serve now. */
  async fingerprints(): Promise<ReadonlySet<string>> {
    return new Set((await this.#workers()).map(({ model }) => model.fingerprint));
  }

  /** The same for the answer to something that is done: it must not end in an error because the registry is away. */
  async fingerprintsIfKnown(): Promise<ReadonlySet<string> | undefined> {
    return this.fingerprints().catch(() => undefined);
  }

  /** Models that workers were told to serve and could not load, each once. */
  async failed(): Promise<FailedModel[]> {
    const all = (await this.#workers()).flatMap(({ failedModels = [] }) => failedModels);
    return [...new Map(all.map((failed) => [failed.name, failed])).values()];
  }

  #isDefault({ name, aliases = [] }: ModelInfo): boolean {
    return [name, ...aliases].some((each) => this.#isConfigured(each));
  }

  /** `MODEL` may be a folder or a hub id, while the model's name is what clients give. */
  #isConfigured(name: string): boolean {
    return name === this.#configured || name === basename(this.#configured);
  }
}

function isPath(model: string): boolean {
  return /^(\.|\/|[A-Za-z]:[\\/])/.test(model);
}

function unavailable(name: string): TrivecError {
  return new TrivecError('model_unavailable', `No worker serves the model ${name} now.`, {
    param: 'model',
    retryAfterSeconds: 5,
  });
}
