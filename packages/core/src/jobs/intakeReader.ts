import type { Config } from '../config.ts';
import { TrivecError } from '../errors.ts';
import { type ReadDocument, type ReadRules, type RefusedDocument, readDocuments } from './documentReader.ts';
import { IdSet } from './idSet.ts';
import { describePlace, paramOf } from './place.ts';
import type { DocumentSource } from './serviceTypes.ts';

export type IntakeLimits = Pick<Config, 'maxJobDocuments' | 'maxJobBytes' | 'maxLineBytes'>;

/** What becomes of each document; the reading waits for what it returns. */
export interface IntakeVisitor {
  document(read: ReadDocument): Promise<void> | undefined;
  /** Only where the rules say to skip; `id` where the line had one (a duplicate). */
  refused(refused: RefusedDocument, id?: string): Promise<void> | undefined;
}

/**
 * Reads a source to its end: every document is checked, counted against the limits, and unique by its id.
 * Throws `no_documents`, `invalid_line`, `invalid_document`, `duplicate_id`, `too_many_documents`, `body_too_large`,
 * `upload_aborted`.
 */
export async function readIntake(
  source: DocumentSource,
  config: IntakeLimits,
  rules: ReadRules,
  visitor: IntakeVisitor,
  signal?: AbortSignal,
): Promise<void> {
  const ids = new IdSet();
  let firstRefused: TrivecError | undefined;
  const refuse = (refused: RefusedDocument, id?: string) => {
    if (!rules.skipInvalid) throw refused.error;
    firstRefused ??= refused.error;
    return visitor.refused(refused, id);
  };
  for await (const batch of readDocuments(source, config, rules)) {
    if (signal?.aborted) throw aborted();
    for (const read of batch) {
      let pending: Promise<void> | undefined;
      if ('error' in read) pending = refuse(read);
      else if (!ids.add(read.document.id))
        pending = refuse({ error: duplicate(read), place: read.place }, read.document.id);
      else {
        if (ids.size > config.maxJobDocuments)
          throw new TrivecError(
            'too_many_documents',
            `A job takes at most ${config.maxJobDocuments} documents (MAX_JOB_DOCUMENTS).`,
          );
        pending = accept(read);
      }
      if (pending !== undefined) await pending;
    }
  }
  if (signal?.aborted) throw aborted();
  if (ids.size > 0) return;
  const why = firstRefused === undefined ? '' : ` Every line was skipped; the first: ${firstRefused.message}`;
  throw new TrivecError('no_documents', `A job needs at least one document.${why}`, { param: 'documents' });

  function accept(read: ReadDocument): Promise<void> | undefined {
    try {
      return visitor.document(read);
    } catch (error) {
      // JSON.parse takes any depth, JSON.stringify only what the stack holds.
      if (!(error instanceof RangeError)) throw error;
      return refuse({ error: tooDeep(read), place: read.place }, read.document.id);
    }
  }
}

function tooDeep({ place }: ReadDocument): TrivecError {
  return new TrivecError(
    'invalid_document',
    `${describePlace(place, 'payload')} is nested too deeply to be stored.`,
    { param: paramOf(place, 'payload') },
  );
}

function duplicate({ document, place }: ReadDocument): TrivecError {
  return new TrivecError(
    'duplicate_id',
    `${describePlace(place, 'id')} ${JSON.stringify(document.id)} was used before in this job.`,
    { param: paramOf(place, 'id') },
  );
}

function aborted(): TrivecError {
  return new TrivecError('upload_aborted', 'The sender has gone; no job was made.');
}
