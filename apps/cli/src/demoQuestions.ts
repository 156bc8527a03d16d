import { OUTPUTS, type Output } from '@trivec/core/vectors/types';
import type { SearchHit } from './apiTypes.ts';
import { titleOf } from './commands/search.ts';
import { shorten } from './format.ts';

export interface DemoQuestion {
  question: string;
  /** What the question is there to show. */
  point: string;
  /** Id of the passage that answers it. */
  answer: string;
}

export const QUESTIONS: readonly DemoQuestion[] = [
  {
    question: 'What should I do when I feel sick high in the mountains?',
    point: 'The passage that answers it has none of the words that matter: meaning finds it.',
    answer: 'travel-09',
  },
  {
    question: 'What is ISO 3103?',
    point: 'A number has no meaning to go by, and other standards are near: the exact word finds it.',
    answer: 'drinks-01',
  },
  {
    question: 'Why does bread turn brown in the oven?',
    point: 'Words and meaning agree.',
    answer: 'cooking-01',
  },
];

/** The best hits of each output, best first. */
export type Answers = Record<Output, readonly SearchHit[]>;

const ORDINALS = ['first', 'second', 'third'];

/** A question, the three rankings side by side in about `width` columns, and where the answer stands in each. */
export function answersText(asked: DemoQuestion, answers: Answers, width: number): string {
  const column = Math.max(20, Math.floor((width - 2) / OUTPUTS.length) - 2);
  const row = (cells: readonly string[]) =>
    `  ${cells.map((cell) => cell.padEnd(column)).join('  ')}`.trimEnd();
  const depth = Math.max(...OUTPUTS.map((output) => answers[output].length));
  const lines = [
    `“${asked.question}”`,
    `  ${asked.point}`,
    '',
    row(OUTPUTS),
    row(OUTPUTS.map(() => '─'.repeat(column))),
  ];
  for (let rank = 0; rank < depth; rank++) {
    lines.push(row(OUTPUTS.map((output) => cellOf(answers, output, rank, column))));
  }
  const hit = OUTPUTS.flatMap((output) => answers[output]).find(({ id }) => id === asked.answer);
  const places = OUTPUTS.map((output) => `${output}: ${placeOf(answers[output], asked.answer)}`).join(', ');
  if (hit === undefined) lines.push('', `  The answer (${asked.answer}) is among none of them.`);
  else
    lines.push(
      '',
      `  ✓ ${shorten(`${titleOf(hit) ?? hit.id}: ${hit.text}`, 2 * width - 4)}`,
      `    ${places}`,
    );
  return lines.join('\n');
}

/** `*` marks what this output alone has found. */
function cellOf(answers: Answers, output: Output, rank: number, width: number): string {
  const hit = answers[output][rank];
  if (hit === undefined) return '';
  const alone = OUTPUTS.every((other) => other === output || answers[other].every(({ id }) => id !== hit.id));
  return `${rank + 1} ${alone ? '*' : ' '} ${shorten(titleOf(hit) ?? hit.id, width - 4)}`;
}

function placeOf(hits: readonly SearchHit[], id: string): string {
  const rank = hits.findIndex((hit) => hit.id === id);
  return rank === -1 ? `not in the first ${hits.length}` : (ORDINALS[rank] ?? `${rank + 1}th`);
}
