"""Where things lie, what is pinned, and small helpers."""

import hashlib
import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODEL_DIR = HERE.parent.parent / 'models' / 'mini'
SOURCES = json.loads((HERE / 'sources.json').read_text())
STARTED = time.time()


def log(message: str) -> None:
    print(f'[{time.time() - STARTED:6.0f} s] {message}', file=sys.stderr, flush=True)


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
