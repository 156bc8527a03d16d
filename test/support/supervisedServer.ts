/** A stand-in for the server under the supervisor: behaves as argv[3] says, and writes its pid to argv[2] once ready. */
import { appendFileSync, readFileSync } from 'node:fs';

const [, , file, behaviour] = process.argv;

if (behaviour === 'serve' || behaviour === 'hang') {
  const keepOpen = setInterval(() => undefined, 60_000);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      appendFileSync(file!, `${signal}\n`);
      if (behaviour === 'serve') clearInterval(keepOpen);
    });
  }
}
appendFileSync(file!, `${process.pid}\n`);
const starts = readFileSync(file!, 'utf8').trim().split('\n').length;
if (behaviour === 'exit-2') process.exitCode = 2;
if (behaviour === 'crash' || (behaviour === 'crash-once' && starts === 1)) process.exitCode = 3;
