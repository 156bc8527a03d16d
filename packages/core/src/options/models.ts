import { Type } from 'typebox';
import { count, option } from './option.ts';

/** Which models, from where. */
export const MODELS_OPTIONS = {
  model: option(
    'MODEL',
    Type.String({ minLength: 1 }),
    'trivec-mini',
    'A catalog name, a folder, or a hub id.',
  ),
  models: option(
    'MODELS',
    Type.Array(Type.String({ minLength: 1 })),
    [],
    'Further models of one worker, comma-separated, named as MODEL is; requests choose by name.',
  ),
  denseModel: option(
    'DENSE_MODEL',
    Type.String({ minLength: 1 }),
    undefined,
    'Another model that gives the dense vectors in place of MODEL’s own, named as MODEL is; sparse and ColBERT vectors stay those of MODEL (docs/models.md).',
  ),
  modelsDir: option(
    'MODELS_DIR',
    Type.String({ minLength: 1 }),
    undefined,
    'Folder with more models, one folder each.',
  ),
  modelsFile: option(
    'MODELS_FILE',
    Type.String({ minLength: 1 }),
    undefined,
    'JSON file with further catalog entries (docs/models.md).',
  ),
  modelsMemoryBytes: option(
    'MODELS_MEMORY_BYTES',
    count(0),
    0,
    'Bytes of model files that may be loaded at once (running takes more memory than that); 0: all are loaded at start. With a bound, models of MODELS are loaded on first use and the one unused longest makes room.',
  ),
  modelDtype: option(
    'MODEL_DTYPE',
    Type.Enum(['fp32', 'fp16', 'int8', 'int8-precise', 'int8-dynamic']),
    undefined,
    'fp32, fp16 and int8-dynamic take the files published as such (with int8-dynamic a vector depends a little on its neighbours in the batch). int8 and int8-precise are made from the fp32 files once, beside them: the fast choice on CPUs, the same vector in any batch. Default: fp32, or what the folder has.',
  ),
  hfHubCache: option(
    'HF_HUB_CACHE',
    Type.String({ minLength: 1 }),
    undefined,
    'Folder of downloaded models, shared with other tools of the hub; default `HF_HOME/hub`.',
  ),
  hfHome: option(
    'HF_HOME',
    Type.String({ minLength: 1 }),
    undefined,
    'The hub’s folder; default `~/.cache/huggingface`.',
  ),
  hfToken: option(
    'HF_TOKEN',
    Type.String({ minLength: 1 }),
    undefined,
    'Token for private and gated models.',
    {
      secret: true,
    },
  ),
  hfEndpoint: option(
    'HF_ENDPOINT',
    Type.String({ pattern: '^https?://[^@?#]+$' }),
    'https://huggingface.co',
    'Where models are downloaded from: the hub or a mirror of it.',
  ),
  hfHubOffline: option(
    'HF_HUB_OFFLINE',
    Type.Boolean(),
    false,
    'Download nothing: only what is in the cache is used.',
  ),
} as const;
