import { PassThrough } from 'node:stream';
import { run } from '../../apps/cli/src/run.ts';
import type { Config } from '../../packages/core/src/config.ts';

export interface Ran {
  code: number;
  out: string;
  err: string;
}

/** One command line of `trivec`, in this process. */
export async function runCli(args: readonly string[], config: Config): Promise<Ran> {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const [outText, errText] = [textOf(out), textOf(err)];
  const code = await run(args, {
    readConfig: () => config,
    out: out as unknown as NodeJS.WriteStream,
    err: err as unknown as NodeJS.WriteStream,
  });
  return { code, out: outText(), err: errText() };
}

function textOf(stream: PassThrough): () => string {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString();
}
