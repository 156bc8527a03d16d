import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { describeModel } from '@trivec/core/models/describe';
import { findCached, type HubConfig, type HubModel, pullModel } from '@trivec/core/models/hub';
import type { Logger } from '@trivec/core/telemetry/logger';
import { FakeHub, type FakeHubOptions } from '../support/fakeHub.ts';

const GOLDEN = new URL('../golden/', import.meta.url);
const read = (path: string) => readFile(new URL(path, GOLDEN));

/** The layout of BAAI/bge-m3: a graph below `onnx/` with two data files, the heads at the top. */
async function officialFiles(): Promise<FakeHubOptions['files']> {
  return {
    'README.md': { content: Buffer.from('not needed') },
    'config.json': { content: await read('models/tiny-m3/config.json') },
    'onnx/tokenizer.json': { content: await read('models/tiny-m3/tokenizer.json') },
    'onnx/model.onnx': { content: await read('onnx/external/model.onnx') },
    'onnx/model.onnx_data': { content: await read('onnx/external/model.onnx_data'), lfs: true },
    'onnx/Constant_26_attr__value': {
      content: await read('onnx/external/Constant_26_attr__value'),
      lfs: true,
    },
    'colbert_linear.pt': { content: await read('onnx/colbert_linear.pt'), lfs: true },
    'sparse_linear.pt': { content: await read('onnx/sparse_linear.pt'), lfs: true },
  };
}

interface Rig {
  hub: FakeHub;
  config: HubConfig;
  model: HubModel;
  cache: string;
  blobs: string;
}

async function startRig(t: TestContext, options: Partial<FakeHubOptions> = {}): Promise<Rig> {
  const cache = await mkdtemp(join(tmpdir(), 'trivec-hub-'));
  const hub = await FakeHub.start({ files: await officialFiles(), ...options });
  t.after(async () => {
    await hub.close();
    await rm(cache, { recursive: true, force: true });
  });
  const config: HubConfig = {
    hfHubCache: cache,
    hfHome: undefined,
    hfToken: undefined,
    hfEndpoint: hub.url,
    hfHubOffline: false,
  };
  const model = { repo: hub.repo, revision: 'main', choice: {} };
  return { hub, config, model, cache, blobs: join(cache, 'models--tiny--model', 'blobs') };
}

const QUICK = { retryDelayMs: 1 };
const DATA = 'onnx/model.onnx_data';

test('what a model needs is downloaded into the hub’s usual layout, and the second time nothing is', async (t) => {
  const { hub, config, model, cache } = await startRig(t);
  assert.equal(await findCached(model, config), undefined);
  const seen = new Map<string, number>();
  const pulled = await pullModel(model, config, {
    ...QUICK,
    onProgress: ({ file, bytes, totalBytes }) => {
      assert.ok(bytes <= totalBytes);
      seen.set(file, bytes);
    },
  });
  const repo = join(cache, 'models--tiny--model');
  assert.deepEqual(pulled, {
    folder: join(repo, 'snapshots', hub.commit),
    commit: hub.commit,
    graph: 'onnx/model.onnx',
  });
  const wanted = Object.entries(await officialFiles()).filter(([path]) => path !== 'README.md');
  for (const [path, { content }] of wanted) {
    assert.deepEqual(await readFile(join(pulled.folder, path)), content);
    assert.equal(seen.get(path), content.length);
    assert.match(await readlink(join(pulled.folder, path)), /^(\.\.\/)+blobs\/[0-9a-f]+$/);
  }
  assert.equal((await readdir(join(repo, 'blobs'))).length, wanted.length);
  assert.equal(await readFile(join(repo, 'refs', 'main'), 'utf8'), hub.commit);

  hub.requests.length = 0;
  assert.deepEqual(await findCached(model, config), pulled);
  assert.deepEqual(await findCached(model, { ...config, hfHubOffline: true }), pulled);
  assert.equal(hub.requests.length, 0);
});

test('a connection that breaks is resumed where it stopped', async (t) => {
  const { hub, config, model } = await startRig(t);
  hub.cuts.set(DATA, 30_000);
  hub.failures.set('config.json', 2);
  const { folder } = await pullModel(model, config, QUICK);
  assert.ok(hub.requests.some((line) => line.endsWith(`${DATA} bytes=30000-`)));
  assert.deepEqual(await readFile(join(folder, DATA)), await read('onnx/external/model.onnx_data'));
});

test('so is what an earlier process left; where that is not its beginning, it is discarded', async (t) => {
  const { hub, config, model, blobs } = await startRig(t);
  const content = await read('onnx/external/model.onnx_data');
  const etag = createHash('sha256').update(content).digest('hex');
  await mkdir(blobs, { recursive: true });
  await writeFile(join(blobs, `${etag}.incomplete`), content.subarray(0, 50_000));
  await pullModel(model, config, QUICK);
  assert.ok(hub.requests.some((line) => line.endsWith(`${DATA} bytes=50000-`)));

  await rm(join(blobs, etag));
  await writeFile(join(blobs, `${etag}.elsewhere-7.incomplete`), Buffer.alloc(10));
  await writeFile(join(blobs, `${etag}.incomplete`), Buffer.alloc(60_000));
  const { folder } = await pullModel(model, config, QUICK);
  assert.deepEqual(await readFile(join(folder, DATA)), content);
  // The one that another machine may be writing was left alone.
  assert.deepEqual(
    (await readdir(blobs)).filter((name) => name.endsWith('.incomplete')),
    [`${etag}.elsewhere-7.incomplete`],
  );
});

test('a wrong checksum is an error that names the file, and nothing of it is used', async (t) => {
  for (const path of [DATA, 'config.json']) {
    const { hub, config, model, blobs } = await startRig(t);
    hub.corrupted.add(path);
    await assert.rejects(pullModel(model, config, QUICK), {
      code: 'invalid_model',
      message: new RegExp(`tiny/model/${path}: the checksum`),
    });
    assert.equal(await findCached(model, config), undefined);
    const names = await readdir(blobs);
    assert.ok(!names.some((name) => name.endsWith('.incomplete')));
    hub.corrupted.clear();
    await pullModel(model, config, QUICK);
  }
});

test('a hub that breaks off again and again is given up; what came is kept', async (t) => {
  const { hub, config, model, blobs } = await startRig(t);
  hub.failures.set(DATA, 100);
  await assert.rejects(pullModel(model, config, QUICK), {
    code: 'download_failed',
    message: /model\.onnx_data could not be downloaded: the hub answers 503/,
  });
  hub.failures.clear();
  hub.cuts.set(DATA, 1000);
  const aborted = new AbortController();
  const pulling = pullModel(model, config, {
    retryDelayMs: 60_000,
    signal: aborted.signal,
    onProgress: ({ file, bytes }) => {
      if (file === DATA && bytes >= 1000) setTimeout(() => aborted.abort(new Error('stopped')), 50);
    },
  });
  await assert.rejects(pulling, { code: 'download_failed' });
  assert.equal((await readdir(blobs)).filter((name) => name.endsWith('.incomplete')).length, 1);
  assert.equal(await findCached(model, config), undefined);
  await pullModel(model, config, QUICK);
  assert.ok(hub.requests.some((line) => line.endsWith(`${DATA} bytes=1000-`)));
});

test('a token is asked for by name, sent, and never shown', async (t) => {
  const { config, model } = await startRig(t, { token: 'hf_secret' });
  const wrong = { ...config, hfToken: 'hf_wrong' };
  for (const bad of [config, wrong])
    await assert.rejects(pullModel(model, bad, QUICK), (error: Error & { param?: string }) => {
      assert.match(error.message, /401.*HF_TOKEN/s);
      assert.doesNotMatch(error.message, /hf_wrong/);
      return error.param === 'HF_TOKEN';
    });
  await assert.rejects(pullModel({ ...model, meant: 'tiny/other' }, config, QUICK), {
    code: 'invalid_config',
    param: 'HF_TOKEN',
    message: /401.* Did you mean tiny\/other\?$/,
  });
  await pullModel(model, { ...config, hfToken: 'hf_secret' }, QUICK);
});

test('a gated model says so, and no line of the log shows the token', async (t) => {
  const { hub, config, model } = await startRig(t, { token: 'hf_secret', refusal: 403 });
  await assert.rejects(pullModel(model, { ...config, hfToken: 'hf_wrong' }, QUICK), {
    code: 'invalid_config',
    message: /403.*gated.*HF_TOKEN/s,
  });
  const lines: string[] = [];
  const logger = { info: (...line: unknown[]) => void lines.push(JSON.stringify(line)) };
  const options = {
    ...config,
    hfToken: 'hf_secret',
    modelsDir: undefined,
    dataDir: './data',
    modelsFile: undefined,
  };
  await describeModel('tiny/model', options, logger as unknown as Logger).catch(() => undefined);
  assert.ok(lines.length > 0 && hub.requests.some((line) => line.includes(DATA)));
  assert.doesNotMatch(lines.join(), /hf_secret/);
});

test('a hub that allows no more for now is asked again', async (t) => {
  const { hub, config, model } = await startRig(t);
  hub.tooMany = 2;
  await pullModel(model, config, {
    ...QUICK,
    onProgress: ({ file }) => {
      if (file === 'config.json') hub.tooMany = 1;
    },
  });
  hub.tooMany = 100;
  await assert.rejects(pullModel(model, config, QUICK), {
    code: 'download_failed',
    message: /429.*HF_TOKEN/,
  });
});

test('a mirror below a path, with a slash at its end, serves as the hub does', async (t) => {
  const { hub, config, model } = await startRig(t, { prefix: '/mirror/hf' });
  await pullModel(model, { ...config, hfEndpoint: `${hub.url}/` }, QUICK);
  assert.ok(hub.requests.every((line) => !line.startsWith('outside')));
});

test('two processes that download the same at once don’t mix their files', async (t) => {
  const { config, model, blobs } = await startRig(t);
  const script = `import { pullModel } from '@trivec/core/models/hub';
    await pullModel(${JSON.stringify(model)}, ${JSON.stringify(config)}, { retryDelayMs: 1 });`;
  const run = () => promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
  await Promise.all([run(), run()]);
  const content = await read('onnx/external/model.onnx_data');
  const etag = createHash('sha256').update(content).digest('hex');
  assert.deepEqual(await readFile(join(blobs, etag)), content);
  assert.ok((await readdir(blobs)).every((name) => !name.endsWith('.incomplete')));
});

test('a disk that fills up on the way is named', { skip: process.platform !== 'linux' }, async (t) => {
  const { config, model, blobs } = await startRig(t);
  const content = await read('onnx/external/model.onnx_data');
  await mkdir(blobs, { recursive: true });
  const etag = createHash('sha256').update(content).digest('hex');
  await symlink('/dev/full', join(blobs, `${etag}.incomplete`));
  await assert.rejects(pullModel(model, config, QUICK), {
    code: 'storage_full',
    message: /model\.onnx_data does not fit: no space left in/,
  });
});

test('what is not there is named: repository, graph, data file, precision', async (t) => {
  const { config, model } = await startRig(t);
  const refused = (other: Partial<HubModel>, message: RegExp) =>
    assert.rejects(pullModel({ ...model, ...other }, config, QUICK), { code: 'invalid_model', message });
  await refused({ repo: 'tiny/nothing' }, /tiny\/nothing \(main\): the hub has no such model/);
  await refused(
    { choice: { dtype: 'fp16' } },
    /tiny\/model has no graph that is named as fp16; it holds .*onnx\/model\.onnx/,
  );
  const { [DATA]: _left, ...files } = await officialFiles();
  const lacking = await startRig(t, { files });
  await assert.rejects(pullModel(lacking.model, lacking.config, QUICK), {
    code: 'invalid_model',
    message: /needs the data file onnx\/model\.onnx_data/,
  });
});

test('offline, a model that is not whole is refused by name; no hub at all says so', async (t) => {
  const { hub, config, model } = await startRig(t);
  await assert.rejects(pullModel(model, { ...config, hfHubOffline: true }), {
    code: 'invalid_model',
    param: 'HF_HUB_OFFLINE',
    message: /tiny\/model is not complete in .*trivec-hub-/,
  });
  assert.equal(hub.requests.length, 0);
  await hub.close();
  await assert.rejects(pullModel(model, config, QUICK), {
    code: 'download_failed',
    message: /127\.0\.0\.1:\d+ cannot be asked: connect ECONNREFUSED/,
  });
});

test('what does not fit on the disk is refused before anything of it is downloaded', async (t) => {
  const { hub, config, model } = await startRig(t);
  hub.statedBytes.set(DATA, 2 ** 60);
  await assert.rejects(pullModel(model, config, QUICK), {
    code: 'storage_full',
    message: /tiny\/model \(\d+ MiB\) does not fit: no space left in .*blobs/,
  });
  assert.ok(!hub.requests.some((line) => line.includes(`resolve/${hub.commit}/${DATA}`)));
});

test('a start downloads its model once, tells how far it is, and refuses a damaged one by name', async (t) => {
  const file = async (name: string) => ({ content: await read(`models/tiny-bert-mean/${name}`) });
  const names = ['config.json', 'tokenizer.json', 'model.onnx', '1_Pooling/config.json'];
  const entries = await Promise.all(names.map(async (name) => [name, await file(name)] as const));
  const { hub, config } = await startRig(t, { files: Object.fromEntries(entries) });
  const lines: string[] = [];
  const logger = {
    info: (_facts: object, line?: string) => void lines.push(line ?? ''),
  } as unknown as Logger;
  const options = { ...config, modelsDir: undefined, dataDir: './data', modelsFile: undefined };
  hub.corrupted.add('tokenizer.json');
  await assert.rejects(describeModel('tiny/model', options, logger), {
    code: 'invalid_model',
    message: /tiny\/model\/tokenizer\.json: the checksum/,
  });
  hub.corrupted.clear();
  const { info, heads } = await describeModel('tiny/model', options, logger);
  assert.deepEqual([info.name, info.aliases, heads.dense?.pooling], ['tiny/model', ['model'], 'mean']);
  assert.deepEqual(lines, ['downloading the model', 'downloading the model', 'model downloaded']);
  hub.requests.length = 0;
  const again = await describeModel('tiny/model', options, logger);
  assert.deepEqual([again.info, hub.requests.length], [info, 0]);
});
