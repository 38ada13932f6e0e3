// Ollama's API: replies whole, in lines and by a schema, embeddings, and what its clients ask of models.
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

// What `ollama run` sends before its first question: whoever answers it with a reply makes its user wait for one.
test('no words: the model is loaded', async () => {
  for (const [path, body, text] of [
    ['/api/generate', {}, 'response'], ['/api/generate', { prompt: '', keep_alive: '5m', model: 'large' }, 'response'],
    ['/api/generate', { prompt: '', suffix: '', system: '', template: '', options: null, model: 'large' }, 'response'], // all that Ollama's own client has
    ['/api/generate', { prompt: '', stream: undefined }, 'response'], ['/api/chat', { messages: [] }, 'message'], ['/api/chat', {}, 'message']]) {
    const { [text]: said, model, done, done_reason: why, eval_count: count } = await ask(path, body);
    assert.deepEqual([said, model, done, why, count],
      [text === 'message' ? { role: 'assistant', content: '' } : '', body.model ?? 'auto', true, 'load', undefined]);
  }
  assert.match((await ask('/api/generate', { prompt: '', model: 'nobody' }, 404)).error, /'nobody' not found/);
  assert.match((await ask('/api/generate', { prompt: '', suffix: ' end' }, 501)).error, /fill in/); // a hole is a question
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
  const last = (await server.json('/v1/embeddings', { input: 'a cat', pooling: 'last' })).body.data[0].embedding;
  assert.ok(Math.abs(last.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-5);
  assert.notDeepEqual(last, embedding);
  assert.equal((await server.json('/v1/embeddings', { input: 'a cat', pooling: 'most' })).status, 400);
});

// More than the engine's queue holds.
test('many texts in one request', async () => {
  const input = Array.from({ length: 300 }, (_, i) => `Text number ${i}, about the sea and its ${i % 7} ships.`);
  const { embeddings } = await ask('/api/embed', { input, stream: undefined });
  assert.equal(embeddings.length, 300);
  const alone = await ask('/api/embed', { input: input[299], stream: undefined });
  assert.deepEqual(embeddings[299], alone.embeddings[0]);
  const { status, body } = await server.json('/v1/embeddings', { input: Array.from({ length: 2049 }, () => 'x') });
  assert.equal(status, 400);
  assert.match(body.error.message, /'input' has 2049 texts; at most 2048/);
});

// The lines of a stream, which is the default.
async function lines(path, body) {
  const response = await fetch(server.url + path, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'application/x-ndjson');
  return (await response.text()).trim().split('\n').map((line) => JSON.parse(line));
}

test('a reply, whole and in lines, is the same', async () => {
  const said = { messages, prompt: 'A number, please.', model: 'large', options: { temperature: 0, num_predict: 12 } };
  for (const [path, { messages: asked, prompt, ...more }, of] of [
    ['/api/chat', { ...said, prompt: undefined }, (line) => line.message.content],
    ['/api/generate', { ...said, messages: undefined }, (line) => line.response]]) {
    const body = { ...more, ...(asked ? { messages: asked } : { prompt }) };
    const whole = await ask(path, body), streamed = await lines(path, body), last = streamed.at(-1);
    assert.equal(streamed.map(of).join(''), of(whole));
    assert.ok(streamed.slice(0, -1).every((line) => !line.done));
    for (const end of [whole, last])
      assert.deepEqual([end.done, end.done_reason, end.eval_count, end.model], [true, whole.done_reason, whole.eval_count, 'large']);
  }
});

test('what there is', async () => {
  const { models } = (await server.json('/api/tags')).body;
  assert.deepEqual(models.map((one) => one.name), ['auto', 'small', 'large']);
  assert.match((await server.json('/api/version')).body.version, /^\d+\.\d+\.\d+$/);
  const shown = await ask('/api/show', { model: 'large', stream: undefined });
  // As Ollama's own command asks: every field, the name in the older one.
  assert.deepEqual(await ask('/api/show', { model: '', system: '', template: '', verbose: false, options: null, name: 'large', stream: undefined }), shown);
  assert.ok(shown.capabilities.includes('completion'), JSON.stringify(shown));
  assert.equal((await server.json('/api/show', { model: 'none' })).status, 404);
  const family = shown.model_info['general.architecture'];
  const { data } = (await server.json('/v1/models')).body;
  assert.equal(shown.model_info[`${family}.context_length`], data[2].max_model_len);
  assert.deepEqual(models.map((one) => one.size), [0, data[1].meta.size, data[2].meta.size]);
  const loaded = (await server.json('/api/ps')).body.models;
  for (const one of [...models, ...loaded]) assert.match(one.digest, /^[0-9a-f]{64}$/); // its first twelve are shown
  assert.equal(new Set(models.map((one) => one.digest)).size, models.length);
  assert.deepEqual(loaded.map((one) => [one.name, one.context_length]), data.slice(1).map((one) => [one.id, one.max_model_len]));
});

test('where nothing is, an error as its clients read it', async () => {
  const { status, body } = await server.json('/api/pull', { model: 'x' });
  assert.deepEqual([status, typeof body.error], [404, 'string']);
  const other = (await server.json('/v1/messages/batches')).body;
  assert.deepEqual([other.type, other.error.type], ['error', 'not_found_error']);
  for (const path of ['/v1/responses/resp_1/input_items', '/v1/responses/resp_1/cancel'])
    assert.match((await server.json(path)).body.error.message, /there is nothing at/);
});
