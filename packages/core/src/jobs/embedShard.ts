import type { Engine } from '../engine/types.ts';
import { type EmbedCall, type EmbeddedDocuments, embedDocuments } from './embedDocuments.ts';
import { DEATHS_TO_CONVICT, type Flight, type ShardHolder } from './flight.ts';
import type { Document, DocumentError, JobOptions } from './records.ts';

export interface ShardCall {
  signal: AbortSignal;
  /** Awaited before each forward pass; what it throws ends the call. */
  beforeBatch: () => Promise<void>;
  flight: Flight;
  holder: ShardHolder;
}

/**
 * Embeds the documents of a shard. Those that were in flight when a process died run first, each alone in the process;
 * one that is convicted fails without running. Throws what `embedDocuments` throws.
 */
export async function embedShardDocuments(
  engine: Engine,
  documents: readonly Document[],
  options: JobOptions,
  { signal, beforeBatch, flight, holder }: ShardCall,
): Promise<EmbeddedDocuments> {
  const parts: EmbeddedDocuments[] = [];
  const convicted = flight.convicted.filter((position) => position < documents.length);
  const suspects = flight.suspects.filter((position) => position < documents.length);
  const apart = new Set([...convicted, ...suspects]);
  const rest = documents.flatMap((_, position) => (apart.has(position) ? [] : [position]));

  const embed = (positions: readonly number[], alone: boolean) => {
    const call: EmbedCall = {
      signal,
      inFlight: (indexes) =>
        flight.depart(
          indexes.map((index) => positions[index]!),
          alone,
        ),
      beforeBatch,
    };
    const chosen = positions.map((position) => documents[position]!);
    return embedDocuments(engine, chosen, options, call);
  };

  for (const position of convicted) parts.push(failed(documents[position]!));
  if (suspects.length > 0)
    await holder.alone(async () => {
      for (const position of suspects) {
        signal.throwIfAborted();
        parts.push(await embed([position], true));
        flight.acquit(position);
      }
      // Before anybody else may fly: what kills them must not be blamed on this one.
      await flight.depart([], false);
    });
  if (rest.length > 0)
    await holder.together(async () => {
      parts.push(await embed(rest, false));
      await flight.depart([], false);
    });
  return parts.length === 1 ? parts[0]! : merge(documents, parts);
}

function failed({ id }: Document): EmbeddedDocuments {
  const message = `The worker died on this document alone ${DEATHS_TO_CONVICT} times; it is not tried again.`;
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
