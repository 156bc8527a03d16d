/** The rounding behind dtype `int8-precise`. */
import type { GraphEditor } from './graphEditor.ts';
import type { ProductRounding, StoredWeight, StoreTensor } from './productRounding.ts';
import { DataType, MICROSOFT_DOMAIN } from './proto.ts';
import type { WeightProduct } from './weightProducts.ts';
import { quantizeBlocks } from './weightRounding.ts';

const BLOCK = 32;

/**
 * 8-bit weights in blocks of 32 with a scale each; the runtime rounds activations block by block too. Closer than the
 * row-wise form, and slower. Blocks of 128 were no closer than the row-wise form on trained weights.
 */
export class BlockwiseInt8 implements ProductRounding {
  readonly needs = { opset: 1, operator: 'MatMulNBits' };
  private readonly editor: GraphEditor;
  private readonly storeTensor: StoreTensor;

  constructor(editor: GraphEditor, storeTensor: StoreTensor) {
    this.editor = editor;
    this.storeTensor = storeTensor;
  }

  async store({ inDims, outDims, transposed }: WeightProduct, weight: Float32Array): Promise<StoredWeight> {
    const blocks = Math.ceil(inDims / BLOCK);
    const { values, scales } = quantizeBlocks(weight, inDims, outDims, transposed, BLOCK);
    const stored = this.editor.tensor('weight_blocks', DataType.UINT8, [outDims, blocks, BLOCK]);
    const storedScales = this.editor.tensor('weight_scales', DataType.FLOAT, [outDims * blocks]);
    await this.storeTensor(stored, values);
    await this.storeTensor(storedScales, scales);
    return { values: stored.name, scales: storedScales.name };
  }

  emit(product: WeightProduct, weight: StoredWeight): void {
    const { node, activation, bias, output, inDims, outDims } = product;
    const attributes = {
      K: BigInt(inDims),
      N: BigInt(outDims),
      bits: 8n,
      block_size: BigInt(BLOCK),
      // The activation is rounded to int8 as well; without it the product is computed in fp32.
      accuracy_level: 4n,
    };
    this.editor.replace(node, () => {
      const inputs = [activation, weight.values, weight.scales];
      const options = { attributes, domain: MICROSOFT_DOMAIN };
      if (bias === undefined) this.editor.op('MatMulNBits', inputs, 'product', { ...options, output });
      else
        this.editor.op('Add', [this.editor.op('MatMulNBits', inputs, 'product', options), bias], 'sum', {
          output,
        });
    });
  }
}
