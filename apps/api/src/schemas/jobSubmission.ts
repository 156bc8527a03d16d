/** What a client gives to make a job, or to send its vectors on. */
import { PRIORITIES } from '@trivec/core/jobs/records';
import { DestinationSchema } from '@trivec/core/sinks/qdrant/destination';
import { Type } from 'typebox';
import { ModelNameSchema, OutputsSchema } from './common.ts';

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

export const IngestBody = Type.Object({ destination: DestinationSchema }, { additionalProperties: false });
