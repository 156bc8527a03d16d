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
} from '@trivec/core/engine/types';
import { TrivecError } from '@trivec/core/errors';
import type { ModelInfo } from '@trivec/core/models/modelInfo';
import type { TextVectors } from '@trivec/core/vectors/types';

export const FAKE_MODEL: ModelInfo = {
  kind: 'embedding',
  name: 'fake',
  fingerprint: 'fake-1',
  dtype: 'fp32',
  outputs: ['dense', 'sparse', 'colbert'],
  denseDims: 4,
  colbertDims: 2,
  maxTokens: 8,
  standIn: true,
  description: 'A model of arithmetic, for tests.',
  license: 'Apache-2.0',
};

const CLS = 0;
const EOS = 2;

/** A text that this engine fails to run, alone: what a model does on a poisoned text. */
export const POISON = 'poison';

/**
 * One token a word: id 10 + its length, between CLS (0) and EOS (2). Vectors are arithmetic on the ids, so a test
 * can compute them; calls are recorded.
 */
export class FakeEngine implements Engine {
  readonly model: ModelInfo;
  readonly device = 'cpu';
  readonly maxBatchTokens = 64;
  readonly embedCalls: EmbedOptions[] = [];

  constructor(model: Partial<ModelInfo> = {}) {
    this.model = { ...FAKE_MODEL, ...model };
  }

  async encode(texts: readonly string[], options: EncodeOptions = {}): Promise<EncodedText[]> {
    const limit = Math.min(options.maxTokens ?? this.model.maxTokens, this.model.maxTokens);
    return texts.map((text) => {
      const words = text.split(/\s+/).filter((word) => word !== '');
      const kept =
        options.truncationDirection === 'left' ? words.slice(-(limit - 2)) : words.slice(0, limit - 2);
      const ids = [CLS, ...kept.map((word) => (word === POISON ? 666 : 10 + word.length)), EOS];
      return { ids: Int32Array.from(ids), originalTokens: words.length + 2 };
    });
  }

  async decode(ids: readonly number[][], options: { skipSpecialTokens?: boolean } = {}): Promise<string[]> {
    return ids.map((row) =>
      row
        .filter((id) => options.skipSpecialTokens !== true || id > EOS)
        .map((id) => (id === CLS ? '<s>' : id === EOS ? '</s>' : 'x'.repeat(id - 10)))
        .join(' '),
    );
  }

  async embed(texts: readonly EncodedText[], options: EmbedOptions): Promise<EmbedResult> {
    this.embedCalls.push(options);
    if (options.signal?.aborted) throw new TrivecError('cancelled', 'The caller left.');
    return {
      vectors: texts.map(({ ids }) =>
        ids.includes(666)
          ? new TrivecError('model_failed', 'The model failed on this text.')
          : this.#vectors(ids, options),
      ),
      inferMs: 1,
    };
  }

  /** One word a word of both, and one more between them. */
  async encodePairs(pairs: readonly TextPair[], options: EncodePairOptions = {}): Promise<EncodedText[]> {
    return this.encode(
      pairs.map(([query, passage]) => `${query} | ${passage}`),
      options.maxTokens === undefined ? {} : { maxTokens: options.maxTokens },
    );
  }

  /** The sum of the ids, less 40; a poisoned pair fails. */
  async score(pairs: readonly EncodedText[], options: ScoreOptions): Promise<ScoreResult> {
    if (options.signal?.aborted) throw new TrivecError('cancelled', 'The caller left.');
    const scores = pairs.map(({ ids }) =>
      ids.includes(666)
        ? new TrivecError('model_failed', 'The model failed on this text.')
        : ids.reduce((sum, id) => sum + id, 0) - 40,
    );
    return { scores, inferMs: 1 };
  }

  #vectors(ids: Int32Array, options: EmbedOptions): TextVectors {
    const result: TextVectors = { tokens: ids.length };
    const sum = ids.reduce((total, id) => total + id, 0);
    const words = [...new Set([...ids].filter((id) => id > EOS))].sort((a, b) => a - b);
    for (const output of options.outputs) {
      if (output === 'dense') {
        const size = options.dimensions ?? this.model.denseDims;
        result.dense = Float32Array.from({ length: size }, (_, axis) => Math.sin(sum + axis));
      }
      if (output === 'sparse') {
        result.sparse = {
          indices: Uint32Array.from(words),
          values: Float32Array.from(words, (id) => id / 100),
        };
      }
      if (output === 'colbert') {
        const rows = ids.length - 1;
        const dims = this.model.colbertDims;
        const data = Float32Array.from({ length: rows * dims }, (_, index) =>
          Math.cos((ids[1 + Math.floor(index / dims)] ?? 0) + (index % dims)),
        );
        result.colbert = { rows, dims, data };
      }
    }
    return result;
  }

  tokensPerSecond(): number {
    return 0;
  }

  async close(): Promise<void> {}
}
