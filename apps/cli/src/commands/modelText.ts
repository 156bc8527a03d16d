import type { Device } from '@trivec/core/engine/device';
import type { PrecisionCheck } from '@trivec/core/models/comparePrecision';
import type { ModelDescription } from '@trivec/core/models/folder';
import type { ModelInfo } from '@trivec/core/models/modelInfo';
import type { SelfTest } from '@trivec/core/models/selfTest';
import { formatBytes, formatCount } from '../format.ts';

export interface CheckedModel {
  model: ModelDescription;
  /** As measured. */
  info: ModelInfo;
  device: Device['name'];
  test: SelfTest;
}

/** For machines: what a model folder is. */
export function checkReport({ model, info, device, test }: CheckedModel) {
  const { folder, graphFile, addedHeadsFolder, heads, inputs, paddingSide } = model;
  return {
    folder,
    graph: graphFile,
    inputs: inputs.map((input) => input.name),
    headsAdded: addedHeadsFolder !== undefined,
    pooling: heads.dense?.pooling ?? null,
    paddingSide,
    ...info,
    device,
    selfTest: test,
  };
}

/** The same for people; what is as usual is left out. */
export function checkText({ model, info, device, test }: CheckedModel): string {
  const { outcome, detail, maxDifference } = test;
  const dims: Partial<Record<string, number>> = { dense: info.denseDims, colbert: info.colbertDims };
  const outputs = info.outputs.map((output) => (dims[output] ? `${output} (${dims[output]})` : output));
  const difference =
    maxDifference === undefined ? '' : `, greatest difference ${maxDifference.toPrecision(2)}`;
  const prompts = Object.keys(info.prompts ?? {}).join(', ');
  return rowsText([
    ['model', `${info.name}${info.standIn ? ' (a stand-in)' : ''}`],
    ['about', info.description],
    ['gives', info.kind === 'reranker' ? 'scores of pairs (a reranker)' : outputs.join(', ')],
    ['pooling', model.heads.dense?.pooling ?? ''],
    ['precision', `${info.dtype}${info.batchDependent ? ', a vector depends on its batch' : ''}`],
    ['longest', `${formatCount(info.maxTokens)} tokens`],
    ['prompts', prompts],
    ['license', info.license],
    ['files', `${model.graphFile}, ${formatBytes(model.bytes)}`],
    ['heads', model.addedHeadsFolder === undefined ? '' : `added from ${model.addedHeadsFolder}`],
    ['runs on', device],
    ['self-test', `${OUTCOMES[outcome]}: ${detail}${difference}`],
  ]);
}

const OUTCOMES: Readonly<Record<SelfTest['outcome'], string>> = {
  passed: 'passed',
  failed: 'FAILED',
  runs: 'it runs',
};

/** Figures as `dense minCosine`, rounded for reading. */
export function precisionText(report: PrecisionCheck): string {
  const { model, dtype, bytes, fp32Bytes, texts, fingerprint: _forMachines, ...outputs } = report;
  const figures = Object.entries(outputs).flatMap(([output, values]) =>
    Object.entries(values).map(
      ([name, value]): Row => [`${output} ${name}`, String(Number(value.toPrecision(6)))],
    ),
  );
  const size = `${formatBytes(bytes)}; fp32 has ${formatBytes(fp32Bytes)}`;
  return rowsText([
    ['model', model],
    ['precision', dtype],
    ['size', size],
    ['texts', String(texts)],
    ...figures,
  ]);
}

type Row = [name: string, value: string];

function rowsText(rows: readonly Row[]): string {
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  return rows
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `${`${name}:`.padEnd(width)}${value}`)
    .join('\n');
}
