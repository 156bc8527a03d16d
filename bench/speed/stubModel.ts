/** The model of workers that only sleep. */
import type { ModelDescription } from '@trivec/core/models/folder';

export interface StubWorkersReport {
  /** Of the event loop, 0 to 1. */
  utilization: number;
}

export const STUB_MODEL: ModelDescription & { info: { denseDims: number } } = {
  info: {
    kind: 'embedding',
    name: 'sleeper',
    fingerprint: 'sleeper',
    dtype: 'fp32',
    outputs: ['dense'],
    denseDims: 16,
    colbertDims: 0,
    maxTokens: 512,
    standIn: true,
    description: 'A device that sleeps.',
    license: 'Apache-2.0',
  },
  folder: '',
  bytes: 0,
  graphFile: '',
  tokenizerFile: '',
  inputs: [],
  heads: { ignoredSparseIds: [] },
  addedHeadsFolder: undefined,
  padId: 1,
  paddingSide: 'right',
};
