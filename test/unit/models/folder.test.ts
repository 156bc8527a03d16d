import assert from 'node:assert/strict';
import { appendFile, cp, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { describeModelFolder } from '@trivec/core/models/folder';
import { readContract } from '@trivec/core/models/graphContract';
import { locateModel } from '@trivec/core/models/locate';
import { promptForInput, readPrompts } from '@trivec/core/models/prompts';
import { readSpecialTokens } from '@trivec/core/models/specialTokens';
import { encodeFragment, makeNode } from '@trivec/core/onnx/proto';

const MODELS = fileURLToPath(new URL('../../golden/models', import.meta.url));

async function copyOf(t: TestContext, name: string): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), 'trivec-model-'));
  t.after(() => rm(parent, { recursive: true, force: true }));
  const folder = join(parent, name);
  await cp(join(MODELS, name), folder, { recursive: true });
  return folder;
}

test('a folder with three heads says what it is', async () => {
  const { info, heads, padId, inputs } = await describeModelFolder(join(MODELS, 'tiny-m3-raw'));
  assert.match(info.fingerprint, /^[0-9a-f]{32}$/);
  assert.deepEqual(
    { ...info, fingerprint: '', description: '' },
    {
      kind: 'embedding',
      name: 'tiny-m3-raw',
      fingerprint: '',
      dtype: 'fp32',
      outputs: ['dense', 'sparse', 'colbert'],
      denseDims: 32,
      colbertDims: 32,
      maxTokens: 512,
      standIn: true,
      description: '',
      license: 'Apache-2.0',
    },
  );
  assert.deepEqual(heads, {
    dense: { output: 'dense' },
    sparse: { output: 'sparse' },
    colbert: { output: 'colbert' },
    ignoredSparseIds: [0, 1, 2, 3],
  });
  assert.equal(padId, 1);
  assert.deepEqual(
    inputs.map(({ role }) => role),
    ['ids', 'mask'],
  );
});

test('an encoder without heads is dense only, pooled as its folder says', async () => {
  const { info, heads } = await describeModelFolder(join(MODELS, 'tiny-bert-mean'));
  assert.deepEqual(info.outputs, ['dense']);
  assert.deepEqual(heads.dense, { output: 'last_hidden_state', pooling: 'mean' });
});

test('the fingerprint is that of the content: another place has the same, another byte another', async (t) => {
  const folder = await copyOf(t, 'tiny-m3');
  const original = await describeModelFolder(join(MODELS, 'tiny-m3'));
  assert.equal((await describeModelFolder(folder)).info.fingerprint, original.info.fingerprint);
  await writeFile(join(folder, 'trivec.json'), JSON.stringify({ name: 'other', dtype: 'int8' }));
  const renamed = await describeModelFolder(folder);
  assert.equal(renamed.info.name, 'other');
  assert.notEqual(renamed.info.fingerprint, original.info.fingerprint);
});

test('a folder that fits nothing is refused with what was found and what is expected', async (t) => {
  const cases: [file: string, content: string | undefined, message: RegExp][] = [
    ['model.onnx', undefined, /no model\.onnx; it holds config\.json, expected\.json/],
    ['model.onnx', 'not a graph', /model\.onnx.*(truncated|foreign)/],
    [
      'model.onnx',
      'version https://git-lfs.github.com/spec/v1\noid sha256:0\n',
      /model\.onnx only names.*LFS pointer/,
    ],
    ['tokenizer.json', 'version https://git-lfs.github.com/spec/v1\noid', /tokenizer\.json only names/],
    ['tokenizer.json', undefined, /no tokenizer\.json/],
    ['tokenizer.json', '{"model":{"vocab":[', /tokenizer\.json is not JSON/],
    ['tokenizer.json', '{"model":{}}', /no vocabulary/],
    ['config.json', '{}', /max_position_embeddings/],
    ['config.json', undefined, /config\.json is missing.*maxTokens/],
    ['config_sentence_transformers.json', '{"prompts":["query: "]}', /prompts must be an object/],
    ['trivec.json', '{"dtype":7}', /trivec\.json: dtype/],
  ];
  for (const [file, content, message] of cases) {
    const folder = await copyOf(t, 'tiny-m3');
    await (content === undefined ? rm(join(folder, file)) : writeFile(join(folder, file), content));
    if (file === 'config.json') await rm(join(folder, 'tokenizer_config.json'));
    await assert.rejects(describeModelFolder(folder), { code: 'invalid_model', message });
  }
  await assert.rejects(describeModelFolder(join(MODELS, 'nowhere')), { code: 'invalid_model' });
});

test('a tokenizer with more ids than the model has embeddings belongs to another model', async (t) => {
  const folder = await copyOf(t, 'tiny-m3-raw');
  await cp(join(MODELS, 'tiny-m3', 'tokenizer.json'), join(folder, 'tokenizer.json'));
  await assert.rejects(describeModelFolder(folder), { code: 'invalid_model', message: /\d+ ids.*701/ });
});

test('a tokenizer with a small part of the model’s ids belongs to another model', async (t) => {
  const folder = await copyOf(t, 'tiny-m3');
  const vocab = ['<s>', '<pad>', '</s>', '<unk>', 'a', '<mask>'].map((piece) => [piece, 0]);
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify({ model: { vocab } }));
  await assert.rejects(describeModelFolder(folder), {
    code: 'invalid_model',
    message: /only 6 of the \d+ ids/,
  });
});

test('an export without config.json will do where trivec.json says how long a text may be', async (t) => {
  const folder = await copyOf(t, 'tiny-m3');
  await rm(join(folder, 'config.json'));
  await rm(join(folder, 'tokenizer_config.json'));
  await writeFile(join(folder, 'trivec.json'), JSON.stringify({ maxTokens: 100, licence: 'MIT' }));
  await writeFile(join(folder, 'the_tokenizer.onnx'), 'a tokenizer as a graph');
  const { info, padId } = await describeModelFolder(folder);
  assert.deepEqual([info.maxTokens, info.license, info.outputs.length, padId], [100, 'MIT', 3, 1]);
});

test('prompts come from the catalog, trivec.json or sentence-transformers’ file, with their default', async (t) => {
  const folder = await copyOf(t, 'tiny-bert-mean');
  const file = join(folder, 'config_sentence_transformers.json');
  await writeFile(
    file,
    JSON.stringify({ prompts: { query: 'q: ', document: 'd: ', s2s: 's: ' }, default_prompt_name: 's2s' }),
  );
  const { info } = await describeModelFolder(folder);
  assert.deepEqual(
    [info.prompts, info.defaultPromptName],
    [{ query: 'q: ', document: 'd: ', s2s: 's: ' }, 's2s'],
  );
  assert.deepEqual(
    [promptForInput(info, 'query'), promptForInput(info, 'document'), promptForInput(info, undefined)],
    ['q: ', 'd: ', 's: '],
  );
  await writeFile(join(folder, 'trivec.json'), JSON.stringify({ prompts: { passage: 'p: ' } }));
  const own = (await describeModelFolder(folder)).info;
  assert.deepEqual([own.prompts, promptForInput(own, 'document')], [{ passage: 'p: ' }, 'p: ']);
  assert.equal(promptForInput({ prompts: { passage: 'p: ' } }, 'query'), undefined);
  assert.deepEqual(readPrompts({ prompts: {}, default_prompt_name: null }), {});
  assert.throws(() => readPrompts({ prompts: { a: 'b' }, default_prompt_name: 'c' }), {
    code: 'invalid_model',
    message: /default_prompt_name/,
  });
});

test('int8 is dynamic where activations are rounded, too; else only its weights are int8', async (t) => {
  const { info } = await describeModelFolder(join(MODELS, 'tiny-m3-int8'));
  assert.deepEqual([info.dtype, info.batchDependent], ['int8-dynamic', true]);
  const folder = await copyOf(t, 'tiny-bert-mean');
  await rm(join(folder, 'trivec.json'));
  await rename(join(folder, 'model.onnx'), join(folder, 'model_quantized.onnx'));
  const other = (await describeModelFolder(folder)).info;
  assert.deepEqual([other.dtype, other.batchDependent], ['int8-weights', undefined]);
});

test('a decoder with fused attention is padded on the right, where that takes its tokens from', async (t) => {
  const folder = await copyOf(t, 'tiny-qwen3');
  assert.equal((await describeModelFolder(folder)).paddingSide, 'left');
  const node = makeNode('GroupQueryAttention', ['input_ids'], ['unused'], {}, 'com.microsoft');
  await appendFile(join(folder, 'model.onnx'), encodeFragment({ node: [node], initializer: [], output: [] }));
  assert.equal((await describeModelFolder(folder)).paddingSide, 'right');
});

test('token vectors without a word on pooling are refused', async (t) => {
  const folder = await copyOf(t, 'tiny-bert-mean');
  await rm(join(folder, '1_Pooling'), { recursive: true });
  await assert.rejects(describeModelFolder(folder), { code: 'invalid_model', message: /1_Pooling/ });
  await writeFile(join(folder, 'trivec.json'), '{"pooling":"cls"}');
  assert.equal((await describeModelFolder(folder)).heads.dense?.pooling, 'cls');
});

const ids = { name: 'input_ids', dtype: 'int64', shape: ['batch', 'length'] };
const value = (name: string, ...shape: (number | string)[]) => ({ name, dtype: 'float', shape });

test('every published spelling of the outputs is understood', () => {
  const spellings = [
    ['dense_vecs', 'sparse_vecs', 'colbert_vecs'],
    ['dense_embeddings', 'sparse_weights', 'colbert_vectors'],
    ['dense', 'sparse', 'colbert'],
    ['sentence_embedding', 'sparse', 'colbert'],
  ] as const;
  for (const [dense, sparse, colbert] of spellings) {
    const outputs = [value(dense, 'b', 1024), value(sparse, 'b', 'l', 1), value(colbert, 'b', 'm', 64)];
    const contract = readContract([ids], outputs, undefined);
    assert.deepEqual(contract.heads, {
      dense: { output: dense },
      sparse: { output: sparse },
      colbert: { output: colbert },
    });
    assert.deepEqual([contract.denseDims, contract.colbertDims, contract.isBackbone], [1024, 64, false]);
  }
  const official = readContract(
    [ids],
    [value('token_embeddings', 'b', 'l', 1024), value('sentence_embedding', 'b', 1024)],
    'cls',
  );
  assert.deepEqual(
    [official.heads, official.isBackbone],
    [{ dense: { output: 'sentence_embedding' } }, true],
  );
});

test('inputs and outputs that are not known are named', () => {
  const code = 'invalid_model';
  assert.throws(
    () => readContract([ids, value('past_key_values', 'b')], [value('dense', 'b', 8)], undefined),
    { code, message: /past_key_values float\[b\]/ },
  );
  assert.throws(() => readContract([ids], [value('pooler', 'b', 1)], undefined), {
    code,
    message: /pooler float\[b,1\].*dense_vecs/,
  });
  assert.throws(() => readContract([ids], [value('dense', 'b', 'l', 8)], undefined), {
    code,
    message: /dense float\[b,l,8\]/,
  });
  assert.throws(() => readContract([{ ...ids, dtype: 'float' }], [value('dense', 'b', 8)], undefined), {
    code,
    message: /input_ids is float/,
  });
});

test('CLS, EOS, padding and unknown carry no lexical weight; the mask token does', () => {
  const vocab = [
    ['<s>', 0],
    ['<pad>', 0],
    ['</s>', 0],
    ['<unk>', 0],
    ['a', -1],
    ['<mask>', 0],
  ];
  assert.deepEqual(readSpecialTokens({ model: { vocab } }, undefined), {
    ignoredSparseIds: [0, 1, 2, 3],
    padId: 1,
    vocabularySize: 6,
  });
  const bert = {
    model: { vocab: { '[PAD]': 0, '[UNK]': 100, '[CLS]': 101, '[SEP]': 102, a: 5 } },
    added_tokens: [{ content: '[MASK]', id: 103 }],
  };
  assert.deepEqual(readSpecialTokens(bert, { pad_token: { content: '[PAD]' }, unk_token: '[UNK]' }), {
    ignoredSparseIds: [0, 100, 101, 102],
    padId: 0,
    vocabularySize: 104,
  });
});

const NOWHERE = { modelsDir: undefined, modelsFile: undefined, modelDtype: undefined };

test('models are found by name, by path, in the catalog or on the hub', async () => {
  const path = join(MODELS, 'tiny-m3');
  assert.equal((await locateModel(path, NOWHERE)).folder, path);
  const named = await locateModel('tiny-m3', { ...NOWHERE, modelsDir: MODELS });
  assert.deepEqual([named.name, named.folder, named.hub], ['tiny-m3', path, undefined]);
  for (const name of ['bge-m3', 'BAAI/bge-m3']) {
    const { hub, stated, aliases } = await locateModel(name, NOWHERE);
    assert.deepEqual(hub, {
      repo: 'BAAI/bge-m3',
      revision: 'main',
      choice: { dtype: 'fp32', file: 'onnx/model.onnx' },
    });
    assert.equal(stated?.pooling, 'cls');
    assert.ok(aliases.includes('bge-m3') && aliases.includes('BAAI/bge-m3'));
  }
  const other = await locateModel('someone/some-model', NOWHERE);
  assert.deepEqual(
    [other.name, other.hub?.repo, other.stated],
    ['someone/some-model', 'someone/some-model', undefined],
  );
});

test('the precision picks the file, and is part of the name', async () => {
  const fp16 = await locateModel('all-MiniLM-L6-v2', { ...NOWHERE, modelDtype: 'fp16' });
  assert.equal(fp16.name, 'sentence-transformers/all-MiniLM-L6-v2@fp16');
  assert.deepEqual(fp16.choice, { dtype: 'fp16', file: 'onnx/model_fp16.onnx' });
  await assert.rejects(locateModel('bge-m3', { ...NOWHERE, modelDtype: 'int8-dynamic' }), {
    code: 'invalid_config',
    param: 'MODEL_DTYPE',
    message: /BAAI\/bge-m3 is not published as int8-dynamic; there is fp32/,
  });
  assert.equal((await locateModel('bge-m3-onnx-int8', NOWHERE)).choice.dtype, 'int8-dynamic');
});

test('what is none of these is told what there is', async () => {
  const cases = {
    'tiny-m4': /Did you mean tiny-m3\?.*npx trivec models/,
    constructor: /no model constructor\. `npx trivec models` lists/,
    '../models/tiny-m3': /no folder \/.*models\/tiny-m3/,
    './nowhere': /no folder \/.*nowhere/,
  };
  for (const [name, message] of Object.entries(cases))
    await assert.rejects(locateModel(name, { ...NOWHERE, modelsDir: MODELS }), {
      code: 'invalid_model',
      message,
    });
});
