import assert from 'node:assert/strict';
import test from 'node:test';
import { closedLoop } from '../../../bench/load/closedLoop.ts';
import { readLoadOptions } from '../../../bench/load/options.ts';
import type { Poster } from '../../../bench/load/post.ts';
import { makeTexts, requestOf, SCENARIOS, SURFACES, surfaceOf } from '../../../bench/load/scenarios.ts';
import { failuresOf, summarize } from '../../../bench/load/summary.ts';
import { readFlags, usageLine } from '../../../bench/speed/flags.ts';
import { type CpuProfile, threadOf, timeByArea } from '../../../bench/speed/profile.ts';
import { mediansPer, slopePerMinute, stepsOf } from '../../../bench/speed/slope.ts';
import { textsOf, wholeWords } from '../../../bench/speed/words.ts';

test('flags: defaults, values, lists, and what is refused', () => {
  const flags = readFlags({ seconds: '5', clients: '1,16', kind: 'a' }, ['--seconds', '7']);
  assert.equal(flags.number('seconds'), 7);
  assert.deepEqual(flags.list('clients'), ['1', '16']);
  assert.equal(flags.choice('kind', ['a', 'b']), 'a');
  assert.throws(() => flags.number('seconds', 8), /--seconds must be a number of at least 8, not “7”/);
  assert.throws(() => flags.number('kind'), RangeError);
  assert.throws(() => flags.choice('kind', ['b']), /--kind must be one of b/);
  assert.throws(() => readFlags({ seconds: '5' }, ['--second', '7']), /--second/);
  assert.deepEqual(flags.numbers('clients', 1), [1, 16]);
  assert.throws(() => flags.numbers('clients', 2), /--clients must be a number of at least 2, not “1”/);
  assert.equal(
    usageLine("Unknown option '--x'. To specify a positional argument starting with a '-', …"),
    "Unknown option '--x'.",
  );
});

test('bench:load refuses what it cannot run', () => {
  assert.equal(readLoadOptions(['--url', 'http://x:1/tei/']).url, 'http://x:1/tei');
  for (const [args, message] of [
    [['--urls', 'http://x'], /Unknown option '--urls'/],
    [['--url', 'localhost:8080'], /--url must be an http/],
    [['--scenarios', 'embed_dens'], /“embed_dens” is none of embed_dense, /],
    [['--scenarios', ','], /names nothing/],
    [['--surface', 'x'], /--surface must be one of auto, native/],
    [['--texts', '/nowhere/at/all'], /ENOENT/],
  ] as const)
    assert.throws(() => readLoadOptions(args), { message });
});

test('texts have as many words as their length leaves beside the special tokens', () => {
  const words = wholeWords({ lamp: 1, '##ing': 2, a: 3, '1980': 4, élan: 5, river: 6 });
  assert.deepEqual(words, ['lamp', 'river']);
  const texts = textsOf([12, 3], words);
  assert.deepEqual(
    texts.map((text) => text.split(' ').length),
    [10, 1],
  );
  assert.deepEqual(textsOf([12, 3], words), texts);
  assert.notDeepEqual(textsOf([12, 3], words, 2), texts);
});

test('slope', () => {
  const points = [0, 30, 60, 90].map((seconds) => ({ seconds, value: 100 + seconds / 30 }));
  assert.ok(Math.abs(slopePerMinute(points) - 2) < 1e-9);
  assert.equal(slopePerMinute(points.slice(0, 1)), 0);
});

test('medians of periods, and steps between them', () => {
  const points = [0, 30, 59, 60, 119, 200].map((seconds) => ({ seconds, value: seconds }));
  assert.deepEqual(mediansPer(60, points), [30, 60, Number.NaN, 200]);
  assert.deepEqual(mediansPer(120, points), [59, 200]);
  assert.deepEqual(mediansPer(60, []), []);
  assert.deepEqual(stepsOf([10, 30, 31, 21, 12], 10), [
    { at: 1, by: 20 },
    { at: 3, by: -10 },
  ]);
  assert.deepEqual(stepsOf([10], 0.1), []);
});

test('a profile is cut to its window, and a sample counts for the innermost frame that is known', () => {
  const frame = (functionName: string, url = '') => ({ functionName, url });
  const profile: CpuProfile = {
    nodes: [
      { id: 1, callFrame: frame('(root)'), children: [2, 3] },
      { id: 2, callFrame: frame('(idle)') },
      {
        id: 3,
        callFrame: frame('answer', 'file:///x/packages/core/src/engine/inferenceThread.ts'),
        children: [4, 6],
      },
      { id: 4, callFrame: frame('run', 'file:///x/node_modules/onnxruntime-node/backend.js'), children: [5] },
      { id: 5, callFrame: frame('native') },
      { id: 6, callFrame: frame('finish', 'file:///x/packages/core/src/engine/finishBatch.ts') },
    ],
    startTime: 1000,
    samples: [2, 5, 6, 2],
    timeDeltas: [0, 4000, 10_000, 1000],
  };
  // idle 1000–5000, native 5000–15000, finish 15000–16000
  assert.deepEqual(
    [...timeByArea(profile, 3000, 16_000)],
    [
      ['idle', 2],
      ['forward pass (onnxruntime)', 10],
      ['before and after the pass', 1],
    ],
  );
  assert.equal(threadOf(profile), 'inference');
});

test('a summary counts what was answered well', () => {
  const samples = [
    { ms: 10, units: 4 },
    { ms: 30, units: 4 },
    { ms: 5, units: 4, failure: '500 no' },
    { ms: 20, units: 4 },
  ];
  assert.deepEqual(summarize({ samples, wallMs: 2000 }, 2), {
    Reqs: 4,
    OK: 3,
    Fail: 1,
    Conc: 2,
    Wall: 2,
    'Req/s': 1.5,
    'Units/s': 6,
    Avg: 20,
    P50: 20,
    P95: 30,
    P99: 30,
    Min: 10,
    Max: 30,
  });
  assert.deepEqual(failuresOf({ samples, wallMs: 1 }), [{ failure: '500 no', times: 1 }]);
});

test('clients ask again until all requests are made; an error of the network is a failure', async () => {
  let [open, most] = [0, 0];
  const poster: Poster = {
    post: async (url) => {
      most = Math.max(most, ++open);
      await new Promise(setImmediate);
      open--;
      if (url.endsWith('3')) throw new Error('reset');
      return { status: url.endsWith('5') ? 429 : 200, body: Buffer.from('busy') };
    },
    close: () => {},
  };
  const { samples } = await closedLoop(poster, (i) => ({ url: `u${i}`, json: '{}', units: 1 }), {
    clients: 3,
    requests: 8,
  });
  assert.equal(samples.length, 8);
  assert.equal(most, 3);
  assert.deepEqual(samples.flatMap(({ failure }) => failure ?? []).sort(), ['429 busy', 'reset']);
});

test('every surface has what it says, and the model is named where there is one', () => {
  const ask = { texts: ['a', 'b'], query: 'q', model: 'm' };
  const known = Object.fromEntries(
    SURFACES.map((surface) => [
      surface,
      SCENARIOS.filter((scenario) => requestOf(surface, scenario, ask) !== undefined),
    ]),
  );
  assert.deepEqual(known, {
    native: [...SCENARIOS],
    openai: ['embed_dense', 'rerank'],
    tei: ['embed_dense', 'embed_sparse', 'embed_colbert', 'rerank'],
  });
  assert.deepEqual(requestOf('openai', 'embed_dense', ask), {
    path: '/v1/embeddings',
    body: { model: 'm', input: ['a', 'b'] },
  });
  assert.equal(surfaceOf({ name: 'trivec', version: '1' }), 'native');
  assert.equal(surfaceOf({ model_id: 'x' }), 'tei');
  assert.equal(surfaceOf(undefined), 'openai');
  const [text] = makeTexts(7, 1)(1);
  assert.equal(text!.split(' ').length, 7);
});
