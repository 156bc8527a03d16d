/**
 * Runs the tests: `npm test` all of them, `npm test -- unit` one folder, `npm test -- test/unit/pack.test.ts` some files.
 * Node's own runner does the work; this only finds the files, so that no shell glob is needed.
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';

const root = new URL('..', import.meta.url).pathname;
const wanted = process.argv.slice(2);
const all = globSync('test/{unit,golden,integration}/**/*.test.ts', { cwd: root }).sort();
const files =
  wanted.length === 0
    ? all
    : all.filter((file) => wanted.some((want) => file === want || file.startsWith(`test/${want}/`)));
if (files.length === 0) {
  console.error(`No test file matches ${wanted.join(' ')}.`);
  process.exit(1);
}
// Two files at a time: more would starve the real servers that the integration tests start on a small machine.
const runner = spawn(
  process.execPath,
  ['--test', '--test-concurrency=2', '--test-timeout=120000', ...files],
  {
    cwd: root,
    stdio: 'inherit',
  },
);
runner.on('exit', (code, signal) => process.exit(signal === null ? (code ?? 1) : 1));
