import assert from 'node:assert/strict';
import test from 'node:test';
import { parseDocument } from '@trivec/core/jobs/documents';
import { IdSet } from '@trivec/core/jobs/idSet';
import { LineSplitter } from '@trivec/core/jobs/lineSplitter';
import { readShardDocuments, ShardCutter } from '@trivec/core/jobs/shardCutter';
import fc from 'fast-check';

const line = { line: 17 };

test('a document is id, text and payload', () => {
  assert.deepEqual(parseDocument({ id: 42, text: 'x' }, line), { id: '42', text: 'x' });
  assert.deepEqual(parseDocument({ id: 'é', text: ' x ', payload: { a: [1] } }, line), {
    id: 'é',
    text: ' x ',
    payload: { a: [1] },
  });
  assert.deepEqual(parseDocument({ id: -0, text: 'x', payload: null }, line), { id: '0', text: 'x' });
});

const refused: [name: string, value: unknown, param: string, says: RegExp][] = [
  ['an array', [], 'documents[3]', /must be an object.*not an array/],
  ['null', null, 'documents[3]', /not null/],
  ['no id', { text: 'x' }, 'documents[3].id', /id is missing/],
  ['no text', { id: 'a' }, 'documents[3].text', /text is missing/],
  ['text as number', { id: 'a', text: 5 }, 'documents[3].text', /must be a string, not a number/],
  ['empty text', { id: 'a', text: '' }, 'documents[3].text', /empty or blank/],
  ['blank text', { id: 'a', text: ' \n\t' }, 'documents[3].text', /empty or blank/],
  [
    'a text that shows nothing',
    { id: 'a', text: '\u200b\ufeff\u2060 \u3164' },
    'documents[3].text',
    /empty or blank/,
  ],
  ['NUL in a text', { id: 'a', text: 'x\0y' }, 'documents[3].text', /NUL/],
  ['empty id', { id: '', text: 'x' }, 'documents[3].id', /empty/],
  ['a fraction as id', { id: 1.5, text: 'x' }, 'documents[3].id', /integer/],
  ['an id beyond 2^53', { id: 2 ** 53, text: 'x' }, 'documents[3].id', /2\^53/],
  ['a boolean id', { id: true, text: 'x' }, 'documents[3].id', /not a boolean/],
  ['NUL in an id', { id: 'a\0b', text: 'x' }, 'documents[3].id', /NUL/],
  ['a lone surrogate in an id', { id: 'a\ud800', text: 'x' }, 'documents[3].id', /surrogate/],
  ['a long id', { id: 'é'.repeat(257), text: 'x' }, 'documents[3].id', /514 bytes.*512/],
  ['a payload that is an array', { id: 'a', text: 'x', payload: [] }, 'documents[3].payload', /object/],
  ['an unknown field', { id: 'a', text: 'x', title: 'y' }, 'documents[3].title', /title is not a field/],
  [
    '__proto__',
    JSON.parse('{"id":"a","text":"x","__proto__":{"y":1}}'),
    'documents[3].__proto__',
    /not a field/,
  ],
  ['a strange field', { id: 'a', text: 'x', 'a\nb': 1 }, 'documents[3]."a\\nb"', /not a field/],
];

for (const [name, value, param, says] of refused)
  test(`refused with its place: ${name}`, () => {
    assert.throws(() => parseDocument(value, { index: 3 }), {
      code: 'invalid_document',
      param,
      message: says,
    });
    assert.throws(() => parseDocument(value, line), {
      code: 'invalid_document',
      param: 'line 17',
      message: /^Line 17/,
    });
  });

test('half of a surrogate pair in a text becomes a replacement character; visible text stays as it is', () => {
  const texts = { 'cut \ud83d here': 'cut \ufffd here', '👩\u200d👩': '👩\u200d👩', '\u200bא': '\u200bא' };
  for (const [text, kept] of Object.entries(texts))
    assert.equal(parseDocument({ id: 1, text }, line).text, kept);
});

test('a __proto__ in a payload is data and reaches nothing', () => {
  const value = JSON.parse('{"id":"a","text":"x","payload":{"__proto__":{"admin":true}}}');
  const { payload } = parseDocument(value, line);
  assert.equal(({} as { admin?: boolean }).admin, undefined);
  assert.equal(JSON.stringify(payload), '{"__proto__":{"admin":true}}');
});

test('lines come out the same however the bytes are cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('a', 'é€😀', '', '  ', '{"x":1}', '\r'), { maxLength: 8 }),
      fc.array(fc.nat(60), { maxLength: 6 }),
      fc.boolean(),
      fc.boolean(),
      (lines, cuts, bom, newlineAtEnd) => {
        const body = Buffer.from((bom ? '\ufeff' : '') + lines.join('\n') + (newlineAtEnd ? '\n' : ''));
        const splitter = new LineSplitter(100);
        const found: { text: string; number: number }[] = [];
        const places = [0, ...cuts.map((cut) => Math.min(cut, body.length)), body.length].sort(
          (a, b) => a - b,
        );
        for (let i = 1; i < places.length; i++)
          found.push(...splitter.push(Buffer.from(body.subarray(places[i - 1], places[i]))));
        found.push(...splitter.end());
        const expected = lines
          .map((text, i) => ({ text: text.trim(), number: i + 1 }))
          .filter(({ text }) => text !== '');
        assert.deepEqual(found, expected);
      },
    ),
  );
});

test('a line over the limit is refused before it is complete', () => {
  const splitter = new LineSplitter(10);
  assert.deepEqual([...splitter.push(Buffer.from('0123456789\n'))], [{ text: '0123456789', number: 1 }]);
  assert.deepEqual([...splitter.push(Buffer.from('012345'))], []);
  assert.throws(() => [...splitter.push(Buffer.from('67890'))], {
    code: 'body_too_large',
    param: 'line 2',
    message: /10 bytes \(MAX_LINE_BYTES\)/,
  });
});

test('bytes that are not UTF-8 are refused', () => {
  const splitter = new LineSplitter(100);
  const bytes = Buffer.concat([Buffer.from('{}\n{"a":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}\n')]);
  assert.throws(() => [...splitter.push(bytes)], { code: 'invalid_line', param: 'line 2' });
});

test('blank lines between all others are fine; a body of nothing else is refused after a megabyte', () => {
  const spaced = new LineSplitter(100);
  for (let i = 0; i < 300; i++)
    assert.equal([...spaced.push(Buffer.from('"a text"\n\n'.repeat(1000)))].length, 1000);
  const bomb = new LineSplitter(100, () => 'refused');
  const blanks = Buffer.alloc(1024 ** 2, '\n');
  assert.deepEqual([...bomb.push(blanks)], []);
  assert.throws(() => [...bomb.push(Buffer.from('\n'))], { code: 'body_too_large', param: 'line 1048577' });
});

test('duplicate ids are found exactly', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 3 }), { maxLength: 200 }), (ids) => {
      const known = new Set<string>();
      const set = new IdSet();
      for (const id of ids) {
        assert.equal(set.add(id), !known.has(id));
        known.add(id);
      }
      assert.equal(set.size, known.size);
    }),
    { numRuns: 30 },
  );
  const many = new IdSet();
  for (let i = 0; i < 20_000; i++) assert.ok(many.add(`id-${i}`));
  for (let i = 0; i < 20_000; i += 7) assert.ok(!many.add(`id-${i}`));
  assert.equal(many.size, 20_000);
});

test('shards keep order and limits; a document over the limit stands alone', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(40), { minLength: 1, maxLength: 50 }),
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 60 }),
      (lengths, maxDocuments, maxTextBytes) => {
        const documents = lengths.map((length, i) => ({ id: `d${i}`, text: 'é'.repeat(length) }));
        const cutter = new ShardCutter({ maxDocuments, maxTextBytes });
        const shards = [...documents.map((document) => cutter.add(document)), cutter.rest()].filter(
          (shard) => shard !== undefined,
        );
        assert.equal(cutter.rest(), undefined);
        assert.deepEqual(
          shards.flatMap(({ body }) => readShardDocuments(body)),
          documents,
        );
        for (const shard of shards) {
          const inside = readShardDocuments(shard.body);
          assert.equal(shard.documents, inside.length);
          assert.equal(
            shard.textBytes,
            inside.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0),
          );
          assert.ok(inside.length <= maxDocuments);
          assert.ok(inside.length === 1 || shard.textBytes <= maxTextBytes);
        }
      },
    ),
  );
});

test('large payloads end a shard, too', () => {
  const cutter = new ShardCutter({ maxDocuments: 1000, maxTextBytes: 1_000_000 });
  const payload = { blob: 'x'.repeat(3_000_000) };
  const full = Array.from({ length: 5 }, (_, i) => cutter.add({ id: `${i}`, text: 't', payload }));
  assert.deepEqual(
    full.map((shard) => shard?.documents),
    [undefined, undefined, 2, undefined, 2],
  );
});
