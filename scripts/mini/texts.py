"""Openly licensed English texts out of Debian packages, as passages of one source each.

Output: WORK/passages.jsonl, one {"source", "title", "text"} a line, in a fixed order.
"""

import gzip
import json
import re
import sqlite3
import subprocess
from html.parser import HTMLParser
from pathlib import Path

from settings import SOURCES, log, sha256

MAX_WORDS = 110


def fetch(work: Path) -> None:
    """Download the pinned packages with apt and unpack them under WORK/x/NAME."""
    debs = work / 'debs'
    debs.mkdir(parents=True, exist_ok=True)
    for source in SOURCES:
        target = work / 'x' / source['package']
        if (target / '.done').exists():
            continue
        name, version = source['package'], source['version']
        found = sorted(debs.glob(f'{name}_*.deb'))
        if not found:
            log(f'fetching {name} {version}')
            subprocess.run(['apt-get', 'download', f'{name}={version}'], cwd=debs, check=True)
            found = sorted(debs.glob(f'{name}_*.deb'))
        digest = sha256(found[0])
        if digest != source['sha256']:
            raise SystemExit(f'{found[0].name}: sha256 {digest} is not the pinned {source["sha256"]}')
        target.mkdir(parents=True, exist_ok=True)
        subprocess.run(['dpkg-deb', '-x', str(found[0]), str(target)], check=True)
        (target / '.done').touch()


def tidy(text: str) -> str:
    return re.sub(r'\s+', ' ', text).strip()


def passages(title: str, paragraphs: list[str]):
    """Join short paragraphs and cut long ones, so that a passage has at most MAX_WORDS words."""
    held: list[str] = []
    for paragraph in paragraphs:
        words = paragraph.split()
        if held and len(held) + len(words) > MAX_WORDS:
            yield title, ' '.join(held)
            held = []
        held += words
        while len(held) > MAX_WORDS:
            yield title, ' '.join(held[:MAX_WORDS])
            held = held[MAX_WORDS:]
    if len(held) >= 6:
        yield title, ' '.join(held)


class Paragraphs(HTMLParser):
    """Text of p, li, dd and td elements, without code blocks, navigation and scripts."""

    TAKE = {'p', 'li', 'dd'}
    SKIP = {'script', 'style', 'pre', 'nav', 'head', 'form', 'table'}

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self.title = ''
        self.held: list[str] = []
        self.taking = 0
        self.skipping = 0
        self.in_heading = False

    def handle_starttag(self, tag, attrs):
        if tag in self.SKIP:
            self.skipping += 1
        elif tag in self.TAKE:
            self.flush()
            self.taking += 1
        elif tag == 'h1':
            self.in_heading = True

    def handle_endtag(self, tag):
        if tag in self.SKIP:
            self.skipping = max(0, self.skipping - 1)
        elif tag in self.TAKE:
            self.flush()
            self.taking = max(0, self.taking - 1)
        elif tag == 'h1':
            self.in_heading = False

    def handle_data(self, data):
        if self.skipping:
            return
        if self.in_heading:
            self.title += data
        elif self.taking:
            self.held.append(data)

    def flush(self):
        text = tidy(''.join(self.held))
        self.held = []
        if len(text.split()) >= 6:
            self.out.append(text)


def read(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix in ('.gz', '.dz'):
        data = gzip.decompress(data)
    return data.decode('utf-8', 'replace')


def html(root: Path):
    for path in sorted(p for p in root.rglob('*') if p.name.endswith(('.html', '.html.gz'))):
        parser = Paragraphs()
        parser.feed(read(path))
        parser.flush()
        yield from passages(tidy(parser.title).strip('¶# '), parser.out)


def entries(root: Path):
    """dictd: an entry opens with its headword in the first column; its body is indented."""
    title, body = '', []
    for line in read(next(root.rglob('*.dict.dz'))).split('\n') + ['end']:
        if line[:1] not in ('', ' ', '\t'):
            if title and body:
                text = tidy(' '.join(body))
                text = re.sub(r'\[(1913 Webster|PJC|WordNet[^\]]*|Webster[^\]]*)[^\]]*\]', ' ', text)
                text = re.sub(r'\[(syn|ant): ', '(', text)
                text = re.sub(r'[{}\[\]]', ' ', text)
                text = re.sub(r'(^|[\s])(n|v|adj|adv|[0-9]+)( [0-9]+)?: ', ' ', text)
                yield from passages(title, [tidy(text)])
            title, body = tidy(re.sub(r'\\.*', '', line)), []
        else:
            body.append(line)


def manual(root: Path):
    """Man pages: the running text, without requests, fonts and literal blocks."""
    for path in sorted(root.rglob('man/man*/*.gz')):
        paragraphs, held, literal = [], [], False
        for line in read(path).split('\n'):
            if line.startswith(('.nf', '.EX')):
                literal = True
            elif line.startswith(('.fi', '.EE')):
                literal = False
            if literal or line.startswith("'"):
                continue
            styled = re.match(r'\.(B|I|BR|IR|RB|RI|BI|IB) (.*)', line)
            if styled:
                held.append(styled[2])
            elif line.startswith('.') or not line.strip():
                paragraphs.append(' '.join(held))
                held = []
            else:
                held.append(line)
        paragraphs.append(' '.join(held))
        clean = [tidy(re.sub(r'\\f.|\\&|\\\(..|\\', '', p).replace('"', '')) for p in paragraphs]
        yield from passages(path.name.split('.')[0], [p for p in clean if len(p.split()) >= 4])


def pod(root: Path):
    for path in sorted(root.rglob('*.pod')):
        paragraphs = [p for p in re.split(r'\n\s*\n', read(path)) if p[:1] not in ('=', ' ', '\t', '')]
        clean = [tidy(re.sub(r'[A-Z]<+\s?([^<>]*?)\s?>+', r'\1', p)) for p in paragraphs]
        yield from passages(path.stem, clean)


def ontology(root: Path):
    rows = sqlite3.connect(next(root.rglob('GO.sqlite'))).execute(
        'select term, definition from go_term where definition is not null order by go_id'
    )
    for term, definition in rows:
        yield from passages(term, [tidy(definition)])


READERS = {'html': html, 'dict': entries, 'man': manual, 'pod': pod, 'go': ontology}


def extract(work: Path) -> Path:
    out = work / 'passages.jsonl'
    if out.exists():
        return out
    seen: set[str] = set()
    counts: dict[str, int] = {}
    with open(work / 'passages.part', 'w', encoding='utf-8') as sink:
        for source in SOURCES:
            for title, text in READERS[source['reader']](work / 'x' / source['package'] / source.get('under', '.')):
                key = text[:200]
                if key in seen or sum(c.isascii() for c in text) < 0.9 * len(text):
                    continue
                seen.add(key)
                counts[source['package']] = counts.get(source['package'], 0) + 1
                sink.write(json.dumps({'source': source['package'], 'title': title, 'text': text}) + '\n')
    (work / 'passages.part').rename(out)
    log(f'passages: {counts}')
    return out
