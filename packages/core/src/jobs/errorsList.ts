import type { BlobStore } from '../storage/blobStore.ts';
import type { Ledger } from './ledger.ts';
import type { DocumentError, JobRecord } from './records.ts';

/** Every failed document of the shards that are stored, in input order. */
export async function* readErrors(
  { ledger, storage }: { ledger: Ledger; storage: BlobStore },
  job: Pick<JobRecord, 'id'>,
): AsyncGenerator<DocumentError> {
  for await (const { errorsKey } of ledger.shards(job.id)) {
    const body = errorsKey === undefined ? undefined : await storage.get(errorsKey);
    if (body === undefined) continue;
    for (const line of body.toString('utf8').split('\n'))
      if (line !== '') yield JSON.parse(line) as DocumentError;
  }
}
