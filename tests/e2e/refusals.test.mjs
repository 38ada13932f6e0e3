// What a client or another server can lead to that no other test does: each refusal in its words, each odd form read.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server, changedConfig, run } from './helper.mjs';
import { Replica, call, done, end, refuse, say, stream, think } from './replica.mjs';

const chat = (more = {}) => ({ model: 'large', messages: [{ role: 'user', content: 'x' }], max_tokens: 4, temperature: 0, ...more });

async function expectAll(server, cases) {
  for (const [route, body, status, words] of cases) {
    const response = await fetch(server.url + route, body === undefined ? {} : {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
    });
    const text = await response.text();
    assert.equal(response.status, status, `${route} ${JSON.stringify(body)}: ${text}`);
    assert.match(text, words, `${route} ${JSON.stringify(body)}`);
  }
}

test('what is asked for wrongly is refused in words', async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const responses = (more) => ({ model: 'large', max_output_tokens: 4, ...more });
  await expectAll(server, [
    ['/v1/responses', responses({ input: [7] }), 400, /must be an object/],
    ['/v1/responses', responses({ input: [{ type: 'image_call' }] }), 400, /must be a message, a function_call/],
    ['/v1/responses', responses({ input: 7 }), 400, /must be a string or a list of items/],
    ['/v1/responses', responses({ input: [] }), 400, /must be a string or a list of items/],
    ['/v1/responses', responses({}), 400, /is missing: a string or a list of items/],
    ['/v1/responses', responses({ input: 'x', instructions: 7 }), 400, /must be a string/],
    ['/v1/responses', responses({ input: 'x', previous_response_id: 7 }), 400, /must be a string/],
    ['/v1/responses', responses({ input: 'x', previous_response_id: 'resp_none' }), 404, /is not remembered/],
    ['/v1/responses', responses({ input: 'x', tools: 7 }), 400, /must be a list/],
    ['/v1/responses', responses({ input: 'x', tools: [{ type: 'web_search' }] }), 400, /of the type 'web_search'/],
    ['/v1/responses', responses({ input: 'x', reasoning: 7 }), 400, /must be an object/],
    ['/v1/responses', responses({ input: 'x', text: 7 }), 400, /must be an object/],
    ['/tokenize', {}, 400, /'content' must be a string/],
    ['/tokenize', { content: 'x', prompt: 'x' }, 400, /'content' must be a string/],
    ['/tokenize', { content: 7 }, 400, /another type/],
    ['/tokenize', { content: 'x', contents: 'x' }, 400, /unknown field 'contents'/],
    ['/tokenize', { model: 'none', content: 'x' }, 404, /no model 'none'/],
    ['/detokenize', { tokens: 7 }, 400, /another type|must be a list/],
    ['/detokenize', { tokens: ['x'] }, 400, /is no token id/],
    ['/detokenize', { tokens: [-1] }, 400, /is no token id|token/],
    ['/completion', { prompt: { content: [{ type: 'image', text: 'x' }] } }, 400, /prompt/],
    ['/completion', { prompt: { content: [] } }, 400, /prompt/],
    ['/completion', { prompt: { prompt_string: 7 } }, 400, /prompt/],
    ['/completion', { prompt: { prompt_string: 'x', more: 1 } }, 400, /prompt/],
    ['/v1/embeddings', { model: 'none', input: 'x' }, 404, /no model 'none'/],
    ['/v1/embeddings', { model: 'small', input: 'x', dimensions: 100000 }, 400, /'dimensions' is at most/],
    ['/v1/embeddings', { model: 'small', input: 'x', encoding_format: 'hex' }, 400, /must be 'float' or 'base64'/],
    ['/v1/messages', { model: 'large', max_tokens: 4 }, 400, /is missing: a list of/],
    ['/tokenize', { content: 'x', with_pieces: true, model: null }, 200, /"piece":/],
    ['/detokenize', {}, 400, /must be a list of token ids/],
    ['/v1/responses', responses({ input: [{ type: 'reasoning', content: [{ text: 't' }] }, { role: 'assistant', content: 'a' },
      { role: 'user', content: 'x' }] }), 200, /"output"/],
    ['/v1/feedback', { id: 'x', right: true }, 409, /nothing learns from feedback here/],
    ['/page/none.js', undefined, 404, /the page has no file/],
    ['/v1/models/none', undefined, 404, /none/],
    ['/v1/responses/resp_none', undefined, 404, /resp_none/],
  ]);
});

test('a prompt in the forms that llama-server has for it', async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const complete = async (prompt) => (await server.json('/completion', { model: 'large', prompt, n_predict: 4, temperature: 0 })).body.content;
  const plain = await complete('The sea is');
  assert.ok(plain.length > 0);
  assert.equal(await complete({ prompt_string: 'The sea is' }), plain);
  assert.equal(await complete({ content: [{ type: 'text', text: 'The sea' }, { type: 'text', text: ' is' }] }), plain);
});

test('what a configuration of a server cannot mean is refused', (t) => {
  const check = (entry) => run(['serve', '--check', '--config', changedConfig(t, (text) =>
    text.replace(/  - name: large\n.*\n.*\n.*\n/, `  - {name: large, ${entry}}\n`))]).stderr;
  assert.match(check('url: "http://127.0.0.1:9/v1", key_env: A, key_file: b'), /and key_file: one of them has the key/);
  assert.match(check('replicas: ["http://127.0.0.1:9/v1"], pool: {retries: 101}'), /must be from 0 to 100/);
  assert.match(check('url: "http://127.0.0.1:9/v1", pool: {retries: 1}'), /pool/);
  assert.match(check('path: ""'), /path/);
});

async function behind(t, script) {
  const replica = await Replica.start(t, script);
  const file = changedConfig(t, (text) => text.replace(/  - name: large\n.*\n.*\n.*\n/, `  - {name: large, url: "${replica.url}"}\n`));
  const server = await Server.start({ args: ['--config', file] });
  t.after(() => server.stop());
  return { replica, server };
}

test('each status of another server is told as what it means here', async (t) => {
  const { replica, server } = await behind(t, stream(say('well'), end(), done));
  for (const [status, here] of [[413, 413], [422, 400], [501, 501], [504, 504], [404, 500], [302, 500]]) {
    replica.script = refuse(status, `words of ${status}`, { Location: 'http://127.0.0.1:9/' });
    await expectAll(server, [['/v1/chat/completions', chat(), here, new RegExp(`answered ${status}: words of ${status}`)]]);
  }
  replica.script = (request, response) => { response.writeHead(500); response.end('{"error": "plain words"}'); };
  await expectAll(server, [['/v1/chat/completions', chat(), 500, /answered 500: plain words/]]);
  replica.script = (request, response) => { response.writeHead(500); response.end('no JSON'); };
  await expectAll(server, [['/v1/chat/completions', chat(), 500, /answered 500"/]]);
});

test('what another server is asked for, and what it is not', async (t) => {
  const { replica, server } = await behind(t, stream(say('{}'), end(), done));
  const tools = [{ type: 'function', function: { name: 'add', parameters: { type: 'object' } } }];
  const sent = async (more) => {
    const { status, body } = await server.json('/v1/chat/completions', chat(more));
    assert.equal(status, 200, JSON.stringify(body));
    return replica.bodies.at(-1);
  };
  const all = await sent({
    top_p: 0.5, top_k: 7, min_p: 0.25, repetition_penalty: 1.5, presence_penalty: 0.5, frequency_penalty: -0.5, logit_bias: { 7: -3 },
    min_tokens: 2, chat_template_kwargs: { kind: 'short' }, documents: [{ title: 'a', text: 'b' }], seed: 5,
  });
  const { top_p, top_k, min_p, repetition_penalty, presence_penalty, frequency_penalty, logit_bias, min_tokens, chat_template_kwargs, documents, seed } = all;
  assert.deepEqual({ top_p, top_k, min_p, repetition_penalty, presence_penalty, frequency_penalty, logit_bias, min_tokens, chat_template_kwargs, documents, seed }, {
    top_p: 0.5, top_k: 7, min_p: 0.25, repetition_penalty: 1.5, presence_penalty: 0.5, frequency_penalty: -0.5, logit_bias: { 7: -3 },
    min_tokens: 2, chat_template_kwargs: { kind: 'short' }, documents: [{ title: 'a', text: 'b' }], seed: 5,
  });
  assert.equal((await sent({ ignore_eos: true })).ignore_eos, true);
  const schema = { type: 'object', properties: {} };
  assert.deepEqual((await sent({ response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } })).response_format.json_schema.schema, schema);
  replica.script = stream(call(0, 'add', '{}'), end('tool_calls'), done);
  const named = await sent({ tools, tool_choice: { type: 'function', function: { name: 'add' } }, parallel_tool_calls: false });
  assert.deepEqual([named.tool_choice, named.parallel_tool_calls], [{ type: 'function', function: { name: 'add' } }, false]);
  await expectAll(server, [
    ['/v1/completions', { model: 'large', prompt: 'x', echo: true, logprobs: 1, max_tokens: 1 }, 501, /is not asked for/],
    ['/v1/chat/completions', chat({ guided_regex: '[a-z]+' }), 501, /JSON Schemas only/],
    ['/v1/score', { model: 'large', prompt: 'x', completion: 'a' }, 501, /is not asked for|scores/],
  ]);
});

test('thoughts of another server, as each form has them', async (t) => {
  const { server } = await behind(t, stream(think('Let me see.'), say('It is 3.'), end(), done));
  const { body } = await server.json('/v1/messages', { model: 'large', max_tokens: 9, messages: [{ role: 'user', content: 'x' }] });
  assert.deepEqual(body.content.map((one) => one.thinking ?? one.text), ['Let me see.', 'It is 3.']);
  for (const route of ['/v1/messages', '/v1/chat/completions'])
    await expectAll(server, [[route, { ...chat(), stream: true }, 200, /Let me see\./]]);
});

test('Ollama\'s form of what another server says: thoughts, text, a call', async (t) => {
  const { server } = await behind(t, stream(think('Let me see.'), say('It is'), call(0, 'add', '{"a": 1}'), end('tool_calls'), done));
  const tools = [{ type: 'function', function: { name: 'add', parameters: { type: 'object', properties: { a: { type: 'integer' } } } } }];
  const response = await fetch(`${server.url}/api/chat`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ model: 'large', messages: [{ role: 'user', content: 'Add.' }], tools, think: true }),
  });
  const lines = (await response.text()).trim().split('\n').map((line) => JSON.parse(line));
  const joined = (key) => lines.map((line) => line.message[key] ?? '').join('');
  assert.deepEqual([joined('thinking'), joined('content')], ['Let me see.', 'It is']);
  const calls = lines.flatMap((line) => line.message.tool_calls ?? []);
  assert.deepEqual(calls.map((one) => [one.function.name, one.function.arguments]), [['add', { a: 1 }]]);
  assert.equal(lines.at(-1).done, true);
});
