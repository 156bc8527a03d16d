import type { QdrantSearchMode } from '@trivec/core/sinks/qdrant/search';
import type { CollectionSearchAnswer } from '../apiTypes.ts';
import {
  type CommandContext,
  type CommonOptions,
  EXIT,
  print,
  printJson,
  say,
  withConnection,
} from '../context.ts';
import { formatScore, shorten } from '../format.ts';

export interface CollectionSearchOptions extends CommonOptions {
  collection: string;
  target?: string;
  mode: QdrantSearchMode;
  limit: number;
  filter?: Record<string, unknown>;
}

/** A question to a collection of the server's Qdrant. */
export function searchCollection(
  context: CommandContext,
  query: string,
  options: CollectionSearchOptions,
): Promise<number> {
  return withConnection(context, options, async ({ client }) => {
    const { target, collection, mode, limit, filter } = options;
    const answer = await client.searchCollection(
      {
        ...(target !== undefined && { target }),
        collection,
        query,
        mode,
        limit,
        ...(filter !== undefined && { filter }),
      },
      context,
    );
    if (options.json) printJson(context, answer);
    else if (answer.hits.length === 0) say(context, 'Nothing found.');
    else print(context, hitsText(answer, context.out.columns ?? 100));
    return EXIT.done;
  });
}

/** Hits as text of about `width` columns. */
function hitsText({ hits }: CollectionSearchAnswer, width: number): string {
  const indent = '    ';
  return hits
    .map(({ id, chunk, score, text, payload }, index) => {
      const title = payload.title ?? payload.name;
      const head = `${String(index + 1).padStart(2)}  ${formatScore(score)}  ${id}${chunk === 0 ? '' : ` (chunk ${chunk})`}`;
      const lines = [typeof title === 'string' ? `${head}  ${title}` : head];
      if (text !== null) lines.push(indent + shorten(text, 2 * (Math.max(40, width) - indent.length)));
      return lines.join('\n');
    })
    .join('\n\n');
}
