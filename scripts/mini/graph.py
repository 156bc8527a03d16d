"""The ONNX graph with the contract of a BGE-M3 export, around the piece table.

Inputs: input_ids, attention_mask, int64 [B, L]. Outputs, float32:
  dense_vecs [B, 384]         normalised sum of the pieces' rows;
  sparse_vecs [B, L, 1]       lexical weights, >= 0 (see sparse());
  colbert_vecs [B, L-1, 128]  row i belongs to token i+1, normalised; rows of padding are zero.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
FLOAT = TensorProto.FLOAT
K1, B = 1.2, 0.75


def quantise(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Four bits a value, one scale a row: uint8 [V, D/2] (value d in the low half, d + D/2 in the high half), float32 [V, 1].

    The scale of each row is the one of twenty candidates that loses least.
    """
    top = np.maximum(np.abs(table).max(1, keepdims=True), 1e-12)
    best_loss = np.full(len(table), np.inf)
    codes = np.zeros(table.shape, np.int8)
    scales = np.zeros((len(table), 1), np.float32)
    for share in np.linspace(0.4, 1.0, 20):
        scale = (top * share / 7.5).astype(np.float16).astype(np.float32)
        scale = np.maximum(scale, 6e-8)
        code = np.clip(np.floor(table / scale + 8), 0, 15)
        loss = (((code - 7.5) * scale - table) ** 2).sum(1)
        better = loss < best_loss
        best_loss[better] = loss[better]
        codes[better] = code[better]
        scales[better] = scale[better]
    scales[np.abs(table).max(1) == 0] = 0
    half = table.shape[1] // 2
    packed = (codes[:, :half] | (codes[:, half:] << 4)).astype(np.uint8)
    return packed, scales


def unpack(packed: np.ndarray, scales: np.ndarray) -> np.ndarray:
    codes = np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32)
    return (codes - 7.5) * scales


class _Builder:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def const(self, name: str, array) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def op(self, kind: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def normalise(self, x: str, output: str) -> str:
        """x over its last axis; a row of zeros stays zero."""
        length = self.op('ReduceL2', [x, self.const('last', np.array([-1]))], f'{output}_length', keepdims=1)
        safe = self.op('Max', [length, self.const('tiny', np.float32(1e-12))], f'{output}_safe')
        return self.op('Div', [x, safe], output)


def build(
    path: Path,
    table: np.ndarray,
    weights: np.ndarray,
    fallback: np.ndarray,
    *,
    sep: int,
    colbert_dims: int,
    window: int,
    context: float,
    average_length: float,
    notes: dict[str, str],
) -> None:
    """table: float32 [V, D]; weights: float32 [V], the root of a piece's idf, 0 for what never counts;
    fallback: float32 [D], the dense vector of a text without any known piece, unit length.
    """
    g = _Builder()
    const, op = g.const, g.op
    dims = table.shape[1]
    packed, scales = quantise(table)
    zero, one = const('zero', np.int64(0)), const('one', np.float32(1))
    axis1, axis2 = const('axis1', np.array([1])), const('axis2', np.array([2]))

    # An id beyond the table would fail in Gather; padding is id 0 with mask 0.
    mask = op('Cast', ['attention_mask'], 'mask', to=FLOAT)
    mask3 = op('Unsqueeze', [mask, axis2], 'mask3')

    bytes_ = op('Gather', [const('table', packed), 'input_ids'], 'row_bytes')
    low = op('BitwiseAnd', [bytes_, const('low_bits', np.uint8(15))], 'low')
    high = op('BitShift', [bytes_, const('four', np.uint8(4))], 'high', direction='RIGHT')
    codes = op('Cast', [op('Concat', [low, high], 'codes', axis=-1)], 'codes_float', to=FLOAT)
    scale = op('Cast', [op('Gather', [const('scales', scales.astype(np.float16)), 'input_ids'], 'scale_half')], 'scale', to=FLOAT)
    masked_scale = op('Mul', [scale, mask3], 'masked_scale')
    rows = op('Mul', [op('Sub', [codes, const('middle', np.float32(7.5))], 'centred'), masked_scale], 'rows')

    # Dense. A text without a known piece sums to zero and gets the fallback instead.
    total = op('ReduceSum', [rows, axis1], 'total', keepdims=0)
    size = op('ReduceL2', [total, const('last', np.array([-1]))], 'size', keepdims=1)
    empty = op('Cast', [op('Less', [size, const('nothing', np.float32(1e-9))], 'is_empty')], 'empty', to=FLOAT)
    text = op('Add', [total, op('Mul', [empty, const('fallback', fallback.astype(np.float32)[None])], 'stand_in')], 'text')
    dense = g.normalise(text, 'dense_vecs')

    # Sparse. root(idf) * tf (k1 + 1) / (tf + k1 (1 - b + b length / average)): a query's weight times a document's is BM25's
    # idf times both saturations. Unique counts the repetitions without a [L, L] or [B, V] tensor: a key is row * V + id.
    weight = op('Mul', [op('Gather', [const('weights', weights.astype(np.float32)), 'input_ids'], 'weight_raw'), mask], 'weight')
    batch = op('Slice', [op('Shape', ['input_ids'], 'shape'), const('from0', np.array([0])), const('to1', np.array([1]))], 'batch')
    rows_range = op('Range', [zero, op('Squeeze', [batch], 'batch_scalar'), const('step', np.int64(1))], 'row_numbers')
    base = op('Unsqueeze', [op('Mul', [rows_range, const('vocab', np.int64(len(table)))], 'row_base'), axis1], 'row_base2')
    # Padding may carry any id; as -1 - row it is counted apart.
    key = op('Add', ['input_ids', base], 'key')
    live = op('Cast', ['attention_mask'], 'live', to=TensorProto.BOOL)
    key = op('Where', [live, key, const('dead', np.int64(-1))], 'live_key')
    flat = op('Reshape', [key, const('flat', np.array([-1]))], 'flat_key')
    g.nodes.append(helper.make_node('Unique', [flat], ['unique', '', 'inverse', 'counts'], name='count', sorted=1))
    repeats = op('Gather', ['counts', 'inverse'], 'repeats_flat')
    repeats = op('Cast', [op('Reshape', [repeats, 'shape'], 'repeats_int')], 'repeats', to=FLOAT)
    counted = op('Cast', [op('Greater', [weight, const('none', np.float32(0))], 'is_counted')], 'counted', to=FLOAT)
    length = op('ReduceSum', [counted, axis1], 'length', keepdims=1)
    norm = op('Add', [op('Mul', [length, const('per_length', np.float32(K1 * B / average_length))], 'norm_part'), const('norm_base', np.float32(K1 * (1 - B)))], 'norm')
    saturated = op('Div', [op('Mul', [repeats, const('k1_plus_1', np.float32(K1 + 1))], 'gain'), op('Add', [repeats, norm], 'damp')], 'saturated')
    op('Unsqueeze', [op('Mul', [weight, saturated], 'sparse_flat'), axis2], 'sparse_vecs')

    # ColBERT. Each piece with a part of its neighbours; [SEP] stands for the whole text. Stop words and endings have rows near
    # zero, so they speak for what is around them.
    pick = op('Slice', [rows, const('c_from', np.array([0])), const('c_to', np.array([colbert_dims])), axis2], 'colbert_rows')
    turned = op('Transpose', [pick], 'turned', perm=[0, 2, 1])
    near = op('AveragePool', [turned], 'near', kernel_shape=[2 * window + 1], pads=[window, window], strides=[1], count_include_pad=1)
    near = op('Mul', [near, const('context', np.float32(context * (2 * window + 1)))], 'near_sum')
    mixed = op('Transpose', [op('Add', [turned, near], 'with_context')], 'mixed', perm=[0, 2, 1])
    whole = op('Slice', [text, const('c_from', np.array([0])), const('c_to', np.array([colbert_dims])), axis1], 'whole')
    whole = op('Unsqueeze', [whole, axis1], 'whole3')
    is_sep = op('Unsqueeze', [op('Cast', [op('Equal', ['input_ids', const('sep', np.int64(sep))], 'sep_bool')], 'sep_float', to=FLOAT), axis2], 'is_sep')
    # A token whose surroundings are empty too (only unknown pieces) also stands for the whole text.
    reach = op('ReduceL2', [mixed, const('last', np.array([-1]))], 'reach', keepdims=1)
    blank = op('Cast', [op('Less', [reach, 'nothing'], 'blank_bool')], 'blank', to=FLOAT)
    use_whole = op('Max', [is_sep, blank], 'use_whole')
    own = op('Mul', [mixed, op('Sub', [one, use_whole], 'use_own')], 'own')
    token = op('Add', [own, op('Mul', [use_whole, whole], 'from_whole')], 'token')
    token = g.normalise(op('Mul', [token, mask3], 'token_masked'), 'token_unit')
    op('Slice', [token, const('skip_cls', np.array([1])), const('to_end', np.array([2**31 - 1])), axis1], 'colbert_vecs')

    graph = helper.make_graph(
        g.nodes,
        'trivec-mini',
        [helper.make_tensor_value_info(n, TensorProto.INT64, ['batch', 'length']) for n in ('input_ids', 'attention_mask')],
        [
            helper.make_tensor_value_info(dense, FLOAT, ['batch', dims]),
            helper.make_tensor_value_info('sparse_vecs', FLOAT, ['batch', 'length', 1]),
            helper.make_tensor_value_info('colbert_vecs', FLOAT, ['batch', 'length_minus_1', colbert_dims]),
        ],
        list(g.constants.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', OPSET)], ir_version=9, producer_name='trivec')
    for name, value in notes.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, value
    onnx.checker.check_model(model)
    onnx.save(model, path)
