"""The piece table: one vector per vocabulary piece. A text's dense vector is the normalised sum of its pieces' rows.

start: static distillation. The teacher's vector of the word (of all forms that a piece stands for, by their frequency), less
the mean, whitened (every principal component gets the same variance), times the piece's idf.
train: contrastive. Two texts that belong together shall be nearer than any other two of the batch (InfoNCE, both ways), by
Adagrad with one rate per row, written in numpy: the gradient of a bag of rows needs no framework.

Outputs: WORK/table-0.npy, WORK/table-1.npy ... float32 [V, DIMS].
"""

import json
from pathlib import Path

import numpy as np
import scipy.sparse as sparse
from tokenizers import Tokenizer

from pairs import pairs
from settings import log
from teacher import HIDDEN, Teacher, teacher_folder
from weights import Weights

DIMS = 352
LATER_PIECE, STOP_WORD = 0.8, 0.05
EPOCHS, BATCH, RATE, TEMPERATURE = 2, 1024, 0.01, 0.05


def teacher_rows(work: Path) -> np.ndarray:
    """float32 [V, 384]: the teacher's view of each piece alone, unit length; zeros for endings and marks."""
    vocabulary = json.loads((work / 'vocabulary.json').read_text())
    pieces, groups = vocabulary['pieces'], vocabulary['groups']
    words = {w: i for i, w in enumerate(json.loads((work / 'word-list.json').read_text()))}
    vectors = np.load(work / 'word-vectors.npy').astype(np.float32)
    rows = np.zeros((len(pieces), HIDDEN), np.float32)
    known = Tokenizer.from_file(str(teacher_folder() / 'tokenizer.json')).get_vocab()
    endings = {'##' + e for e in vocabulary['endings']}
    tails = [(i, known[p]) for i, p in enumerate(pieces) if p.startswith('##') and p in known and p not in endings]
    alone = Teacher(work, 32).encode_ids([[known['[CLS]'], token, known['[SEP]']] for _, token in tails])
    for (i, _), vector in zip(tails, alone):
        rows[i] = vector
    for i, piece in enumerate(pieces):
        for word, p in groups.get(piece, []):
            rows[i] += p * vectors[words[word]]
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def start(work: Path, weights: Weights) -> np.ndarray:
    path = work / 'table-0.npy'
    if path.exists():
        return np.load(path)
    rows = teacher_rows(work)
    live = np.abs(rows).sum(1) > 0
    rows[live] -= rows[live].mean(0)
    axes, variance, _ = np.linalg.svd(rows[live].T @ rows[live] / live.sum())
    # The teacher's last few components have no variance at all; DIMS ends before them.
    table = rows @ (axes[:, :DIMS] / np.sqrt(variance[:DIMS]))
    table *= (weights.idf * np.where(weights.later, LATER_PIECE, 1) * np.where(weights.stop, STOP_WORD, 1))[:, None]
    table /= np.median(np.linalg.norm(table[live], axis=1))
    table = table.astype(np.float32)
    np.save(path, table)
    return table


def bags(texts: list[str], tokenizer: Tokenizer, size: int) -> sparse.csr_matrix:
    """Counts of pieces in each text: float32 [N, V]."""
    rows = []
    for at in range(0, len(texts), 8192):
        batch = tokenizer.encode_batch_fast(texts[at : at + 8192], add_special_tokens=False)
        rows += [np.array(e.ids, np.int32) for e in batch]
    ends = np.concatenate([[0], np.cumsum([len(r) for r in rows])])
    flat = np.concatenate(rows)
    counts = sparse.csr_matrix((np.ones(len(flat), np.float32), flat, ends), shape=(len(texts), size))
    counts.sum_duplicates()
    return counts


def _unit(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    length = np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6)
    return sums / length, length


def step(table: np.ndarray, memory: np.ndarray, left: sparse.csr_matrix, right: sparse.csr_matrix) -> float:
    """One batch, in place. memory: float32 [V], each row's sum of mean squared gradients. Returns the loss."""
    a, a_length = _unit(left @ table)
    b, b_length = _unit(right @ table)
    logits = a @ b.T / TEMPERATURE
    forth = np.exp(logits - logits.max(1, keepdims=True))
    forth /= forth.sum(1, keepdims=True)
    back = np.exp(logits - logits.max(0))
    back /= back.sum(0)
    pull = (forth + back) / 2
    pull[np.diag_indices(len(pull))] -= 1
    pull /= TEMPERATURE
    a_grad, b_grad = pull @ b, pull.T @ a
    a_grad = (a_grad - (a_grad * a).sum(1, keepdims=True) * a) / a_length
    b_grad = (b_grad - (b_grad * b).sum(1, keepdims=True) * b) / b_length
    both = sparse.vstack([left, right]).tocsc()
    rows = np.flatnonzero(np.diff(both.indptr))
    gradient = both[:, rows].T.tocsr() @ np.vstack([a_grad, b_grad]).astype(np.float32)
    memory[rows] += (gradient * gradient).mean(1)
    table[rows] -= RATE * gradient / np.sqrt(memory[rows])[:, None]
    return float(-np.log(np.diag(forth) + 1e-12).mean())


def train(work: Path, tokenizer: Tokenizer, table: np.ndarray, leave_out: frozenset[str] = frozenset()) -> np.ndarray:
    """EPOCHS times over the passages, cut anew each time. An epoch that is done is read back, not repeated."""
    memory = np.full(len(table), 1e-8, np.float32)
    for epoch in range(1, EPOCHS + 1):
        path = work / f'table-{epoch}.npz'
        if path.exists():
            held = np.load(path)
            table, memory = held['table'], held['memory']
            continue
        cut = pairs(work, epoch, leave_out)
        left = bags([a for a, _ in cut], tokenizer, len(table))
        right = bags([b for _, b in cut], tokenizer, len(table))
        for n, at in enumerate(range(0, len(cut) - BATCH + 1, BATCH)):
            loss = step(table, memory, left[at : at + BATCH], right[at : at + BATCH])
            if n % 50 == 0:
                log(f'epoch {epoch}, batch {n}, loss {loss:.3f}')
        np.savez(path, table=table, memory=memory)
    return table
