"""How common each word is: a mixture over the sources, so that no one kind of text rules.

Output: WORK/words.json, {word: [p, tokens]}: p is the chance that a passage holds the word.
"""

import json
import re
import unicodedata
from collections import Counter
from pathlib import Path

from settings import log

# Shares of the mixture. Reference works cover the language evenly, so they get most of it; all software
# manuals together get a fifth.
SHARES = {'dict-wn': 0.22, 'dict-gcide': 0.22, 'anarchism': 0.18, 'r-bioc-go.db': 0.1, 'dict-foldoc': 0.06, 'dict-jargon': 0.03}


def words_of(text: str) -> list[str]:
    """Words as BERT's normaliser and pre-tokeniser leave them, ASCII ones only (accents are stripped)."""
    plain = ''.join(c for c in unicodedata.normalize('NFD', text.lower()) if unicodedata.category(c) != 'Mn')
    return re.findall(r'[a-z0-9]+', plain)


def count(work: Path) -> Path:
    out = work / 'words.json'
    if out.exists():
        return out
    passages: Counter[str] = Counter()
    held: dict[str, Counter[str]] = {}
    tokens: Counter[str] = Counter()
    with open(work / 'passages.jsonl', encoding='utf-8') as lines:
        for line in lines:
            row = json.loads(line)
            words = words_of(row['title'] + ' ' + row['text'])
            source = row['source']
            passages[source] += 1
            held.setdefault(source, Counter()).update(set(words))
            tokens.update(words)
    rest = [s for s in passages if s not in SHARES]
    shares = SHARES | {s: (1 - sum(SHARES.values())) * passages[s] / sum(passages[r] for r in rest) for s in rest}
    p: dict[str, float] = {}
    for source, counter in held.items():
        for word, n in counter.items():
            p[word] = p.get(word, 0.0) + shares[source] * n / passages[source]
    table = {w: [round(p[w], 9), tokens[w]] for w in sorted(p, key=lambda w: (-p[w], w)) if tokens[w] > 1 and len(w) < 40}
    out.write_text(json.dumps(table))
    log(f'{len(table)} words, {sum(tokens.values())} running words')
    return out
