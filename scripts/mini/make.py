"""Makes models/mini. See README.md here. Each stage leaves a file in --work and is skipped where it is there."""

import argparse
import json
from pathlib import Path

import numpy as np

import frequencies
import graph
import table
import texts
import tokens
import vocabulary
import weights
from settings import MODEL_DIR, log

MAX_TOKENS = 8192
COLBERT_DIMS = 128
# A token's ColBERT row is its own plus CONTEXT times each of the WINDOW pieces before and after it.
WINDOW, CONTEXT = 5, 0.5
AVERAGE_LENGTH = 120


def write(folder: Path, rows: np.ndarray, lexical: np.ndarray) -> None:
    """Turn the rows so that the first COLBERT_DIMS dimensions hold the most, and write graph and configuration."""
    rows = rows.copy()
    # Special pieces mean nothing: a text of [UNK] alone gets the fallback vector.
    rows[[tokens.PAD, tokens.UNK, tokens.CLS, tokens.SEP]] = 0
    live = np.abs(rows).sum(1) > 0
    axes, _, _ = np.linalg.svd(rows[live].T @ rows[live])
    # The sign of a principal axis is arbitrary; fix it, so that two machines agree.
    axes *= np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    fallback = np.zeros(rows.shape[1], np.float32)
    # Within the ColBERT part, so that the rows of such a text have length 1 too.
    fallback[COLBERT_DIMS - 1] = 1
    graph.build(
        folder / 'model.onnx',
        (rows @ axes).astype(np.float32),
        lexical,
        fallback,
        sep=tokens.SEP,
        colbert_dims=COLBERT_DIMS,
        window=WINDOW,
        context=CONTEXT,
        average_length=AVERAGE_LENGTH,
        notes={'name': 'trivec-mini', 'teacher': 'sentence-transformers/all-MiniLM-L6-v2', 'licence': 'Apache-2.0'},
    )
    config = {
        'model_type': 'trivec-mini',
        'vocab_size': len(rows),
        'max_position_embeddings': MAX_TOKENS,
        'hidden_size': rows.shape[1],
        'colbert_size': COLBERT_DIMS,
        'pad_token_id': tokens.PAD,
        'unk_token_id': tokens.UNK,
        'cls_token_id': tokens.CLS,
        'bos_token_id': tokens.CLS,
        'sep_token_id': tokens.SEP,
        'eos_token_id': tokens.SEP,
    }
    (folder / 'config.json').write_text(json.dumps(config, indent=2) + '\n')


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument('--work', type=Path, required=True, help='folder for downloads and intermediate files (about 1 GB)')
    arguments.add_argument('--out', type=Path, default=MODEL_DIR)
    options = arguments.parse_args()
    work, out = options.work, options.out
    work.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    texts.fetch(work)
    texts.extract(work)
    frequencies.count(work)
    vocabulary.choose(work)
    tokenizer = tokens.make(work)
    weighed = weights.weigh(work, tokens.chances(work, tokenizer))
    rows = table.train(work, tokenizer, table.start(work, weighed))
    (out / 'tokenizer.json').write_bytes((work / 'tokenizer.json').read_bytes())
    write(out, rows, weighed.lexical)
    log(f'wrote {out}: {(out / "model.onnx").stat().st_size / 1e6:.1f} MB')


if __name__ == '__main__':
    main()
