/** Which graph file of a folder or repository to take, and what belongs to it. Pure: paths in, paths out. */
import { TrivecError } from '../errors.ts';
import { COLBERT_HEAD_FILE, SPARSE_HEAD_FILE } from '../onnx/m3Heads.ts';
import type { FileDtype } from './catalog.ts';

/** What publishers call each precision, best first. */
const NAMES: Readonly<Record<FileDtype, RegExp[]>> = {
  fp32: [/^model\.onnx$/, /^model_fp32\.onnx$/],
  fp16: [/^model_fp16\.onnx$/, /fp16\.onnx$/],
  'int8-dynamic': [
    /^model_quantized\.onnx$/,
    /^model_int8\.onnx$/,
    /^model_qint8_avx512_vnni\.onnx$/,
    /^model_qint8_avx512\.onnx$/,
    /^model_quint8_avx2\.onnx$/,
    /quantized\.onnx$/,
    /int8.*\.onnx$/,
  ],
};
/** Another precision says so in its name. */
const REDUCED = /fp16|bf16|int8|uint8|quant|q4|bnb4|_O[1-4]/i;

export interface GraphChoice {
  dtype?: FileDtype | undefined;
  /** What the catalog says: nothing else will do then. */
  file?: string | undefined;
}

/**
 * The graph among `paths`, which are relative and with `/`. Without a precision: `model.onnx`, else the only graph in
 * the folder, else the only one in `onnx/`. Throws `invalid_model` naming what is there.
 */
export function chooseGraph(paths: readonly string[], { dtype, file }: GraphChoice, where: string): string {
  const graphs = paths.filter((path) => isModelGraph(path) || path === file).sort();
  if (file !== undefined) {
    if (graphs.includes(file)) return file;
    throw missing(where, file, paths);
  }
  const here = graphs.filter((path) => !path.includes('/'));
  const below = graphs.filter((path) => path.includes('/'));
  const named = (patterns: readonly RegExp[]) =>
    patterns.flatMap((pattern) => [...here, ...below].filter((path) => pattern.test(baseOf(path)))).at(0);
  const single = [here, below].find((some) => some.length === 1)?.[0];
  if (dtype === undefined) {
    const found = named([/^model\.onnx$/]) ?? single;
    if (found !== undefined) return found;
    throw missing(where, 'model.onnx', paths);
  }
  const only = single !== undefined && dtype === 'fp32' && !REDUCED.test(baseOf(single)) ? single : undefined;
  const found = named(NAMES[dtype]) ?? only;
  if (found !== undefined) return found;
  throw missing(where, `graph that is named as ${dtype}`, paths, 'MODEL_DTYPE');
}

/** What goes with the graph, as far as it is there: settings, tokenizer, heads. Data files are named inside the graph. */
export function companionsOf(paths: readonly string[], graph: string): string[] {
  const folder = graph.slice(0, graph.lastIndexOf('/') + 1);
  const beside = ['config.json', 'tokenizer.json', 'tokenizer_config.json'];
  const wanted = new Set([
    ...beside,
    ...beside.map((name) => folder + name),
    'special_tokens_map.json',
    'trivec.json',
    'modules.json',
    'sentence_bert_config.json',
    'config_sentence_transformers.json',
    '1_Pooling/config.json',
    SPARSE_HEAD_FILE,
    COLBERT_HEAD_FILE,
  ]);
  return paths.filter((path) => wanted.has(path)).sort();
}

/** Some publishers put their tokenizer beside it as a graph of its own (`bge_m3_tokenizer.onnx`). */
function isModelGraph(path: string): boolean {
  return /^(onnx\/)?[^/]+\.onnx$/.test(path) && !/tokenizer/i.test(baseOf(path));
}

function baseOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function torchNote(paths: readonly string[]): string {
  const isTorch = paths.some((path) => /(^|\/)(pytorch_model|model).*\.(bin|safetensors)$/.test(path));
  const hasGraph = paths.some((path) => path.endsWith('.onnx'));
  return isTorch && !hasGraph
    ? ' Weights of torch alone cannot be run: export them (optimum-cli export onnx), or take an export from the hub.'
    : '';
}

function missing(where: string, what: string, paths: readonly string[], param?: string): TrivecError {
  const shown = paths.length === 0 ? 'nothing' : paths.slice(0, 12).join(', ');
  return new TrivecError(
    'invalid_model',
    `${where} has no ${what}; it holds ${shown}${paths.length > 12 ? ' …' : ''}.${torchNote(paths)}`,
    param === undefined ? {} : { param },
  );
}
