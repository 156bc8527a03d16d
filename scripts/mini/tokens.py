"""tokenizer.json from the vocabulary, and how common each piece is.

Outputs: WORK/tokenizer.json; WORK/pieces.npz {chance: float64 [V]}; WORK/bags.npz (piece ids of every passage).
"""

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from frequencies import SHARES
from settings import log
from vocabulary import RARE, ZIPF, teacher_vocabulary

PAD, UNK, CLS, SEP = range(4)


def make(work: Path) -> Tokenizer:
    pieces = json.loads((work / 'vocabulary.json').read_text())['pieces']
    tokenizer = Tokenizer(
        models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token='[UNK]', max_input_chars_per_word=100)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single='[CLS] $A [SEP]', pair='[CLS] $A [SEP] $B:1 [SEP]:1', special_tokens=[('[CLS]', CLS), ('[SEP]', SEP)]
    )
    tokenizer.decoder = decoders.WordPiece(prefix='##', cleanup=True)
    tokenizer.add_special_tokens(['[PAD]', '[UNK]', '[CLS]', '[SEP]'])
    tokenizer.save(str(work / 'tokenizer.json'))
    return tokenizer


def bags(work: Path, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Piece ids of all passages one after another, where each begins, and each one's source."""
    path = work / 'bags.npz'
    rows = [json.loads(line) for line in open(work / 'passages.jsonl', encoding='utf-8')]
    sources = [row['source'] for row in rows]
    if not path.exists():
        flat, ends = [], [0]
        for start in range(0, len(rows), 8192):
            texts = [row['title'] + ' ' + row['text'] for row in rows[start : start + 8192]]
            for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
                flat.append(np.array(encoding.ids, np.int32))
                ends.append(ends[-1] + len(encoding.ids))
        np.savez(path, ids=np.concatenate(flat), ends=np.array(ends))
        log(f'{ends[-1]} pieces in {len(rows)} passages')
    held = np.load(path)
    return held['ids'], held['ends'], sources


def chances(work: Path, tokenizer: Tokenizer) -> np.ndarray:
    """The chance that a passage holds a piece: float64 [V]. See vocabulary.chances for the tempering."""
    path = work / 'chances.npy'
    if path.exists():
        return np.load(path)
    vocabulary = json.loads((work / 'vocabulary.json').read_text())
    pieces, groups = vocabulary['pieces'], vocabulary['groups']
    ids, ends, sources = bags(work, tokenizer)
    passage = np.repeat(np.arange(len(sources)), np.diff(ends))
    names, code = np.unique(sources, return_inverse=True)
    sizes = np.bincount(code)
    rest = sum(n for name, n in zip(names, sizes) if name not in SHARES)
    weight = np.array(
        [
            SHARES[name] / n if name in SHARES else (1 - sum(SHARES.values())) / rest
            for name, n in zip(names, sizes)
        ]
    )
    once = np.unique(passage.astype(np.int64) * len(pieces) + ids)
    p = np.bincount(once % len(pieces), weights=weight[code[once // len(pieces)]], minlength=len(pieces))
    rank = {w: r for r, w in enumerate((w for w in teacher_vocabulary()[1996:] if not w.startswith('##')), start=1)}
    for i, piece in enumerate(pieces):
        if piece not in groups:
            continue
        zipf = sum(ZIPF / rank[w] for w, _ in groups[piece] if w in rank)
        if zipf:
            p[i] = np.sqrt(max(p[i], 1e-5) * min(0.5, zipf))
        elif len(piece) > 1:
            p[i] = min(p[i], RARE)
    np.save(path, p)
    return p
