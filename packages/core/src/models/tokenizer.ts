/** Text to token ids and back, behind one interface for two libraries. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { EncodedText, EncodeOptions, EncodePairOptions, TextPair } from '../engine/types.ts';
import { TrivecError } from '../errors.ts';
import { readJson } from './folderFiles.ts';
import { joinPair, joinPrompt, type PairFrame, type PairPrompt } from './pairs.ts';
import { JsBackend } from './tokenizerJs.ts';
import { loadNativeLibrary, NativeBackend } from './tokenizerNative.ts';

/** What a library must do; everything else is common to both. Ids hold special tokens and are not cut. */
export interface TokenizerBackend {
  readonly kind: 'native' | 'js';
  /** One list of ids a text, special tokens included. Texts are well-formed UTF-16. */
  encode(texts: readonly string[]): Promise<ArrayLike<number>[]>;
  decode(ids: readonly number[][], skipSpecialTokens: boolean): Promise<string[]>;
  /** Whether the vocabulary has this id; libraries decode one that is not there as nothing, or as another one. */
  knows(id: number): boolean;
  /** Two texts in the tokenizer's own frame for pairs. */
  encodePair(first: string, second: string): Promise<{ ids: number[]; typeIds: number[] }>;
}

export interface EncodePairsOptions extends EncodePairOptions {
  maxTokens: number;
  /** For models that are asked in words; the tokenizer's own frame for pairs when absent. */
  prompt?: PairPrompt | undefined;
}

export interface Tokenizer {
  readonly kind: 'native' | 'js';
  encode(texts: readonly string[], options: EncodeOptions & { maxTokens: number }): Promise<EncodedText[]>;
  /** `invalid_request` with the first id that the vocabulary lacks. */
  decode(ids: readonly number[][], options?: { skipSpecialTokens?: boolean }): Promise<string[]>;
  encodePairs(pairs: readonly TextPair[], options: EncodePairsOptions): Promise<EncodedText[]>;
}

/** UTF-16 units given to the library at once: what a batch's ids cost the event loop to take over stays small. */
const CHUNK_CHARS = 32 * 1024;
const CHUNK_TEXTS = 256;

/**
 * Loads a tokenizer.json (and the tokenizer_config.json beside it). `prefer: 'native'` takes the official Rust library
 * where its binary loads, which is what the Python reference runs, else the JavaScript one.
 * Throws `invalid_model` where neither can read the file.
 */
export async function loadTokenizer(
  tokenizerFile: string,
  prefer: 'native' | 'js' = 'native',
): Promise<Tokenizer> {
  try {
    const native = prefer === 'native' ? await loadNativeLibrary() : undefined;
    const json = await readFile(tokenizerFile, 'utf8');
    const backend =
      native === undefined
        ? new JsBackend(
            JSON.parse(json),
            (await readJson(join(dirname(tokenizerFile), 'tokenizer_config.json'))) ?? {},
          )
        : new NativeBackend(native, json);
    return await CuttingTokenizer.create(backend);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TrivecError('invalid_model', `The tokenizer ${tokenizerFile} cannot be used: ${reason}`, {
      cause,
    });
  }
}

class CuttingTokenizer implements Tokenizer {
  readonly kind: 'native' | 'js';
  readonly #backend: TokenizerBackend;
  /** Special tokens before and after a text (CLS, EOS): they survive a cut. */
  readonly #before: number;
  readonly #after: number;
  #pairFrame: Promise<PairFrame> | undefined;

  static async create(backend: TokenizerBackend): Promise<CuttingTokenizer> {
    const [empty = [], some = []] = await backend.encode(['', 'a']);
    let before = 0;
    while (before < empty.length && empty[before] === some[before]) before++;
    return new CuttingTokenizer(backend, before, empty.length - before);
  }

  private constructor(backend: TokenizerBackend, before: number, after: number) {
    this.kind = backend.kind;
    this.#backend = backend;
    this.#before = before;
    this.#after = after;
  }

  async encode(
    texts: readonly string[],
    { maxTokens, truncationDirection = 'right' }: EncodeOptions & { maxTokens: number },
  ): Promise<EncodedText[]> {
    if (maxTokens <= this.#before + this.#after) throw tooFewTokens(this.#before + this.#after);
    return this.#encodeAll(texts, (ids) => this.#cut(ids, maxTokens, truncationDirection));
  }

  async #encodeAll<T>(texts: readonly string[], take: (ids: ArrayLike<number>) => T): Promise<T[]> {
    const taken: T[] = [];
    for (const chunk of chunksOf(texts))
      for (const ids of await this.#backend.encode(chunk.map((text) => text.toWellFormed())))
        taken.push(take(ids));
    return taken;
  }

  async encodePairs(
    pairs: readonly TextPair[],
    { maxTokens, prompt, instruction = prompt?.instruction ?? '' }: EncodePairsOptions,
  ): Promise<EncodedText[]> {
    // A query that stands in many pairs is read once.
    const texts =
      prompt === undefined
        ? [...new Set(pairs.flat())]
        : [
            prompt.prefix,
            prompt.suffix,
            ...pairs.map(([query, passage]) => prompt.body(instruction, query, passage)),
          ];
    const bare = await this.#encodeAll(texts, (ids) =>
      Int32Array.from(ids).subarray(this.#before, ids.length - this.#after),
    );
    if (prompt !== undefined) {
      const [prefix, suffix, ...bodies] = bare;
      const frame = prefix!.length + suffix!.length;
      if (maxTokens <= frame) throw tooFewTokens(frame);
      return bodies.map((body) => joinPrompt(prefix!, body, suffix!, maxTokens));
    }
    const frame = await this.#readPairFrame();
    const special = frame.before.length + frame.middle.length + frame.after.length;
    if (maxTokens <= special) throw tooFewTokens(special);
    const places = new Map(texts.map((text, place) => [text, bare[place]!]));
    return pairs.map(([query, passage]) =>
      joinPair(places.get(query)!, places.get(passage)!, frame, maxTokens),
    );
  }

  /** What stands around and between two texts, from a pair of short ones. */
  async #readPairFrame(): Promise<PairFrame> {
    this.#pairFrame ??= (async () => {
      const [[...single], { ids, typeIds }] = await Promise.all([
        this.#backend.encode(['a']).then(([first]) => Array.from(first ?? [])),
        this.#backend.encodePair('a', 'a'),
      ]);
      const length = single.length - this.#before - this.#after;
      return {
        before: ids.slice(0, this.#before),
        middle: ids.slice(this.#before + length, ids.length - this.#after - length),
        after: ids.slice(ids.length - this.#after),
        hasTypes: typeIds.includes(1),
      };
    })();
    return this.#pairFrame;
  }

  #cut(all: ArrayLike<number>, maxTokens: number, direction: 'right' | 'left'): EncodedText {
    const ids = Int32Array.from(all);
    const originalTokens = ids.length;
    if (originalTokens <= maxTokens) return { ids, originalTokens };
    const cut = new Int32Array(maxTokens);
    const kept = maxTokens - this.#before - this.#after;
    const from = direction === 'right' ? this.#before : originalTokens - this.#after - kept;
    cut.set(ids.subarray(0, this.#before));
    cut.set(ids.subarray(from, from + kept), this.#before);
    cut.set(ids.subarray(originalTokens - this.#after), this.#before + kept);
    return { ids: cut, originalTokens };
  }

  async decode(ids: readonly number[][], { skipSpecialTokens = true } = {}): Promise<string[]> {
    for (const row of ids)
      for (const id of row)
        if (!this.#backend.knows(id))
          throw new TrivecError('invalid_request', `${id} is not a token id of this model.`, {
            param: 'ids',
          });
    return this.#backend.decode(ids, skipSpecialTokens);
  }
}

function tooFewTokens(special: number): TrivecError {
  return new TrivecError('invalid_request', `maxTokens must be above ${special}.`, { param: 'maxTokens' });
}

/** Runs of texts up to the limits; a longer text stands alone. */
function* chunksOf(texts: readonly string[]): Generator<string[]> {
  let chunk: string[] = [];
  let chars = 0;
  for (const text of texts) {
    if (chunk.length > 0 && (chars + text.length > CHUNK_CHARS || chunk.length >= CHUNK_TEXTS)) {
      yield chunk;
      chunk = [];
      chars = 0;
    }
    chunk.push(text);
    chars += text.length;
  }
  if (chunk.length > 0) yield chunk;
}
