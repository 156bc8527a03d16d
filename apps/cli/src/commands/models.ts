import {
  type CommandContext,
  type CommonOptions,
  EXIT,
  print,
  printJson,
  say,
  withConnection,
} from '../context.ts';
import { formatCount, formatTable } from '../format.ts';

/** What a job can name as its model. */
export function listModels(context: CommandContext, options: CommonOptions): Promise<number> {
  return withConnection(context, options, async ({ client }) => {
    const models = await client.models(context);
    if (options.json) {
      printJson(context, models);
      return EXIT.done;
    }
    if (models.length === 0) {
      say(context, 'No worker with a model is there yet.');
      return EXIT.done;
    }
    const rows = models.map((model) => [
      model.default ? `${model.id} (default)` : model.id,
      model.outputs.join(','),
      model.denseDims === 0 ? '' : String(model.denseDims),
      model.colbertDims === 0 ? '' : String(model.colbertDims),
      formatCount(model.maxTokens),
      String(model.workers),
      model.license,
    ]);
    const head = ['model', 'outputs', 'dense', 'colbert', 'tokens', 'workers', 'license'];
    print(context, formatTable(head, rows, [2, 3, 4, 5]));
    for (const { id, description, standIn } of models) {
      say(context, `${id}: ${description}${standIn ? ' (a stand-in)' : ''}`);
    }
    return EXIT.done;
  });
}
