"""Lexical weights of the pieces, from how common they are."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vocabulary import STOP_WORDS

# A passage here has about 75 words; what is searched is more often around 200.
PASSAGES_PER_TEXT = 2.5
# Never so rare that one unseen word outweighs all others.
RAREST = 5e-5
# The later pieces of one word are no independent evidence.
LATER_PIECE = 0.6
# Brings a lexical score to the size of a cosine, as with BGE-M3, so that plain weighted sums balance.
SCALE = 0.1


@dataclass
class Weights:
    idf: np.ndarray
    """float64 [V], ln(1 + (1 - p) / p) with p the chance that a text holds the piece."""
    lexical: np.ndarray
    """float64 [V], SCALE * root of idf; 0 for stop words, marks, endings and special pieces."""
    stop: np.ndarray
    later: np.ndarray


def weigh(work: Path, chances: np.ndarray) -> Weights:
    vocabulary = json.loads((work / 'vocabulary.json').read_text())
    pieces, endings = vocabulary['pieces'], {'##' + e for e in vocabulary['endings']}
    p = np.clip(1 - (1 - np.minimum(chances, 0.99)) ** PASSAGES_PER_TEXT + RAREST, 0, 1)
    idf = np.log1p((1 - p) / p)
    stop = np.array([piece in STOP_WORDS for piece in pieces])
    later = np.array([piece.startswith('##') for piece in pieces])
    silent = stop | np.array([piece in endings or not any(c.isalnum() for c in piece) for piece in pieces])
    silent[:4] = True
    return Weights(idf, SCALE * np.sqrt(idf) * np.where(later, LATER_PIECE, 1) * ~silent, stop, later)
