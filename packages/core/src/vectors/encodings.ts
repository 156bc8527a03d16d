/**
 * A dense vector in fewer bytes, and as text. Pure: no encoding needs more than the vector itself, so that two
 * requests give the same bytes for the same text.
 */

/** What a request may ask a dense vector as. */
export const ENCODING_FORMATS = ['float', 'base64', 'int8', 'uint8', 'binary', 'ubinary'] as const;
export type EncodingFormat = (typeof ENCODING_FORMATS)[number];

export interface ScaledBytes<Bytes extends Int8Array | Uint8Array> {
  values: Bytes;
  /** `x ≈ scale · (value − zero)`, zero being 0 for int8 and 128 for uint8. */
  scale: number;
}

/**
 * Symmetric absmax quantisation, one scale a vector (Dettmers et al. 2022, LLM.int8(), §2.1: `round(127·x / max|x|)`).
 * Cosines need no scale; dot products of two vectors are `scaleA · scaleB · Σ aᵢ·bᵢ`. All zero gives scale 0.
 */
export function toInt8(vector: Float32Array): ScaledBytes<Int8Array> {
  const greatest = greatestMagnitude(vector);
  if (greatest === 0) return { values: new Int8Array(vector.length), scale: 0 };
  return { values: Int8Array.from(vector, (x) => Math.round((127 * x) / greatest)), scale: greatest / 127 };
}

/** As int8, moved up by 128 (sentence-transformers' uint8 is its int8 + 128, too): 128 stands for zero. */
export function toUint8(vector: Float32Array): ScaledBytes<Uint8Array> {
  const { values, scale } = toInt8(vector);
  return { values: Uint8Array.from(values, (value) => value + 128), scale };
}

/**
 * One bit a dimension: set where x > 0, the first dimension the highest bit, zeros to the end of the last byte
 * (sentence-transformers `quantize_embeddings(precision="ubinary")`: `numpy.packbits(x > 0)`). ⌈dims / 8⌉ bytes.
 */
export function toUbinary(vector: Float32Array): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(vector.length / 8));
  for (let i = 0; i < vector.length; i++) if (vector[i]! > 0) bytes[i >> 3]! |= 0x80 >> (i & 7);
  return bytes;
}

/** The same bytes less 128, as signed ones (sentence-transformers, precision `binary`). */
export function toBinary(vector: Float32Array): Int8Array {
  return Int8Array.from(toUbinary(vector), (byte) => byte - 128);
}

/**
 * Little-endian float32 as base64: OpenAI's `encoding_format: "base64"`. The machine's own byte order, as Node runs
 * on little-endian machines wherever onnxruntime does.
 */
export function toBase64(vector: Float32Array): string {
  return Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64');
}

function greatestMagnitude(vector: Float32Array): number {
  let greatest = 0;
  for (let i = 0; i < vector.length; i++) greatest = Math.max(greatest, Math.abs(vector[i]!));
  return greatest;
}
