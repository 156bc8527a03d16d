/** The precisions a model can be served in, and where each comes from. */
import type { RewrittenDtype } from '../onnx/quantize.ts';

/** Written by `trivec models quantize`; the first is the recommended one on CPUs. */
export const REWRITTEN_DTYPES = ['int8', 'int8-precise', 'fp16'] as const satisfies readonly RewrittenDtype[];

/** What `trivec models check --dtype` compares with fp32. */
export const COMPARED_DTYPES = ['int8', 'int8-precise', 'fp16', 'int8-dynamic'] as const;
export type ComparedDtype = (typeof COMPARED_DTYPES)[number];
