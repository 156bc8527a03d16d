import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import { TrivecError } from '../errors.ts';
import type { ModelDescription } from '../models/folder.ts';
import { type Device, type DeviceBatch, DeviceError, type DeviceResult } from './device.ts';
import { type PackedBatch, packBatch, unpackVectors } from './finishBatch.ts';
import { seesNvidiaGpu } from './providerFiles.ts';
import { providersFor } from './providers.ts';
import type { FromThread, Refusal, ThreadSetup, ToThread } from './threadMessages.ts';

export interface InferenceOptions {
  device: string;
  intraOpThreads: number;
  allowSpinning: boolean;
  logger: Pick<Logger, 'info' | 'warn' | 'error'>;
  /** The thread's script; another one in tests. */
  threadUrl?: URL;
}

/**
 * A thread that dies more often than this with no run between that succeeded is not started again. A text that kills
 * it is found in fewer deaths; a corpus full of such texts is slow, and gets done.
 */
const MAX_DEATHS = 5;

/**
 * A thread's young objects may take 128 MB by default (two thirds of the limit), and get there in steps, of which the
 * first comes after minutes. This one makes few: what is large are arrays, which lie elsewhere. Node's own flag for it,
 * where it is given, counts instead.
 */
const YOUNG_MB = 24;

interface Run {
  batch: Pick<PackedBatch, 'lengths' | 'wants'>;
  onPassed: () => void;
  resolve: (result: DeviceResult) => void;
  reject: (error: DeviceError) => void;
}

/** One model on one device, in a thread of its own that is started again when it dies. */
export class InferenceSession implements Device {
  readonly #model: ModelDescription;
  readonly #options: InferenceOptions;
  readonly #stop = new SharedArrayBuffer(4);
  #deaths = 0;
  #worker: Worker | undefined;
  #started: Promise<void> = Promise.resolve();
  #exited: Promise<void> = Promise.resolve();
  /** In the order given to the thread: one whose vectors are being finished, and one behind it. */
  #runs: Run[] = [];
  #name = '';
  #closed = false;

  /** Rejects with `device_unavailable` where no provider takes the model, each refusal in the message. */
  static async open(model: ModelDescription, options: InferenceOptions): Promise<InferenceSession> {
    const session = new InferenceSession(model, options);
    session.#started = session.#start();
    await session.#started;
    return session;
  }

  private constructor(model: ModelDescription, options: InferenceOptions) {
    this.#model = model;
    this.#options = options;
  }

  get name(): string {
    return this.#name;
  }

  #start(): Promise<void> {
    const url = this.#options.threadUrl ?? new URL('./inferenceThread.ts', import.meta.url);
    const worker = new Worker(url, {
      workerData: this.#setup(),
      name: 'inference',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    });
    this.#worker = worker;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const exit = Promise.withResolvers<void>();
    this.#exited = exit.promise;
    let failure: unknown;
    worker.on('message', (message: FromThread) => {
      if (message.type === 'ready') {
        this.#name = message.device;
        // Of `auto`, on a machine without a GPU: nobody misses it.
        if (seesNvidiaGpu())
          for (const refusal of message.refused) this.#options.logger.info(refusal, 'device not available');
        resolve();
      } else if (message.type === 'unusable') failure = unusable(this.#model, message.refused);
      else if (message.type === 'invalid')
        failure = new TrivecError('invalid_model', `The model in ${this.#model.folder}: ${message.message}`);
      else this.#hear(message);
    });
    worker.on('error', (error) => {
      failure = error;
    });
    worker.on('exit', (code) => {
      exit.resolve();
      const ended = `The inference thread ended (code ${code}).`;
      reject(
        failure instanceof TrivecError
          ? failure
          : new TrivecError('device_unavailable', ended, { cause: failure }),
      );
      if (this.#worker === worker) this.#onExit(code, failure);
    });
    // A thread that waits for work must not keep the process alive by itself.
    promise.then(
      () => worker.unref(),
      () => {},
    );
    return promise;
  }

  #setup(): ThreadSetup {
    const { graphFile, addedHeadsFolder, yesNo, inputs, heads, padId, paddingSide } = this.#model;
    const { device, intraOpThreads, allowSpinning } = this.#options;
    return {
      graphFile,
      addedHeadsFolder,
      yesNo,
      inputs,
      heads,
      padId,
      paddingSide,
      providers: providersFor(this.#name === '' ? device : this.#name),
      intraOpThreads,
      allowSpinning,
      stop: this.#stop,
    };
  }

  #onExit(code: number, cause: unknown): void {
    this.#worker = undefined;
    if (this.#closed || this.#name === '') return;
    this.#options.logger.error({ code, cause: String(cause ?? '') }, 'the inference thread died');
    this.#deaths++;
    this.#started =
      this.#deaths > MAX_DEATHS
        ? Promise.reject(new Error(`The inference thread died ${this.#deaths} times in a row.`))
        : this.#start();
    this.#started.catch(() => {});
    const [first, ...others] = this.#runs.splice(0);
    first?.reject(new DeviceError('died', 'The inference thread died while it ran this batch.', { cause }));
    for (const run of others)
      run.reject(new DeviceError('not_run', 'The inference thread died before.', { cause }));
  }

  #hear(message: Extract<FromThread, { type: 'passed' | 'done' | 'failed' }>): void {
    if (message.type === 'passed') {
      this.#runs[0]?.onPassed();
      return;
    }
    const run = this.#runs.shift();
    if (this.#runs.length === 0) this.#worker?.unref();
    if (run === undefined) return;
    if (message.type === 'failed') {
      run.reject(new DeviceError(message.outOfMemory ? 'out_of_memory' : 'failed', message.message));
      return;
    }
    this.#deaths = 0;
    const vectors = unpackVectors(run.batch, message.vectors, this.#model.heads);
    run.resolve({ vectors, inferMs: message.inferMs });
  }

  async run(
    { texts, wants, secondFrom }: DeviceBatch,
    onPassed: () => void = () => {},
  ): Promise<DeviceResult> {
    await this.#untilStarted();
    const worker = this.#worker;
    if (this.#closed || worker === undefined) throw new DeviceError('unavailable', 'The engine is closed.');
    const batch = packBatch(texts, wants, secondFrom);
    const { promise, resolve, reject } = Promise.withResolvers<DeviceResult>();
    this.#runs.push({ batch, onPassed, resolve, reject });
    worker.ref();
    const message: ToThread = { type: 'run', batch };
    worker.postMessage(message, [batch.ids.buffer as ArrayBuffer]);
    return promise;
  }

  /** A start that fails is followed by another, up to MAX_DEATHS: what waits, waits for that one. */
  async #untilStarted(): Promise<void> {
    for (;;) {
      const started = this.#started;
      try {
        return await started;
      } catch (cause) {
        if (started === this.#started)
          throw new DeviceError('unavailable', 'The inference thread cannot be started again.', { cause });
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    Atomics.store(new Int32Array(this.#stop), 0, 1);
    await this.#started.catch(() => {});
    const worker = this.#worker;
    if (worker !== undefined) {
      worker.ref();
      const message: ToThread = { type: 'stop' };
      worker.postMessage(message);
    }
    await this.#exited;
  }
}

function unusable({ folder }: ModelDescription, refused: readonly Refusal[]): TrivecError {
  const reasons = refused.map(({ device, reason }) => `${device}: ${reason}`).join('; ');
  return new TrivecError('device_unavailable', `No device can run the model in ${folder}. ${reasons}`);
}
