// Ollama's forms that its client libraries read: replies by a schema, and embeddings.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Server } from './helper.mjs';

let server;
before(async () => { server = await Server.start(); });
after(() => server?.stop());

const ask = async (path, body, status = 200) => {
  const reply = await server.json(path, { stream: false, ...body });
  assert.equal(reply.status, status, JSON.stringify(reply.body));
  return reply.body;
};
const schema = { type: 'object', properties: { n: { type: 'integer', minimum: 1, maximum: 9 } }, required: ['n'], additionalProperties: false };
const messages = [{ role: 'user', content: 'A number, please.' }];
const options = { seed: 5, num_predict: 300 };

test('format: a schema, or any object', async () => {
  const { message } = await ask('/api/chat', { messages, format: schema, options });
  const { n } = JSON.parse(message.content);
  assert.ok(Number.isInteger(n) && n >= 1 && n <= 9);
  const { response } = await ask('/api/generate', { prompt: 'A number, please.', format: schema, options });
  assert.ok(JSON.parse(response).n >= 1);
  const { message: any } = await ask('/api/chat', { messages, format: 'json', options: { ...options, num_predict: 3 } });
  assert.match(any.content, /^\s*\{/);
  assert.match((await ask('/api/chat', { messages, format: 'yaml' }, 400)).error, /format/);
});

test('embeddings, in both forms', async () => {
  const { embeddings, prompt_eval_count: count } = await ask('/api/embed', { input: ['a cat', 'a dog'], stream: undefined });
  assert.equal(embeddings.length, 2);
  assert.ok(count > 0);
  for (const vector of embeddings)
    assert.ok(Math.abs(vector.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-5);
  const { embedding } = await ask('/api/embeddings', { prompt: 'a cat', stream: undefined });
  assert.deepEqual(embedding, embeddings[0]);
  const { data } = (await server.json('/v1/embeddings', { input: 'a cat' })).body;
  assert.deepEqual(data[0].embedding, embedding);
  assert.equal((await ask('/api/embed', { input: 'a cat', dimensions: 3, stream: undefined })).embeddings[0].length, 3);
  assert.match((await ask('/api/embed', { stream: undefined }, 400)).error, /'input' is missing/);
});
