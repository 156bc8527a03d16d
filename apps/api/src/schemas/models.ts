import { Type } from 'typebox';
import { OutputSchema } from './common.ts';

export const ModelSchema = Type.Object({
  id: Type.String({ description: 'What requests give as `model`.' }),
  object: Type.Literal('model'),
  created: Type.Integer({ description: 'Seconds since the epoch: when its oldest worker started.' }),
  owned_by: Type.String(),
  default: Type.Boolean({ description: 'What a request gets that names no model.' }),
  kind: Type.Enum(['embedding', 'reranker']),
  fingerprint: Type.String(),
  dtype: Type.String(),
  outputs: Type.Array(OutputSchema),
  denseDims: Type.Integer(),
  colbertDims: Type.Integer(),
  maxTokens: Type.Integer(),
  prompts: Type.Record(Type.String(), Type.String(), {
    description: 'For `inputType` and `promptName`.',
  }),
  standIn: Type.Boolean({ description: 'True: it only stands in for a real model.' }),
  description: Type.String(),
  license: Type.String(),
  workers: Type.Integer(),
  devices: Type.Array(Type.String()),
});

export const ModelsSchema = Type.Object({
  object: Type.Literal('list'),
  data: Type.Array(ModelSchema),
});

export const InfoSchema = Type.Object({
  name: Type.Literal('trivec'),
  version: Type.String(),
  backend: Type.Enum(['embedded', 'redis']),
  storage: Type.String(),
  model: Type.String({ description: 'The configured model.' }),
  models: Type.Array(Type.String(), { description: 'Served now.' }),
  workers: Type.Integer(),
  engines: Type.Array(
    Type.Object({
      model: Type.String(),
      device: Type.String(),
      maxBatchTokens: Type.Integer({ description: 'Padded tokens of one forward pass, now.' }),
      budgetFrom: Type.Optional(
        Type.Enum(['measured', 'cached', 'configured'], {
          description: 'measured at the start; cached: by an earlier start; configured: MAX_BATCH_TOKENS.',
        }),
      ),
      cost: Type.Optional(
        Type.Object(
          { fixedMs: Type.Number(), msPerToken: Type.Number(), msPerPair: Type.Number() },
          {
            description: 'A pass takes fixedMs + msPerToken · count · length + msPerPair · count · length².',
          },
        ),
      ),
      tokensPerSecond: Type.Number({ description: 'Of device time, while it last worked.' }),
    }),
    { description: 'One a worker, model and device.' },
  ),
  limits: Type.Object({
    maxBodyBytes: Type.Integer(),
    maxInputs: Type.Integer(),
    maxInputChars: Type.Integer(),
    maxJobDocuments: Type.Integer(),
    maxJobBytes: Type.Integer(),
    maxLineBytes: Type.Integer(),
    requestTimeoutMs: Type.Integer(),
  }),
});

/** Paths of this server. */
export const RootSchema = Type.Object({
  name: Type.Literal('trivec'),
  version: Type.String(),
  docs: Type.String({ description: 'For people.' }),
  openapi: Type.String({ description: 'For machines.' }),
  health: Type.String(),
  models: Type.String(),
  embeddings: Type.String(),
  jobs: Type.String(),
});

export const LiveSchema = Type.Object({ status: Type.Literal('ok') });

export const ReadySchema = Type.Object({
  status: Type.Literal('ready'),
  model: Type.String(),
  workers: Type.Integer(),
  failed: Type.Optional(
    Type.Array(Type.Object({ name: Type.String(), code: Type.String() }), {
      description: 'Configured models that could not be loaded; the log says why.',
    }),
  ),
});
