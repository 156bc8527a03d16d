import type { BlobStore } from '../storage/blobStore.ts';
import { skippedKey } from './keys.ts';
import type { Ledger } from './ledger.ts';
import type { DocumentError, JobRecord } from './records.ts';

/** Every line that was skipped, then every failed document of the shards that are stored, each in input order. */
export async function* readErrors(
  { ledger, storage }: { ledger: Ledger; storage: BlobStore },
  job: Pick<JobRecord, 'id' | 'skipped'>,
): AsyncGenerator<DocumentError> {
  for (let blob = 0; blob < (job.skipped?.blobs ?? 0); blob++)
    yield* parseErrors(await storage.get(skippedKey(job.id, blob)));
  for await (const { errorsKey } of ledger.shards(job.id))
    if (errorsKey !== undefined) yield* parseErrors(await storage.get(errorsKey));
}

export function parseErrors(body: Buffer | undefined): DocumentError[] {
  const lines = body?.toString('utf8').split('\n') ?? [];
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as DocumentError);
}

export function serializeErrors(errors: readonly DocumentError[]): Buffer {
  return Buffer.from(errors.map((error) => `${JSON.stringify(error)}\n`).join(''));
}
