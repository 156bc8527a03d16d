import type * as native from 'tokenizers';
import type { TokenizerBackend } from './tokenizer.ts';

/** The npm package `tokenizers`: the official Rust library. `undefined` where it has no binary for this machine. */
export async function loadNativeLibrary(): Promise<typeof native | undefined> {
  try {
    const { default: library } = (await import('tokenizers')) as unknown as { default: typeof native };
    return library;
  } catch {
    return undefined;
  }
}

/** Works in the library's own threads: the event loop only hands over texts and takes ids. */
export class NativeBackend implements TokenizerBackend {
  readonly kind = 'native';
  readonly #tokenizer: native.Tokenizer;
  readonly #vocabSize: number;

  constructor(library: typeof native, tokenizerJson: string) {
    this.#tokenizer = library.Tokenizer.fromString(tokenizerJson);
    // A file may carry the settings of whoever saved it; cutting and padding are ours.
    this.#tokenizer.disableTruncation();
    this.#tokenizer.disablePadding();
    this.#vocabSize = this.#tokenizer.getVocabSize(true);
  }

  async encode(texts: readonly string[]): Promise<number[][]> {
    const encodings = await this.#tokenizer.encodeBatch([...texts]);
    return encodings.map((encoding) => encoding.getIds());
  }

  async encodePair(first: string, second: string): Promise<{ ids: number[]; typeIds: number[] }> {
    const encoding = await this.#tokenizer.encode(first, second);
    return { ids: encoding.getIds(), typeIds: encoding.getTypeIds() };
  }

  /** A vocabulary may have gaps: an id past its size may be one all the same. The library counts modulo 2^32. */
  knows(id: number): boolean {
    return id >= 0 && (id < this.#vocabSize || (id < 2 ** 32 && this.#tokenizer.idToToken(id) !== null));
  }

  decode(ids: readonly number[][], skipSpecialTokens: boolean): Promise<string[]> {
    return this.#tokenizer.decodeBatch([...ids], skipSpecialTokens);
  }
}
