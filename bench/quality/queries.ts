import type { Output, TextVectors } from '@trivec/core/vectors/types';

const TEXTS_A_REQUEST = 64;

interface EmbeddingsAnswer {
  data: {
    tokens: number;
    dense?: number[];
    sparse?: { indices: number[]; values: number[] };
    colbert?: number[][];
  }[];
  warnings: unknown[];
}

export interface EmbeddedQueries {
  /** By query id. */
  vectors: Map<string, TextVectors>;
  truncated: number;
}

/** Through `POST /embeddings`, with the prompt that the model wants before queries. */
export async function embedQueries(
  url: string,
  model: string,
  queries: ReadonlyMap<string, string>,
  outputs: readonly Output[],
  signal: AbortSignal,
): Promise<EmbeddedQueries> {
  const vectors = new Map<string, TextVectors>();
  let truncated = 0;
  const all = [...queries];
  for (let at = 0; at < all.length; at += TEXTS_A_REQUEST) {
    const part = all.slice(at, at + TEXTS_A_REQUEST);
    const response = await fetch(`${url}/embeddings`, {
      method: 'POST',
      signal,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ input: part.map(([, text]) => text), model, outputs, inputType: 'query' }),
    });
    if (!response.ok)
      throw new Error(`POST /embeddings answered ${response.status}: ${await response.text()}`);
    const { data, warnings } = (await response.json()) as EmbeddingsAnswer;
    truncated += warnings.length;
    for (const [index, [id]] of part.entries()) vectors.set(id, toVectors(data[index]!));
  }
  return { vectors, truncated };
}

function toVectors({ tokens, dense, sparse, colbert }: EmbeddingsAnswer['data'][number]): TextVectors {
  const dims = colbert?.[0]?.length ?? 0;
  return {
    tokens,
    ...(dense && { dense: Float32Array.from(dense) }),
    ...(sparse && {
      sparse: { indices: Uint32Array.from(sparse.indices), values: Float32Array.from(sparse.values) },
    }),
    ...(colbert && { colbert: { rows: colbert.length, dims, data: Float32Array.from(colbert.flat()) } }),
  };
}
