/** Pooled vectors of a plain model file, kept on disk so that a run that was cut off goes on where it was. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';

export type Pooling = 'mean' | 'cls';

const BATCH_TOKENS = 2048;
/** Texts that are kept together: a cut-off run loses no more. */
const TEXTS_A_FILE = 256;

/** A model file whose first output is token vectors [B, L, D]. */
export class PooledModel {
  /** Of the file and what it names: other weights, another digest. */
  readonly digest: string;
  private readonly session: InferenceSession;
  private readonly pooling: Pooling;

  static async open(path: string, pooling: Pooling): Promise<PooledModel> {
    const hash = createHash('sha256').update(pooling);
    for (const file of [path, `${path}_data`])
      if (await exists(file)) for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
    return new PooledModel(await InferenceSession.create(path), pooling, hash.digest('hex'));
  }

  private constructor(session: InferenceSession, pooling: Pooling, digest: string) {
    this.session = session;
    this.pooling = pooling;
    this.digest = digest;
  }

  /** Token ids, padded to the longest, to L2-normalised vectors. */
  async embed(texts: readonly (readonly number[])[]): Promise<Float32Array[]> {
    const length = Math.max(...texts.map((ids) => ids.length));
    const filled = (value: (ids: readonly number[], at: number) => number) =>
      new Tensor(
        'int64',
        BigInt64Array.from(
          texts.flatMap((ids) => Array.from({ length }, (_, at) => value(ids, at))),
          BigInt,
        ),
        [texts.length, length],
      );
    const all: Record<string, () => Tensor> = {
      input_ids: () => filled((ids, at) => ids[at] ?? 0),
      attention_mask: () => filled((ids, at) => (at < ids.length ? 1 : 0)),
      token_type_ids: () => filled(() => 0),
    };
    const feeds = Object.fromEntries(this.session.inputNames.map((name) => [name, all[name]!()]));
    const output = this.session.outputNames[0]!;
    const hidden = (await this.session.run(feeds, [output]))[output]!;
    const dims = hidden.dims[2]!;
    const values = hidden.data as Float32Array;
    return texts.map((ids, row) => {
      const vector = new Float32Array(dims);
      const rows = this.pooling === 'cls' ? 1 : ids.length;
      for (let at = 0; at < rows; at++)
        for (let dim = 0; dim < dims; dim++) vector[dim]! += values[(row * length + at) * dims + dim]!;
      const norm = Math.hypot(...vector);
      return vector.map((value) => value / norm);
    });
  }

  release(): Promise<void> {
    return this.session.release();
  }
}

/** All vectors in the order of `texts`; what an earlier run put into `folder` is read instead of computed. */
export async function embedCached(
  model: PooledModel,
  texts: readonly (readonly number[])[],
  folder: string,
): Promise<Float32Array[]> {
  await mkdir(folder, { recursive: true });
  // Alike in length, so that hardly anything is padded.
  const order = texts.map((_, i) => i).sort((a, b) => texts[b]!.length - texts[a]!.length || a - b);
  const vectors: Float32Array[] = [];
  for (let start = 0; start < order.length; start += TEXTS_A_FILE) {
    const part = order.slice(start, start + TEXTS_A_FILE);
    const found = await embedPart(
      model,
      part.map((i) => texts[i]!),
      folder,
    );
    part.forEach((i, at) => {
      vectors[i] = found[at]!;
    });
  }
  return vectors;
}

async function embedPart(
  model: PooledModel,
  texts: readonly (readonly number[])[],
  folder: string,
): Promise<Float32Array[]> {
  const key = createHash('sha256').update(model.digest).update(JSON.stringify(texts)).digest('hex');
  const path = join(folder, `${key}.f32`);
  if (await exists(path)) {
    const { buffer, byteOffset, byteLength } = await readFile(path);
    const values = new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
    const dims = values.length / texts.length;
    return texts.map((_, i) => values.subarray(i * dims, (i + 1) * dims));
  }
  const vectors: Float32Array[] = [];
  while (vectors.length < texts.length) {
    const count = Math.max(1, Math.floor(BATCH_TOKENS / texts[vectors.length]!.length));
    vectors.push(...(await model.embed(texts.slice(vectors.length, vectors.length + count))));
  }
  await writeFile(`${path}.part`, Buffer.concat(vectors.map((vector) => new Uint8Array(vector.buffer))));
  await rename(`${path}.part`, path);
  return vectors;
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
