import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI, { AuthenticationError, BadRequestError, NotFoundError, RateLimitError } from 'openai';
import { apiRig } from '../../support/apiRig.ts';

const KEY = 'openai-key-0123456789';

test('the openai package works by changing its base URL: base64 by default, float, models, errors', async (t) => {
  const { app, post } = await apiRig(t, { env: { API_KEYS: `me=${KEY}`, RATE_LIMIT_REQUESTS: '8' } });
  const baseURL = `${await app.listen({ host: '127.0.0.1', port: 0 })}/v1`;
  const client = new OpenAI({ baseURL, apiKey: KEY, maxRetries: 0 });
  const expected = (
    await post('/embeddings', { input: ['a bb', 'c'] }, { authorization: `Bearer ${KEY}` })
  ).json();
  const base64 = await client.embeddings.create({ model: 'fake', input: ['a bb', 'c'], user: 'someone' });
  for (const [index, { embedding }] of base64.data.entries())
    assert.deepEqual(Float32Array.from(embedding), Float32Array.from(expected.data[index].embedding));
  assert.deepEqual(base64.usage, { prompt_tokens: 7, total_tokens: 7 });
  const float = await client.embeddings.create({
    model: 'fake',
    input: [11, 12],
    encoding_format: 'float',
    dimensions: 2,
  });
  assert.equal(float.data[0]?.embedding.length, 2);
  const names: string[] = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.deepEqual(names, ['fake']);
  await assert.rejects(
    client.embeddings.create({ model: 'text-embedding-3-small', input: 'a' }),
    (error) => error instanceof NotFoundError && error.code === 'model_not_found' && error.param === 'model',
  );
  await assert.rejects(
    client.embeddings.create({ model: 'fake', input: '' }),
    (error) => error instanceof BadRequestError && error.type === 'invalid_request_error',
  );
  await assert.rejects(
    new OpenAI({ baseURL, apiKey: 'wrong-key-0123456789', maxRetries: 0 }).models.list(),
    (error) => error instanceof AuthenticationError && error.code === 'invalid_api_key',
  );
  await client.embeddings.create({ model: 'fake', input: 'a' });
  await client.embeddings.create({ model: 'fake', input: 'a' });
  await assert.rejects(
    client.embeddings.create({ model: 'fake', input: 'a' }),
    (error) => error instanceof RateLimitError && Number(error.headers?.get('retry-after')) >= 1,
  );
});
