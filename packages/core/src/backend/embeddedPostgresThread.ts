import { parentPort, workerData } from 'node:worker_threads';
import { PGlite } from '@electric-sql/pglite';
import type { ThreadReply, ThreadRequest } from './embeddedPostgres.ts';

/**
 * The thread that owns PGlite. PGlite runs a statement without yielding, so on the main thread its queries
 * would delay every request; and one instance is one session, so statements of all callers go through here in turn.
 */
const port = parentPort!;
const reply = (message: ThreadReply) => port.postMessage(message);

const database = await PGlite.create({
  dataDir: (workerData as { folder: string }).folder,
  postgresqlconf: ['shared_buffers = 16MB'],
});
database.onNotification((channel, payload) => reply({ kind: 'notification', channel, payload }));
port.on('message', (request: ThreadRequest) => void handle(request));
reply({ kind: 'ready' });

async function handle({ id, text, params }: ThreadRequest): Promise<void> {
  if (text === undefined) {
    await database.close();
    reply({ kind: 'result', id, rows: [], rowCount: 0 });
    port.close();
    return;
  }
  try {
    // without parameters the text may be several statements, and the answer is the last one's
    const result =
      params === undefined || params.length === 0
        ? (await database.exec(text)).at(-1)
        : await database.query(text, params as unknown[]);
    reply({
      kind: 'result',
      id,
      rows: result?.rows ?? [],
      rowCount: result?.affectedRows || result?.rows.length || 0,
    });
  } catch (error) {
    const { message, code, detail } = error as Error & { code?: string; detail?: string };
    reply({ kind: 'error', id, message, code, detail });
  }
}
