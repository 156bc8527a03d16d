import { JOB_STATUSES, PRIORITIES } from '@trivec/core/jobs/records';
import { SEARCH_MODES } from '@trivec/core/jobs/serviceTypes';
import { DestinationSchema } from '@trivec/core/sinks/qdrant/destination';
import { Type } from 'typebox';
import {
  ColbertSchema,
  ModelNameSchema,
  nullable,
  OutputSchema,
  OutputsSchema,
  SparseSchema,
  WarningSchema,
} from './common.ts';

export const JobParams = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) });

const DocumentSchema = Type.Object(
  {
    id: Type.Union([Type.String({ minLength: 1 }), Type.Integer()], {
      description: 'Unique in the job; 42 and "42" are the same id.',
    }),
    text: Type.String({ minLength: 1 }),
    payload: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  },
  { additionalProperties: false, description: 'One text to embed, and what to keep beside it.' },
);

const options = {
  model: Type.Optional(ModelNameSchema),
  dimensions: Type.Optional(
    Type.Integer({ minimum: 1, description: 'Matryoshka cut of the dense vector, renormalised.' }),
  ),
  normalize: Type.Optional(Type.Boolean({ description: 'L2-normalise dense (default true).' })),
  truncate: Type.Optional(
    Type.Boolean({
      description:
        'False: a text over the length of the model, or over MAX_BULK_TEXT_TOKENS, fails alone (default true: it is cut).',
    }),
  ),
  inputType: Type.Optional(
    Type.Enum(['query', 'document'], { description: 'Chooses the prompt of the model (default document).' }),
  ),
  prompt: Type.Optional(
    Type.String({
      maxLength: 2000,
      description: 'Put before each text that the model sees; default: the prompt of the model, if any.',
    }),
  ),
  priority: Type.Optional(
    Type.Enum([...PRIORITIES], {
      description: 'low and high count as a quarter and as four times the weight (default normal).',
    }),
  ),
  weight: Type.Optional(
    Type.Number({
      minimum: 0.01,
      maximum: 100,
      description: 'Share of the workers beside other jobs (default 1).',
    }),
  ),
  dryRun: Type.Optional(
    Type.Boolean({
      description: 'Store nothing: answer how many documents, tokens, seconds and bytes it would be.',
    }),
  ),
  retentionMs: Type.Optional(
    Type.Integer({
      minimum: 0,
      description: 'Delete the job with its results this long after its end (default JOB_RETENTION_MS).',
    }),
  ),
  onInvalid: Type.Optional(
    Type.Enum(['reject', 'skip'], {
      description:
        'skip: lines that are no document are left out, counted in `skipped` and listed in the errors (default reject).',
    }),
  ),
};

const FieldName = Type.String({ minLength: 1, maxLength: 256 });

const FieldsSchema = Type.Object(
  {
    id: Type.Optional(FieldName),
    text: Type.Optional(
      Type.Union([FieldName, Type.Array(FieldName, { minItems: 1, maxItems: 64 })], {
        description: 'Several are joined by a line break; missing and empty ones are left out.',
      }),
    ),
    payload: Type.Optional(
      Type.Union([Type.Literal(true), Type.Array(FieldName, { maxItems: 64 })], {
        description: 'true: every field that is neither id nor text.',
      }),
    ),
  },
  {
    additionalProperties: false,
    description: 'Which fields of other records make a document; their other fields are left out.',
  },
);

const chunkingOptions = {
  maxTokens: Type.Integer({
    minimum: 1,
    description: 'Of one chunk, special tokens and prompt included; at most what the model takes.',
  }),
  overlap: Type.Optional(
    Type.Integer({
      minimum: 0,
      description: 'Tokens that a chunk may repeat of the one before (default 0), at most half of maxTokens.',
    }),
  ),
  unit: Type.Optional(
    Type.Enum(['sentence', 'token'], {
      description: 'Cut between sentences where possible (default), or as full as possible.',
    }),
  ),
};

const ChunkingSchema = Type.Object(chunkingOptions, {
  additionalProperties: false,
  description:
    'Long documents become several vectors. Counts stay documents; results have chunk, start, end.',
});

const WebhookSchema = Type.Object(
  {
    url: Type.String({ minLength: 1, maxLength: 2048 }),
    secret: Type.String({
      minLength: 1,
      maxLength: 128,
      description: '24 to 64 bytes in base64, `whsec_…`; never shown again.',
    }),
  },
  {
    additionalProperties: false,
    description:
      'Told when the job has ended: a POST signed by the Standard Webhooks convention, repeated for hours until it is answered 2xx.',
  },
);

const bodyOptions = {
  ...options,
  webhook: Type.Optional(WebhookSchema),
  outputs: Type.Optional(OutputsSchema),
  destination: Type.Optional(DestinationSchema),
  metadata: Type.Optional(
    Type.Record(Type.String(), Type.Unknown(), {
      description: 'Kept and shown, never read; at most 16 KiB as JSON.',
    }),
  ),
  fields: Type.Optional(FieldsSchema),
  chunking: Type.Optional(ChunkingSchema),
};

const Name = Type.String({ minLength: 1, maxLength: 1024 });

const SourceSchema = Type.Union(
  [
    Type.Object({ object: Name }, { additionalProperties: false }),
    Type.Object({ prefix: Name }, { additionalProperties: false }),
    Type.Object({ file: Name }, { additionalProperties: false }),
  ],
  {
    description:
      'Instead of documents: NDJSON (*.ndjson, *.jsonl, each also .gz) that the server reads: an object, or all under a prefix, ' +
      'of `imports/<key name>/` in its storage (`imports/anonymous/` without keys), or a file under SOURCE_DIRS.',
  },
);

export const SubmitBody = Type.Object(
  {
    documents: Type.Optional(Type.Array(DocumentSchema, { minItems: 1 })),
    source: Type.Optional(SourceSchema),
    ...bodyOptions,
  },
  { additionalProperties: false },
);

/** What is checked before JobService: it checks documents one by one, and names the one at fault. */
export const SubmitEnvelope = Type.Object(
  { documents: Type.Optional(Type.Unknown()), source: Type.Optional(SourceSchema), ...bodyOptions },
  { additionalProperties: false },
);

export const SubmitQuery = Type.Object(
  {
    ...options,
    outputs: Type.Optional(
      Type.String({ description: 'Comma-separated; default: all that the model has but colbert.' }),
    ),
    metadata: Type.Optional(Type.String({ description: 'A JSON object.' })),
    destination: Type.Optional(Type.String({ description: 'A JSON object, as in a JSON body.' })),
    'fields.id': Type.Optional(FieldName),
    'fields.text': Type.Optional(Type.String({ minLength: 1, description: 'Comma-separated.' })),
    'fields.payload': Type.Optional(
      Type.String({
        description: 'Comma-separated; `*` is every field that is neither id nor text.',
      }),
    ),
    'chunking.maxTokens': Type.Optional(chunkingOptions.maxTokens),
    'chunking.overlap': chunkingOptions.overlap,
    'chunking.unit': chunkingOptions.unit,
  },
  { additionalProperties: false },
);

export const SubmitHeaders = Type.Object({
  'x-webhook-url': Type.Optional(
    Type.String({ minLength: 1, maxLength: 2048, description: '`webhook.url`, for a streamed body.' }),
  ),
  'x-webhook-secret': Type.Optional(
    Type.String({ minLength: 1, maxLength: 128, description: '`webhook.secret`, for a streamed body.' }),
  ),
  'idempotency-key': Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 255,
      description: 'The same key and the same request give the same job, until it is deleted.',
    }),
  ),
});

const LinksSchema = Type.Object({ self: Type.String(), results: Type.String(), errors: Type.String() });

export const AcceptedSchema = Type.Object({
  id: Type.String(),
  status: Type.Enum([...JOB_STATUSES]),
  links: LinksSchema,
});

const DocumentErrorSchema = Type.Object({
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
    tokensPerSecond: nullable(Type.Number()),
    etaSeconds: nullable(Type.Number()),
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
            description: 'Where points are written; aside, while it replaces another.',
          }),
          finished: Type.Boolean({ description: 'Nothing is left to restore or to swap.' }),
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

export const ResultsQuery = Type.Object(
  {
    cursor: Type.Optional(
      Type.String({ minLength: 1, maxLength: 512, description: '`x-next-cursor` of the page before.' }),
    ),
    limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Rows; all there are when absent.' })),
  },
  { additionalProperties: false },
);

export const ResultLineSchema = Type.Object({
  id: Type.String(),
  chunk: Type.Integer(),
  tokens: Type.Integer(),
  start: Type.Optional(
    Type.Integer({ description: 'With chunking: the chunk is text.slice(start, end), in UTF-16 units.' }),
  ),
  end: Type.Optional(Type.Integer()),
  dense: Type.Optional(Type.Array(Type.Number())),
  sparse: Type.Optional(SparseSchema),
  colbert: Type.Optional(ColbertSchema),
});

export const ErrorLineSchema = DocumentErrorSchema;

export const searchBody = (maxInputChars: number) =>
  Type.Object(
    {
      query: Type.String({ minLength: 1, maxLength: maxInputChars }),
      mode: Type.Optional(
        Type.Enum([...SEARCH_MODES], { description: 'Default hybrid: the mix of what the job has.' }),
      ),
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: 'Default 10.' })),
      explain: Type.Optional(Type.Boolean({ description: 'Also say which tokens carried a hit.' })),
    },
    { additionalProperties: false },
  );

const ScoresSchema = Type.Object({
  dense: Type.Optional(Type.Number()),
  sparse: Type.Optional(Type.Number()),
  colbert: Type.Optional(Type.Number()),
});

export const SearchResultSchema = Type.Object({
  hits: Type.Array(
    Type.Object({
      id: Type.String(),
      chunk: Type.Integer(),
      score: Type.Number(),
      scores: ScoresSchema,
      start: Type.Optional(
        Type.Integer({ description: 'With chunking: where `text` lies in the document.' }),
      ),
      end: Type.Optional(Type.Integer()),
      text: Type.String(),
      payload: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
      explanation: Type.Optional(
        Type.Object({
          sparse: Type.Optional(
            Type.Array(
              Type.Object({
                tokenId: Type.Integer(),
                token: Type.String(),
                queryWeight: Type.Number(),
                documentWeight: Type.Number(),
                product: Type.Number(),
              }),
            ),
          ),
          colbert: Type.Optional(
            Type.Array(
              Type.Object({
                queryIndex: Type.Integer(),
                queryTokenId: Type.Optional(Type.Integer()),
                queryToken: Type.Optional(Type.String()),
                documentIndex: Type.Integer(),
                documentToken: Type.Optional(Type.String({ description: 'As the tokenizer writes it.' })),
                similarity: Type.Number(),
              }),
            ),
          ),
        }),
      ),
    }),
    { description: 'Best first.' },
  ),
  scanned: Type.Integer({ description: 'Rows looked at.' }),
  weights: ScoresSchema,
  notes: Type.Array(Type.String()),
  warnings: Type.Array(WarningSchema),
});

export const IngestBody = Type.Object({ destination: DestinationSchema }, { additionalProperties: false });
