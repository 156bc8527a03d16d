/**
 * For maintainers: asks a real Qdrant the questions of test/support/qdrantExchanges.ts and writes its answers
 * to test/golden/qdrant/answers.json, which the double must then match.
 * `node scripts/recordQdrantAnswers.ts http://127.0.0.1:6333`
 */
import { writeFileSync } from 'node:fs';
import { EXCHANGES, exchange } from '../test/support/qdrantExchanges.ts';

const url = process.argv[2];
if (url === undefined) {
  console.error('Usage: node scripts/recordQdrantAnswers.ts http://127.0.0.1:6333');
  process.exit(1);
}
const { version } = (await (await fetch(url)).json()) as { version: string };
const answers: unknown[] = [];
for (const item of EXCHANGES) answers.push(await exchange(url, item));
const file = new URL('../test/golden/qdrant/answers.json', import.meta.url);
const lines = answers.map((answer) => `    ${JSON.stringify(answer)}`).join(',\n');
writeFileSync(file, `{\n  "version": ${JSON.stringify(version)},\n  "answers": [\n${lines}\n  ]\n}\n`);
console.log(`${answers.length} answers of Qdrant ${version} recorded.`);
