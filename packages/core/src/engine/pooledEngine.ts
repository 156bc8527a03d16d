import type { Config } from '../config.ts';
import type { ModelDescription } from '../models/folder.ts';
import type { ModelInfo } from '../models/modelInfo.ts';
import type { Calibration } from './calibrate.ts';
import type { ModelPool } from './modelPool.ts';
import type {
  EmbedOptions,
  EmbedResult,
  EncodedText,
  EncodeOptions,
  EncodePairOptions,
  Engine,
  ScoreOptions,
  ScoreResult,
  TextPair,
} from './types.ts';

/** What is announced before the model has been loaded once. */
const UNMEASURED_BATCH_TOKENS = 2048;

/** A model that is loaded when it is used, and may make room for others in between. */
export class PooledEngine implements Engine {
  readonly model: ModelInfo;
  readonly maxBulkTokens: number;
  readonly #pool: ModelPool;
  readonly #description: ModelDescription;
  readonly #configuredDevice: string;
  #device: string;
  #maxBatchTokens: number;
  #tokensPerSecond = 0;
  #calibration: Calibration | undefined;

  constructor(
    pool: ModelPool,
    description: ModelDescription,
    config: Pick<Config, 'device' | 'maxBatchTokens' | 'maxBulkTextTokens'>,
  ) {
    this.maxBulkTokens = Math.min(
      config.maxBulkTextTokens || description.info.maxTokens,
      description.info.maxTokens,
    );
    this.model = description.info;
    this.#pool = pool;
    this.#description = description;
    this.#configuredDevice = config.device;
    this.#device = config.device;
    this.#maxBatchTokens = config.maxBatchTokens || UNMEASURED_BATCH_TOKENS;
  }

  get device(): string {
    return this.#device;
  }

  get maxBatchTokens(): number {
    return this.#maxBatchTokens;
  }

  get calibration(): Calibration | undefined {
    return this.#calibration;
  }

  async warmUp(): Promise<void> {
    await this.#use(async () => undefined);
  }

  encode(texts: readonly string[], options?: EncodeOptions): Promise<EncodedText[]> {
    return this.#use((engine) => engine.encode(texts, options));
  }

  encodePairs(pairs: readonly TextPair[], options?: EncodePairOptions): Promise<EncodedText[]> {
    return this.#use((engine) => engine.encodePairs(pairs, options));
  }

  decode(ids: readonly number[][], options?: { skipSpecialTokens?: boolean }): Promise<string[]> {
    return this.#use((engine) => engine.decode(ids, options));
  }

  embed(texts: readonly EncodedText[], options: EmbedOptions): Promise<EmbedResult> {
    return this.#use((engine) => engine.embed(texts, options));
  }

  score(pairs: readonly EncodedText[], options: ScoreOptions): Promise<ScoreResult> {
    return this.#use((engine) => engine.score(pairs, options));
  }

  tokensPerSecond(): number {
    return this.#tokensPerSecond;
  }

  /** The pool closes what is loaded. */
  async close(): Promise<void> {}

  #use<T>(work: (engine: Engine) => Promise<T>): Promise<T> {
    return this.#pool.use(this.#description, this.#configuredDevice, async (engine) => {
      this.#device = engine.device;
      this.#maxBatchTokens = engine.maxBatchTokens;
      this.#calibration = engine.calibration;
      try {
        return await work(engine);
      } finally {
        this.#tokensPerSecond = engine.tokensPerSecond();
      }
    });
  }
}
