import { createReadStream, existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { LineSplitter } from '@trivec/core/jobs/lineSplitter';

const MAX_LINE_BYTES = 64 * 1024 ** 2;

/** What stops the measuring because of the collection: names the file and, where there is one, the line. */
export class CollectionError extends Error {
  override readonly name = 'CollectionError';
}

export interface TextRecord {
  id: string;
  /** Title and text, a blank between them (as BEIR does). Empty where both are. */
  text: string;
}

export interface Collection {
  name: string;
  /** Streams the corpus, checked line by line: to be read as often as wanted. */
  documents(): AsyncGenerator<TextRecord>;
  /** Those that are judged, in the order of their file. */
  queries: ReadonlyMap<string, string>;
  /** By query; every one of them is in `queries`. */
  qrels: ReadonlyMap<string, ReadonlyMap<string, number>>;
}

/**
 * Opens `{corpus.jsonl, queries.jsonl, qrels.tsv}` or BEIR's layout (`qrels/SPLIT.tsv`). Queries and judgements are
 * read at once. Throws `CollectionError`.
 */
export async function openCollection(folder: string, split = 'test'): Promise<Collection> {
  const corpus = join(folder, 'corpus.jsonl');
  const queriesFile = join(folder, 'queries.jsonl');
  const flat = join(folder, 'qrels.tsv');
  const qrelsFile = existsSync(flat) ? flat : join(folder, 'qrels', `${split}.tsv`);
  for (const file of [corpus, queriesFile, qrelsFile])
    if (!existsSync(file))
      throw new CollectionError(
        `${shown(file)} is missing: a collection has corpus.jsonl, queries.jsonl, and qrels.tsv or qrels/${split}.tsv.`,
      );
  const judged = await readQrels(qrelsFile);
  const queries = new Map<string, string>();
  for await (const { id, text } of readTexts(queriesFile)) {
    if (!judged.has(id)) continue;
    if (text === '')
      throw new CollectionError(`${shown(queriesFile)}: query ${JSON.stringify(id)} is empty.`);
    queries.set(id, text);
  }
  const qrels = new Map<string, ReadonlyMap<string, number>>();
  for (const [query, { line, documents }] of judged) {
    if (!queries.has(query))
      throw new CollectionError(
        `${shown(qrelsFile)}:${line}: query ${JSON.stringify(query)} is not in queries.jsonl.`,
      );
    qrels.set(query, documents);
  }
  if (qrels.size === 0) throw new CollectionError(`${shown(qrelsFile)} has no judgement.`);
  return { name: basename(resolve(folder)), documents: () => readTexts(corpus), queries, qrels };
}

async function* readLines(file: string): AsyncGenerator<{ text: string; number: number }> {
  const splitter = new LineSplitter(MAX_LINE_BYTES);
  try {
    for await (const chunk of createReadStream(file)) yield* splitter.push(chunk as Buffer);
    yield* splitter.end();
  } catch (error) {
    if (error instanceof CollectionError) throw error;
    throw new CollectionError(`${shown(file)}: ${(error as Error).message}`, { cause: error });
  }
}

/** Lines of `{id or _id, title?, text}`, each id once. */
async function* readTexts(file: string): AsyncGenerator<TextRecord> {
  const firstLine = new Map<string, number>();
  for await (const { text: line, number } of readLines(file)) {
    const wrong = (problem: string) => new CollectionError(`${shown(file)}:${number}: ${problem}.`);
    const record = parseObject(line);
    if (record === undefined) throw wrong('not a JSON object');
    const id = record.id ?? record._id;
    if (!(typeof id === 'string' && id !== '') && !Number.isSafeInteger(id))
      throw wrong('"id" (or "_id") must be a string or an integer');
    if (typeof record.text !== 'string') throw wrong('"text" must be a string');
    if (record.title !== undefined && record.title !== null && typeof record.title !== 'string')
      throw wrong('"title" must be a string');
    const key = String(id);
    const earlier = firstLine.get(key);
    if (earlier !== undefined) throw wrong(`id ${JSON.stringify(key)} stands in line ${earlier} already`);
    firstLine.set(key, number);
    yield { id: key, text: `${record.title ?? ''} ${record.text}`.trim() };
  }
  if (firstLine.size === 0) throw new CollectionError(`${shown(file)} is empty.`);
}

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** `query TAB document TAB relevance`, or TREC's four columns; with or without a head. */
async function readQrels(
  file: string,
): Promise<Map<string, { line: number; documents: Map<string, number> }>> {
  const judged = new Map<string, { line: number; documents: Map<string, number> }>();
  let first = true;
  for await (const { text, number } of readLines(file)) {
    const wrong = (problem: string) => new CollectionError(`${shown(file)}:${number}: ${problem}.`);
    const cells = text.split(/\t/);
    const head = first && !/^-?\d+$/.test(cells.at(-1)!);
    first = false;
    if (head && cells.length >= 3) continue;
    if (cells.length !== 3 && cells.length !== 4)
      throw wrong('expected query, document and relevance, with tabs between them');
    const [query, document, relevance] = [cells[0]!, cells.at(-2)!, cells.at(-1)!];
    if (!/^-?\d+$/.test(relevance)) throw wrong(`relevance ${JSON.stringify(relevance)} is not an integer`);
    const entry = judged.get(query) ?? { line: number, documents: new Map<string, number>() };
    judged.set(query, entry);
    if (entry.documents.has(document))
      throw wrong(`query ${JSON.stringify(query)} and document ${JSON.stringify(document)} are judged twice`);
    entry.documents.set(document, Number(relevance));
  }
  return judged;
}

/** The last two parts of a path: enough to find it, and no more of the machine than that. */
function shown(file: string): string {
  return resolve(file).split(/[\\/]/).slice(-2).join('/');
}
