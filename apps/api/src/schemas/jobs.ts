/** What a client sees of a job. */
import { JOB_STATUSES } from '@trivec/core/jobs/records';
import { Type } from 'typebox';
import { nullable, OutputSchema } from './common.ts';

export const JobParams = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) });

const LinksSchema = Type.Object({ self: Type.String(), results: Type.String(), errors: Type.String() });

export const AcceptedSchema = Type.Object({
  id: Type.String(),
  status: Type.Enum([...JOB_STATUSES]),
  links: LinksSchema,
});

/** An item of `errors`, and a line of `GET /jobs/:id/errors`. */
export const DocumentErrorSchema = Type.Object({
  id: Type.String(),
  code: Type.String(),
  message: Type.String(),
  param: Type.Optional(
    Type.String({ description: 'Of a line that was skipped: which. Its id is empty but for a duplicate.' }),
  ),
});

export const DryRunSchema = Type.Object(
  {
    documents: Type.Integer(),
    textBytes: Type.Integer(),
    tokens: Type.Integer({ description: 'Estimated from a sample, special tokens included.' }),
    sampledTexts: Type.Integer(),
    rows: Type.Integer({ description: 'Estimated result rows: more than documents with chunking.' }),
    estimatedSeconds: nullable(
      Type.Integer({ description: 'Null where no worker has measured its speed yet.' }),
    ),
    tokensPerSecond: Type.Integer({ description: 'Of the workers of the model together.' }),
    resultBytes: Type.Object({
      dense: Type.Optional(Type.Integer()),
      sparse: Type.Optional(Type.Integer({ description: 'At most.' })),
      colbert: Type.Optional(Type.Integer()),
    }),
    accepted: Type.Boolean({ description: 'False: it would be refused, for what `refused` lists.' }),
    refused: Type.Object({
      total: Type.Integer(),
      byCode: Type.Record(Type.String(), Type.Integer()),
      first: Type.Array(DocumentErrorSchema, { description: 'The first ten.' }),
    }),
  },
  { description: 'Of dryRun: what the job would be.' },
);

export const JobSchema = Type.Object(
  {
    id: Type.String(),
    status: Type.Enum([...JOB_STATUSES]),
    pausedReason: nullable(
      Type.Enum(['storage_full'], {
        description: 'Why the server has paused the job; it goes on by itself. Null where a client did.',
      }),
    ),
    counts: Type.Object({
      documents: Type.Integer(),
      embedded: Type.Integer(),
      written: Type.Integer({ description: 'At the destination; 0 for a job without one.' }),
      failed: Type.Integer(),
    }),
    tokens: Type.Integer({
      description:
        'Of the texts embedded so far, special tokens included; a text of several documents runs once and counts for each.',
    }),
    tokensPerSecond: nullable(
      Type.Number({
        description:
          'Of the last minute; once all is embedded, of the time that took. Null where nothing is embedded now.',
      }),
    ),
    etaSeconds: nullable(
      Type.Number({
        description: 'At the speed of the last minute; null where nothing moves now, 0 at the end.',
      }),
    ),
    waitingFor: nullable(
      Type.Enum(['worker'], { description: 'Nothing is embedded: no worker serves the model now.' }),
    ),
    createdAt: Type.String(),
    startedAt: nullable(Type.String()),
    finishedAt: nullable(Type.String()),
    model: Type.Object(
      { name: Type.String(), fingerprint: Type.String() },
      { additionalProperties: Type.Unknown() },
    ),
    outputs: Type.Array(OutputSchema),
    options: Type.Object(
      { normalize: Type.Boolean(), truncate: Type.Boolean(), dimensions: Type.Optional(Type.Integer()) },
      { additionalProperties: Type.Unknown() },
    ),
    truncated: Type.Integer({
      description: 'Documents that were cut: to the length of the model, or to MAX_BULK_TEXT_TOKENS.',
    }),
    skipped: Type.Integer({ description: 'Lines that were no document and left out (onInvalid: skip).' }),
    warnings: Type.Array(Type.Object({ code: Type.String(), message: Type.String() })),
    errors: Type.Array(DocumentErrorSchema, { description: 'The first ten; `links.errors` has all.' }),
    sink: nullable(
      Type.Object(
        {
          collection: Type.String({
            description:
              'Where points are written: what an alias stood for when the job was accepted; aside, while it replaces another.',
          }),
          finished: Type.Boolean({ description: 'Nothing is left to restore, to swap or to look at.' }),
          waiting: nullable(
            Type.Object(
              { reason: Type.String(), since: Type.String() },
              { description: 'Why the destination takes nothing now; it is tried again and again.' },
            ),
          ),
          points: Type.Integer(),
          bytes: Type.Integer({ description: 'Of request bodies.' }),
          retries: Type.Integer(),
          slowDowns: Type.Integer(),
          stalePoints: Type.Integer({ description: 'Removed, because their document has fewer now.' }),
          colbertOverflowed: Type.Integer({ description: 'Texts whose ColBERT was over the limit.' }),
          refused: Type.Integer({ description: 'Embedded documents that the destination refused.' }),
        },
        { description: 'What the destination took; null for a job without one.' },
      ),
    ),
    webhook: nullable(
      Type.Object(
        {
          url: Type.String(),
          state: nullable(Type.Enum(['pending', 'delivered', 'failed'])),
          attempts: Type.Integer(),
          error: nullable(Type.String({ description: 'Of the last attempt that failed.' })),
        },
        { description: 'Null for a job without one; its state is null until the job has ended.' },
      ),
    ),
    links: LinksSchema,
  },
  { $id: 'Job' },
);

export const JobListQuery = Type.Object(
  {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, description: 'Default 20.' })),
    cursor: Type.Optional(
      Type.String({ minLength: 1, maxLength: 512, description: '`nextCursor` of the page before.' }),
    ),
  },
  { additionalProperties: false },
);

export const JobListSchema = Type.Object({
  jobs: Type.Array(Type.Unsafe<unknown>(Type.Ref('Job#')), { description: 'Newest first.' }),
  nextCursor: nullable(Type.String()),
});
