import { createHash } from 'node:crypto';
import { seededRandom } from './plan.ts';

export interface Corpus {
  ids: string[];
  documents: Map<string, { text: string; payload: Record<string, unknown> }>;
  ndjson: Buffer;
}

const SYLLABLES = ['ka', 'lo', 'mi', 'ne', 'ru', 'sa', 'ti', 'vo', 'wen', 'zar', 'quil', 'der'];

/** Short documents, each with words of its own, so that no two should get the same vector. */
export function makeCorpus(seed: number, count: number): Corpus {
  const random = seededRandom(seed);
  const pick = () => SYLLABLES[Math.floor(random() * SYLLABLES.length)]!;
  const word = () => Array.from({ length: 1 + Math.floor(random() * 3) }, pick).join('');
  const documents: Corpus['documents'] = new Map();
  const lines: string[] = [];
  for (let i = 0; i < count; i++) {
    const id = `doc-${i}`;
    const mark = createHash('sha1').update(`${seed}.${i}`).digest('hex').slice(0, 12);
    const text = [mark, ...Array.from({ length: 2 + Math.floor(random() * 10) }, word)].join(' ');
    const payload = { number: i, mark };
    documents.set(id, { text, payload });
    lines.push(JSON.stringify({ id, text, payload }));
  }
  return { ids: [...documents.keys()], documents, ndjson: Buffer.from(`${lines.join('\n')}\n`) };
}
