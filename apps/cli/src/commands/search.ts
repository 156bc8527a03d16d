import type { SearchAnswer, SearchHit, SearchMode } from '../apiTypes.ts';
import {
  type CommandContext,
  type CommonOptions,
  EXIT,
  print,
  printJson,
  say,
  withConnection,
} from '../context.ts';
import { formatNumberOf, formatScore, shorten } from '../format.ts';

export interface SearchOptions extends CommonOptions {
  mode: SearchMode;
  limit: number;
  explain?: boolean;
}

/** Exact search over what a job has embedded. */
export function search(
  context: CommandContext,
  id: string,
  query: string,
  options: SearchOptions,
): Promise<number> {
  return withConnection(context, options, async ({ client }) => {
    const { mode, limit, explain = false } = options;
    const answer = await client.search(id, { query, mode, limit, explain }, context);
    if (options.json) {
      printJson(context, answer);
      return EXIT.done;
    }
    for (const note of answer.notes) say(context, `Note: ${note}`);
    if (answer.hits.length === 0) say(context, 'Nothing found.');
    else print(context, answerText(answer, context.out.columns ?? 100));
    say(context, `${formatNumberOf(answer.scanned, 'text')} looked at, mode ${mode}.`);
    return EXIT.done;
  });
}

/** Hits as text of about `width` columns. */
export function answerText(answer: SearchAnswer, width: number): string {
  return answer.hits.map((hit, index) => hitText(hit, index + 1, Math.max(40, width))).join('\n\n');
}

function hitText(hit: SearchHit, rank: number, width: number): string {
  const indent = '    ';
  const chunk = hit.chunk === 0 ? '' : ` (chunk ${hit.chunk})`;
  const title = titleOf(hit);
  const lines = [
    `${String(rank).padStart(2)}  ${formatScore(hit.score)}  ${hit.id}${chunk}${title === undefined ? '' : `  ${title}`}`,
  ];
  lines.push(indent + shorten(hit.text, 2 * (width - indent.length)));
  const scores = Object.entries(hit.scores).map(([output, score]) => `${output} ${formatScore(score)}`);
  if (scores.length > 1) lines.push(indent + scores.join('  '));
  for (const line of explanationLines(hit, width - indent.length)) lines.push(indent + line);
  return lines.join('\n');
}

/** What people call a title, where the payload has one. */
export function titleOf(hit: SearchHit): string | undefined {
  const title = hit.payload?.title ?? hit.payload?.name;
  return typeof title === 'string' ? title : undefined;
}

const SHOWN_TOKENS = 8;

/**
 * `sparse:   iso 2.10 × 1.90 = 3.99` and `colbert:  snow → ice 0.71`, heaviest first, in lines of about `width` columns.
 * In ColBERT every token of the query meets one of the hit, and the score is the mean.
 */
export function explanationLines({ explanation }: SearchHit, width: number): string[] {
  const lines: string[] = [];
  if (explanation?.sparse !== undefined) {
    const carried = explanation.sparse
      .toSorted((a, b) => b.product - a.product)
      .map(
        ({ token, queryWeight, documentWeight, product }) =>
          `${shown(token)} ${queryWeight.toFixed(2)} × ${documentWeight.toFixed(2)} = ${product.toFixed(2)}`,
      );
    lines.push(...labelled('sparse', carried.length === 0 ? ['no token in common'] : carried, width));
  }
  if (explanation?.colbert !== undefined) {
    const met = explanation.colbert
      .toSorted((a, b) => b.similarity - a.similarity)
      .map(
        ({ queryToken, documentToken, documentIndex, similarity }) =>
          `${shown(queryToken ?? '?')} → ${documentToken === undefined ? `token ${documentIndex + 1}` : shown(documentToken)} ${similarity.toFixed(2)}`,
      );
    lines.push(...labelled('colbert', met, width));
  }
  return lines;
}

/** The first items behind a label, as many a line as fit; what is left out is counted. */
function labelled(label: string, items: readonly string[], width: number): string[] {
  const left = items.length - SHOWN_TOKENS;
  const cells = left > 0 ? [...items.slice(0, SHOWN_TOKENS), `${left} more`] : items;
  const indent = `${label}: `.padEnd(10);
  const lines: string[] = [];
  let line = '';
  for (const cell of cells) {
    const longer = line === '' ? cell : `${line} · ${cell}`;
    if (line !== '' && indent.length + longer.length > width) {
      lines.push(line);
      line = cell;
    } else line = longer;
  }
  lines.push(line);
  return lines.map((text, index) => (index === 0 ? indent : ' '.repeat(indent.length)) + text);
}

/** Tokenizers mark the start of a word with ▁, or its continuation with ##. */
function shown(token: string): string {
  return (
    token
      .replace(/^▁/, '')
      .replace(/^##(?=.)/, '…')
      .replaceAll('\n', '\\n') || '▁'
  );
}
