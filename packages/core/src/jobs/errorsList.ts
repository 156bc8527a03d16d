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
    yield* entries(await storage.get(skippedKey(job.id, blob)));
  for await (const { errorsKey } of ledger.shards(job.id))
    if (errorsKey !== undefined) yield* entries(await storage.get(errorsKey));
}

function* entries(body: Buffer | undefined): Generator<DocumentError> {
  for (const line of body?.toString('utf8').split('\n') ?? [])
    if (line !== '') yield JSON.parse(line) as DocumentError;
}
