import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { apiRig } from '../../support/apiRig.ts';

const page = readFileSync(new URL('../../../docs/api.md', import.meta.url), 'utf8');
const snippets = [...page.matchAll(/```(sh|js)\n([\s\S]*?)```/g)].map(([, language = '', code = '']) => ({
  language,
  code,
}));

test('every snippet of docs/api.md works as it stands', async (t) => {
  const { app } = await apiRig(t);
  const address = await app.listen({ host: '127.0.0.1', port: 0 });
  assert.ok(snippets.length >= 10);
  for (const { language, code } of snippets) {
    if (language === 'js') {
      const lines: unknown[][] = [];
      const fake = { log: (...line: unknown[]) => lines.push(line) };
      const { default: OpenAI } = await import('openai');
      const body = code.replace(/^import .*$/m, '').replaceAll('process.env', 'env');
      const run = new Function('OpenAI', 'env', 'console', `return (async () => {${body}})()`);
      await run(OpenAI, { BASE_URL: address, MODEL: 'fake' }, fake);
      assert.deepEqual(lines, [[2, 4]]);
      continue;
    }
    const call = /^curl -s \$BASE_URL(\S+) -H 'content-type: application\/json' -d '([\s\S]*)'\n$/.exec(code);
    assert.ok(call, code);
    const [, path = '', body = ''] = call;
    const response = await fetch(address + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    assert.equal(response.status, 200, `${path}: ${await response.text()}`);
  }
});

test('the page names every option of its tables that there is', () => {
  for (const heading of ['OpenAI', 'TEI', 'Smart-Embedder', 'Cohere or Jina'])
    assert.match(page, new RegExp(`^## Coming from ${heading}$`, 'm'));
});
