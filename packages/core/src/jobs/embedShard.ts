import type { Engine } from '../engine/types.ts';
import { type EmbedCall, type EmbeddedDocuments, embedDocuments } from './embedDocuments.ts';
import { DEATHS_TO_CONVICT, type Flight, type ShardHolder } from './flight.ts';
import type { ShardTexts } from './jobTexts.ts';
import type { Document, DocumentError, JobOptions } from './records.ts';

export interface ShardCall {
  signal: AbortSignal;
  /** Awaited before each forward pass; what it throws ends the call. */
  beforeBatch: () => Promise<void>;
  flight: Flight;
  holder: ShardHolder;
  maxResultBytes?: number | undefined;
  texts?: ShardTexts | undefined;
}

/**
 * Embeds the documents of a shard. Those that were in flight when a process died run first, each alone in the process;
 * one that is convicted fails without running. Documents of the same text share its fate: one of them runs for all.
 * Throws what `embedDocuments` throws.
 */
export async function embedShardDocuments(
  engine: Engine,
  documents: readonly Document[],
  options: JobOptions,
  { signal, beforeBatch, flight, holder, maxResultBytes, texts }: ShardCall,
): Promise<EmbeddedDocuments> {
  const parts: EmbeddedDocuments[] = [];
  const twins = twinsByText(documents);
  const isHere = (position: number) => position < documents.length;
  const textOf = (position: number) => documents[position]!.text;
  const convicted = new Set(flight.convicted.filter(isHere).map(textOf));
  const suspects = new Map<string, number>();
  for (const position of flight.suspects.filter(isHere)) {
    const text = textOf(position);
    if (convicted.has(text)) continue;
    // The most suspicious twin stands for all, and last among them is its turn.
    suspects.delete(text);
    suspects.set(text, position);
  }
  const rest = documents.flatMap(({ text }, position) =>
    convicted.has(text) || suspects.has(text) ? [] : [position],
  );

  const embed = (positions: readonly number[], alone?: number) => {
    const call: EmbedCall = {
      signal,
      inFlight: (indexes) =>
        alone === undefined || indexes.length === 0
          ? flight.depart(
              indexes.map((index) => positions[index]!),
              alone !== undefined,
            )
          : flight.depart([alone], true),
      beforeBatch,
      texts,
      ...(maxResultBytes !== undefined && { maxResultBytes }),
    };
    const chosen = positions.map((position) => documents[position]!);
    return embedDocuments(engine, chosen, options, call);
  };

  for (const text of convicted)
    for (const position of twins.get(text)!) parts.push(failed(documents[position]!));
  if (suspects.size > 0)
    await holder.alone(async () => {
      for (const [text, position] of suspects) {
        signal.throwIfAborted();
        const all = twins.get(text)!;
        parts.push(await embed(all, position));
        for (const twin of all) flight.acquit(twin);
      }
      // Before anybody else may fly: what kills them must not be blamed on this one.
      await flight.depart([], false);
    });
  if (rest.length > 0)
    await holder.together(async () => {
      parts.push(await embed(rest));
      await flight.depart([], false);
    });
  return parts.length === 1 ? parts[0]! : merge(documents, parts);
}

/** Positions of the documents that have each text. */
function twinsByText(documents: readonly Document[]): Map<string, number[]> {
  const twins = new Map<string, number[]>();
  for (const [position, { text }] of documents.entries()) {
    const known = twins.get(text);
    if (known === undefined) twins.set(text, [position]);
    else known.push(position);
  }
  return twins;
}

function failed({ id }: Document): EmbeddedDocuments {
  const message = `The worker died on this text alone ${DEATHS_TO_CONVICT} times; it is not tried again.`;
  const error: DocumentError = { id, code: 'poisoned_document', message };
  return { rows: [], embedded: 0, errors: [error], tokens: 0, truncated: 0 };
}

/** In the order of the documents. */
function merge(documents: readonly Document[], parts: readonly EmbeddedDocuments[]): EmbeddedDocuments {
  const positions = new Map(documents.map(({ id }, position) => [id, position]));
  const byPosition = (a: { id: string }, b: { id: string }) => positions.get(a.id)! - positions.get(b.id)!;
  const sum = (field: 'embedded' | 'tokens' | 'truncated') =>
    parts.reduce((total, part) => total + part[field], 0);
  return {
    rows: parts.flatMap(({ rows }) => rows).sort((a, b) => byPosition(a, b) || a.chunk - b.chunk),
    errors: parts.flatMap(({ errors }) => errors).sort(byPosition),
    embedded: sum('embedded'),
    tokens: sum('tokens'),
    truncated: sum('truncated'),
  };
}
