import type { Config } from '../config.ts';
import { TrivecError } from '../errors.ts';
import type { LedgerStore } from '../ledger/ledgerStore.ts';
import type { BlobStore } from '../storage/blobStore.ts';
import type { Logger } from '../telemetry/logger.ts';
import { type ReadDocument, readDocuments } from './documentReader.ts';
import { describePlace, paramOf } from './documents.ts';
import { IdSet } from './idSet.ts';
import { inputPrefix, newJobId } from './keys.ts';
import { resolveOptions } from './options.ts';
import type { JobRecord } from './records.ts';
import type { SubmitInput } from './serviceTypes.ts';
import { ShardCutter } from './shardCutter.ts';
import { UploadWriter } from './uploadWriter.ts';

export interface IntakeDeps {
  ledger: LedgerStore;
  storage: BlobStore;
  config: Pick<
    Config,
    'maxJobDocuments' | 'maxJobBytes' | 'maxLineBytes' | 'shardMaxDocuments' | 'shardMaxBytes'
  >;
  logger: Logger;
}

/**
 * Reads, checks, stores as shards, and commits by one ledger write. Memory is bounded whatever the size:
 * the body is not read on while storage is slow. Whatever fails, nothing stays: neither blob nor record.
 * The job still has to be enqueued; should the process die before, the reconciler does it.
 */
export async function submitJob(deps: IntakeDeps, input: SubmitInput): Promise<JobRecord> {
  const options = resolveOptions(input.options, input.model);
  const createdAtMs = Date.now();
  const id = newJobId(createdAtMs);
  const writer = new UploadWriter(deps, id);
  try {
    await upload(deps, input, writer);
    const { documents, textBytes, shards } = await writer.finish();
    const { name, fingerprint, denseDims, colbertDims } = input.model;
    const job: JobRecord = {
      id,
      version: 1,
      owner: input.owner,
      status: 'queued',
      model: {
        name,
        fingerprint,
        ...(options.outputs.includes('dense') && { denseDims: options.dimensions ?? denseDims }),
        ...(options.outputs.includes('colbert') && { colbertDims }),
      },
      options,
      counts: { documents, embedded: 0, written: 0, failed: 0 },
      tokens: 0,
      truncated: 0,
      textBytes: { total: textBytes, done: 0 },
      shards: { total: shards, stored: 0, written: 0 },
      errors: [],
      createdAtMs,
    };
    await deps.ledger.commitJob(job);
    return job;
  } catch (error) {
    await removeUpload(deps, id, writer);
    throw error;
  }
}

async function upload(deps: IntakeDeps, input: SubmitInput, writer: UploadWriter): Promise<void> {
  const { config } = deps;
  const cutter = new ShardCutter({
    maxDocuments: config.shardMaxDocuments,
    maxTextBytes: config.shardMaxBytes,
  });
  const ids = new IdSet();
  for await (const batch of readDocuments(input.source, config)) {
    if (input.signal?.aborted) throw aborted();
    for (const read of batch) {
      if (ids.size === config.maxJobDocuments)
        throw new TrivecError(
          'too_many_documents',
          `A job takes at most ${config.maxJobDocuments} documents (MAX_JOB_DOCUMENTS).`,
        );
      if (!ids.add(read.document.id)) throw duplicate(read);
      const full = cut(cutter, read);
      if (full !== undefined) await writer.write(full);
    }
  }
  if (input.signal?.aborted) throw aborted();
  const rest = cutter.rest();
  if (rest !== undefined) await writer.write(rest);
  if (ids.size === 0)
    throw new TrivecError('no_documents', 'A job needs at least one document.', { param: 'documents' });
}

function cut(cutter: ShardCutter, { document, place }: ReadDocument) {
  try {
    return cutter.add(document);
  } catch (error) {
    // JSON.parse takes any depth, JSON.stringify only what the stack holds.
    if (!(error instanceof RangeError)) throw error;
    throw new TrivecError(
      'invalid_document',
      `${describePlace(place, 'payload')} is nested too deeply to be stored.`,
      { param: paramOf(place, 'payload') },
    );
  }
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

/**
 * The ledger first: where it does not answer, the commit may have gone through, and then the blobs must stay.
 * What is left behind like that, the sweep removes.
 */
async function removeUpload(deps: IntakeDeps, jobId: string, writer: UploadWriter): Promise<void> {
  await writer.settle();
  try {
    await deps.ledger.deleteJob(jobId);
    await deps.storage.deletePrefix(inputPrefix(jobId));
  } catch (error) {
    deps.logger.warn({ err: error, jobId }, 'a refused upload is left for the sweep to remove');
  }
}
