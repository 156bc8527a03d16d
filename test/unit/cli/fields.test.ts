import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type FieldMapping, mappedFields, toDocument } from '../../../apps/cli/src/fields.ts';
import type { RecordFile } from '../../../apps/cli/src/readers/recordFile.ts';
import { documentLines, type UploadTally } from '../../../apps/cli/src/upload.ts';

const PLAIN: FieldMapping = { id: 'id', text: ['text'], payload: undefined };

const map = (fields: Record<string, unknown>, mapping: Partial<FieldMapping> = {}) =>
  toDocument({ position: 7, fields }, 'line', { ...PLAIN, ...mapping });

test('trivec’s own lines pass as they are', () => {
  const document = { id: 'a', text: 'x', payload: { lang: 'en', n: [1, null] } };
  assert.deepEqual(map(document), document);
  assert.deepEqual(map({ id: 3, text: 'x', other: 1 }), { id: 3, text: 'x' });
});

test('text fields are joined, empty and missing ones left out', () => {
  const text = (fields: Record<string, unknown>) =>
    map({ id: 1, ...fields }, { text: ['title', 'text'] }).text;
  assert.equal(text({ title: 'A', text: 'b' }), 'A\nb');
  assert.equal(text({ title: '', text: 'b' }), 'b');
  assert.equal(text({ text: null, title: 'A' }), 'A');
});

test('payload fields by name, or all that is neither id nor text', () => {
  const fields = { _id: 'x', title: 't', text: 'b', lang: 'en', year: 3 };
  const mapping = { id: '_id', text: ['title', 'text'] };
  assert.deepEqual(map(fields, { ...mapping, payload: 'all' }).payload, { lang: 'en', year: 3 });
  assert.deepEqual(map(fields, { ...mapping, payload: ['lang', 'title', 'none'] }).payload, {
    lang: 'en',
    title: 't',
  });
});

test('types that Parquet has and JSON lacks', () => {
  const seen = new Date(0);
  assert.deepEqual(map({ id: 5n, text: 'x', payload: { small: 1n, big: 2n ** 60n, seen, list: [2n] } }), {
    id: 5,
    text: 'x',
    payload: { small: 1, big: '1152921504606846976', seen: '1970-01-01T00:00:00.000Z', list: [2] },
  });
  assert.equal(map({ id: 2n ** 60n, text: 'x' }).id, '1152921504606846976');
  assert.throws(() => map({ id: 1, text: 'x', payload: { blob: new Uint8Array(2) } }), {
    message: 'Line 7: "payload" holds bytes, which a payload cannot.',
  });
});

test('a __proto__ field stays a field', () => {
  const fields = JSON.parse('{"id":1,"text":"x","__proto__":{"a":1}}') as Record<string, unknown>;
  const payload = map(fields, { payload: 'all' }).payload!;
  assert.deepEqual(Object.keys(payload), ['__proto__']);
  assert.equal(Object.getPrototypeOf(payload), Object.prototype);
});

test('what is no document names the place, the field and the option', () => {
  const cases: [Record<string, unknown>, Partial<FieldMapping>, RegExp][] = [
    [
      { _id: 1, text: 'x' },
      {},
      /^Line 7: there is no "id" to take the id from; it has _id, text\. See --id-field/,
    ],
    [{ id: 1.5, text: 'x' }, {}, /^Line 7: "id" is no id/],
    [{ id: '', text: 'x' }, {}, /"id" is no id/],
    [
      { id: 1, body: 'x' },
      {},
      /there is no "text" to take the text from; it has id, body\. See --text-field/,
    ],
    [{ id: 1, text: '  ' }, {}, /^Line 7: no text in "text"\.$/],
    [{ id: 1, text: 3 }, {}, /"text" is not text/],
    [{}, { id: undefined }, /it has no fields/],
  ];
  for (const [fields, mapping, message] of cases) {
    assert.throws(() => map(fields, mapping), { code: 'invalid_document', param: 'line 7', message });
  }
});

test('the fields a mapping reads', () => {
  assert.deepEqual(mappedFields(PLAIN), ['id', 'text', 'payload']);
  assert.deepEqual(mappedFields({ id: undefined, text: ['a', 'b'], payload: ['b', 'c'] }), ['a', 'b', 'c']);
  assert.equal(mappedFields({ ...PLAIN, payload: 'all' }), undefined);
});

/** A file whose records lie at the given positions. */
function fileOf(records: { position: number; fields: Record<string, unknown> }[]): RecordFile {
  return {
    unit: 'line',
    async *records() {
      yield* records;
    },
    progress: () => ({ done: 0 }),
    close: () => undefined,
  };
}

async function upload(file: RecordFile, skipInvalid: boolean): Promise<{ text: string; tally: UploadTally }> {
  const tally: UploadTally = { documents: 0, skipped: 0, firstSkipped: undefined };
  let text = '';
  for await (const chunk of documentLines(file, { mapping: PLAIN, skipInvalid, tally })) text += chunk;
  return { text, tally };
}

test('whatever is left out, a document is sent on the line where the file has it', async () => {
  const gaps = fc.array(fc.record({ gap: fc.integer({ min: 1, max: 4 }), valid: fc.boolean() }), {
    maxLength: 60,
  });
  await fc.assert(
    fc.asyncProperty(gaps, fc.string({ maxLength: 3000 }), async (items, filler) => {
      let position = 0;
      const records = items.map(({ gap, valid }) => {
        position += gap;
        return { position, fields: valid ? { id: position, text: `x${filler}` } : { id: position } };
      });
      const { text, tally } = await upload(fileOf(records), true);
      const sent = text.split('\n').flatMap((line, index) => {
        if (line === '') return [];
        return [[index + 1, (JSON.parse(line) as { id: number }).id]];
      });
      const wanted = items.flatMap(({ valid }, index) => (valid ? [records[index]!.position] : []));
      assert.deepEqual(
        sent,
        wanted.map((line) => [line, line]),
      );
      assert.deepEqual([tally.documents, tally.skipped], [wanted.length, items.length - wanted.length]);
    }),
    { numRuns: 50 },
  );
});

test('without --skip-invalid the first bad record ends it; with it, the first one is remembered', async () => {
  const bad = [{ position: 2, fields: { id: 1 } }];
  await assert.rejects(upload(fileOf(bad), false), { code: 'invalid_document' });
  const { tally } = await upload(fileOf(bad), true);
  assert.match(tally.firstSkipped!, /^Line 2: /);
});
