"""Pairs of texts that belong together, cut from the passages: what the table is trained on.

A dictionary's headword and its entry (or the two halves of a long entry); a page's title and a passage of it; a few words out of a
passage and the rest of it (the inverse cloze task). No relevance judgements of any collection are used.
"""

import json
import random
from pathlib import Path


def pairs(work: Path, seed: int, leave_out: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """Another seed cuts the same passages elsewhere. leave_out: texts of passages kept for judging."""
    rng = random.Random(seed)
    out = []
    with open(work / 'passages.jsonl', encoding='utf-8') as lines:
        for line in lines:
            row = json.loads(line)
            text, words = row['text'], row['text'].split()
            if text in leave_out:
                continue
            if row['source'].startswith('dict-') or row['source'] == 'r-bioc-go.db':
                if len(words) >= 6:
                    whole = len(words) < 30 or rng.random() < 0.5
                    half = len(words) // 2
                    out.append((row['title'], text) if whole else (' '.join(words[:half]), ' '.join(words[half:])))
            elif len(words) >= 40:
                if rng.random() < 0.2:
                    out.append((row['title'], text))
                else:
                    length = rng.randint(8, 30)
                    at = rng.randint(0, len(words) - length)
                    out.append((' '.join(words[at : at + length]), ' '.join(words[:at] + words[at + length :])))
    rng.shuffle(out)
    return out
