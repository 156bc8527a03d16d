"""The WordPiece vocabulary: whole words, cut so that the forms of one word share their first piece.

WordPiece takes the longest piece that fits. If "inhibits", "inhibited" and "inhibition" are not pieces but "inhibit",
"##s", "##ed" and "##ion" are, then all three begin with the piece "inhibit": stemming, written as a vocabulary.
A form leaves the vocabulary only where the stem agrees (Snowball) and the teacher agrees (cosine), so that
"university" does not fall together with "universe".

Output: WORK/vocabulary.json: {"pieces": [...], "groups": {piece: [[word, p], ...]}, "endings": [...]}.
"""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import snowballstemmer

from settings import log
from teacher import Teacher, encode_in_parts, teacher_folder

SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]']
STOP_WORDS = set((Path(__file__).parent / 'stop-words.txt').read_text().split())
WORDS_FROM_TEXT = 48_000
SAME_MEANING = 0.5
GREEK = list('αβγδεζηθικλμνξοπρςστυφχψω')
RARE = 2e-4
ZIPF = 6.0
ENDINGS = (
    's es ed d ing er ers or ors ion ions ation ations ational ate ates ated ating ative e ity ities al ally ly y ies ied ier '
    'iest est able ible ably ibly ment ments ness ful fully ism ist ists ive ively ively ic ical ically ance ances ence ences '
    'ant ants ent ents ency ancy ous ously ize izes ized izing ization izations ise ises ised ising isation isations ures ure '
    'ying ling ting ning ping ming ring ging bing ding ted led ned ped med red ged bed ded ter ler ner per mer ger ber der '
    'ters lers ners pers mers gers bers ders ling eing ional ionally edly ingly ability ibility ations ators ator atory ory tion tions'
).split()


def teacher_vocabulary() -> list[str]:
    return (teacher_folder() / 'vocab.txt').read_text(encoding='utf-8').split('\n')


def chances(work: Path) -> dict[str, float]:
    """The chance that a passage holds a word: our texts, tempered by the rank in the teacher's vocabulary.

    BERT's vocabulary is sorted by frequency in modern text; by Zipf's law rank r gives a chance near ZIPF / r.
    The texts here are partly old or technical, so the geometric mean of both is nearer to everyday English.
    """
    table = json.loads((work / 'words.json').read_text())
    rank = {w: r for r, w in enumerate((w for w in teacher_vocabulary()[1996:] if not w.startswith('##')), start=1)}
    out = {}
    for word, (p, _) in table.items():
        if word in rank:
            out[word] = float(np.sqrt(p * min(0.5, ZIPF / rank[word])))
        else:
            out[word] = min(p, RARE) if len(word) > 1 else p
    for word, r in rank.items():
        if word not in out and word.isascii() and word.isalnum():
            out[word] = float(np.sqrt(1e-5 * min(0.5, ZIPF / r)))
    return out


def choose(work: Path) -> Path:
    out = work / 'vocabulary.json'
    if out.exists():
        return out
    p = chances(work)
    seen = json.loads((work / 'words.json').read_text())
    known = {w for w in teacher_vocabulary() if w.isascii() and w.isalnum()}
    ranked = [w for w in sorted(p, key=lambda w: (-p[w], w)) if w in seen and seen[w][1] >= 4 and not w.isdigit()]
    words = sorted(known | set(ranked[:WORDS_FROM_TEXT]), key=lambda w: (-p.get(w, 1e-6), w))
    vectors = encode_in_parts(Teacher(work, 32), words, work / 'word-vectors').astype(np.float32)
    row = {w: i for i, w in enumerate(words)}
    np.save(work / 'word-vectors.npy', vectors.astype(np.float16))
    (work / 'word-list.json').write_text(json.dumps(words))

    stem = snowballstemmer.stemmer('english')
    families: dict[str, list[str]] = defaultdict(list)
    for word in words:
        # Digits carry identity, and short words stand for themselves.
        if len(word) > 2 and word.isalpha() and word not in STOP_WORDS:
            families[stem.stemWord(word)].append(word)
    owner = {w: w for w in words}
    endings = set(ENDINGS)
    dropped: dict[str, str] = {}
    for family in families.values():
        family = sorted(family, key=lambda w: (-p.get(w, 1e-6), w))
        head = family[0]
        same = [w for w in family if float(vectors[row[w]] @ vectors[row[head]]) >= SAME_MEANING]
        while len(same) > 1:
            prefix = same[0]
            for w in same:
                while not w.startswith(prefix):
                    prefix = prefix[:-1]
            outside = prefix in row and prefix not in same
            rare = prefix not in STOP_WORDS and p.get(prefix, 1e-6) < 0.03 * sum(p.get(w, 1e-6) for w in same)
            clear = not outside or rare
            if len(prefix) >= 3 and clear and all(w == prefix or w[len(prefix) :] in endings for w in same):
                for w in same:
                    if w != prefix:
                        dropped[w] = prefix
                break
            # The form that shortens the common beginning most is the odd one: try without it.
            same.remove(min(same[1:], key=lambda w: (len(_common(w, head)), p.get(w, 1e-6))))
    pieces = (set(words) - set(dropped)) | set(dropped.values())
    dropped, pieces = _check(dropped, pieces)
    groups: dict[str, list] = defaultdict(list)
    for word in words:
        piece = dropped.get(word, word)
        groups[piece].append([word, p.get(word, 1e-6)])
    tails = sorted(v for v in teacher_vocabulary() if v.startswith('##') and v[2:].isascii() and v[2:].isalnum())
    tails = sorted(set(tails) | {'##' + e for e in ENDINGS})
    marks = [chr(c) for c in range(33, 127) if not chr(c).isalnum()] + GREEK + ['##' + c for c in GREEK]
    ordered = sorted(groups, key=lambda w: (-sum(x[1] for x in groups[w]), w))
    singles = [c for c in '0123456789abcdefghijklmnopqrstuvwxyz' if c not in groups]
    out.write_text(
        json.dumps({'pieces': SPECIAL + marks + singles + ordered + tails, 'groups': groups, 'endings': sorted(endings)})
    )
    log(f'{len(words)} words, {len(dropped)} forms folded, {len(ordered)} first pieces, {len(tails)} later pieces')
    return out


def _common(a: str, b: str) -> str:
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return a[:n]


def _check(dropped: dict[str, str], pieces: set[str]) -> tuple[dict[str, str], set[str]]:
    """A longer piece may catch a folded form first ("rated" under "rat" + "##ed" with "rate" a piece): restore it."""
    while True:
        kept = {}
        for word, prefix in dropped.items():
            if next(word[:n] for n in range(len(word) - 1, 0, -1) if word[:n] in pieces) == prefix:
                kept[word] = prefix
        if len(kept) == len(dropped):
            return kept, pieces
        pieces |= set(dropped) - set(kept)
        dropped = kept
