import assert from 'node:assert/strict';
import test from 'node:test';
import type { EmbedOptions, EncodedText } from '@trivec/core/engine/types';
import { type EmbedCall, embedDocuments } from '@trivec/core/jobs/embedDocuments';
import type { JobOptions } from '@trivec/core/jobs/records';
import fc from 'fast-check';
import { FakeEngine, POISON } from '../../support/fakeEngine.ts';
import { jobRig } from '../../support/jobRig.ts';

class WatchedEngine extends FakeEngine {
  readonly encoded: string[] = [];
  ran = 0;

  override encode(texts: readonly string[]) {
    this.encoded.push(...texts);
    return super.encode(texts);
  }

  override async embed(texts: readonly EncodedText[], options: EmbedOptions) {
    await options.onBatch?.(texts.map((_, index) => index));
    this.ran += texts.length;
    return super.embed(texts, options);
  }
}

function watchedCall() {
  const inFlight: (readonly number[])[] = [];
  const call: EmbedCall = {
    signal: new AbortController().signal,
    beforeBatch: async () => {},
    inFlight: async (documents) => void inFlight.push(documents),
  };
  return { call, inFlight };
}

const OPTIONS = { outputs: ['dense', 'sparse', 'colbert'], normalize: true, truncate: true } as const;

test('documents of the same text get what each would get alone, and the model sees the text once', async () => {
  const text = fc.constantFrom(
    'one',
    'one two',
    `a ${POISON} b`,
    'one. two three. one. two three. four',
    'one',
  );
  const chunking = fc.constantFrom(
    undefined,
    { maxTokens: 5, overlap: 0, unit: 'sentence' as const },
    { maxTokens: 4, overlap: 1, unit: 'token' as const },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(text, { minLength: 1, maxLength: 8 }),
      chunking,
      fc.boolean(),
      fc.constantFrom('', 'about '),
      async (texts, cut, truncate, prompt) => {
        const documents = texts.map((text, i) => ({ id: `d${i}`, text }));
        const options = {
          ...OPTIONS,
          truncate,
          prompt,
          ...(cut !== undefined && { chunking: cut }),
        } as unknown as JobOptions;
        const engine = new WatchedEngine();
        const { call, inFlight } = watchedCall();
        const together = await embedDocuments(engine, documents, options, call);
        const alone = await Promise.all(
          documents.map((document) =>
            embedDocuments(new FakeEngine(), [document], options, watchedCall().call),
          ),
        );
        assert.deepEqual(together, {
          rows: alone.flatMap(({ rows }) => rows),
          errors: alone.flatMap(({ errors }) => errors),
          embedded: alone.reduce((sum, { embedded }) => sum + embedded, 0),
          tokens: alone.reduce((sum, { tokens }) => sum + tokens, 0),
          truncated: alone.reduce((sum, { truncated }) => sum + truncated, 0),
        });
        if (cut === undefined) {
          assert.deepEqual(
            engine.encoded,
            [...new Set(texts)].map((text) => prompt + text),
          );
          assert.ok(engine.ran <= new Set(texts).size);
        }
        // What runs may kill the process: every document that it belongs to is named.
        const ran = together.rows.map(({ id }) => Number(id.slice(1)));
        for (const document of ran) assert.ok(inFlight.at(-1)?.includes(document), `${document}`);
      },
    ),
    { numRuns: 200 },
  );
});

test('a job counts every document and its tokens, twins of a failed text fail under their own ids', async () => {
  const rig = jobRig();
  const texts = ['one', POISON, 'one', POISON];
  const job = await rig.submit(texts.map((text, i) => ({ id: `d${i}`, text })));
  await rig.drain();
  const done = await rig.job(job.id);
  assert.deepEqual(done.counts, { documents: 4, embedded: 2, written: 0, failed: 2 });
  assert.equal(done.tokens, 6);
  assert.deepEqual(
    done.errors.map(({ id, code }) => [id, code]),
    [
      ['d1', 'model_failed'],
      ['d3', 'model_failed'],
    ],
  );
  const { rows } = await rig.lines(job.id);
  assert.deepEqual(
    rows.map(({ id }) => id),
    ['d0', 'd2'],
  );
  assert.deepEqual({ ...rows[1], id: 'd0' }, rows[0]);
});
