// Replies that must have a form, and calls that are required, with the npm package `openai` against the demo pair.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { Server } from './helper.mjs';

let server, client;
before(async () => {
  server = await Server.start();
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'unused', maxRetries: 0 });
});
after(() => server?.stop());

const schema = {
  type: 'object',
  properties: {
    kind: { enum: ['cat', 'dog'] },
    count: { type: 'integer', minimum: 1, maximum: 9 },
    born: { type: 'string', format: 'date' },
  },
  required: ['kind', 'count', 'born'],
  additionalProperties: false,
};
const ask = (more) => ({
  model: 'auto', messages: [{ role: 'user', content: 'Which animal?' }], temperature: 1, seed: 7, max_tokens: 400, ...more,
});
const byTheSchema = { type: 'json_schema', json_schema: { name: 'animal', strict: true, schema } };

const check = (value) => {
  assert.deepEqual(Object.keys(value), ['kind', 'count', 'born']);
  assert.ok(['cat', 'dog'].includes(value.kind));
  assert.ok(Number.isInteger(value.count) && value.count >= 1 && value.count <= 9);
  assert.match(value.born, /^\d{4}-\d{2}-\d{2}$/);
};

test('JSON by a schema, whole and streamed, with and without lookup: the same text', async () => {
  const texts = new Set();
  for (const prompt_lookup_num_tokens of [0, 8]) {
    const { choices } = await client.chat.completions.create(ask({ response_format: byTheSchema, prompt_lookup_num_tokens }));
    assert.equal(choices[0].finish_reason, 'stop');
    texts.add(choices[0].message.content);
    let streamed = '';
    const stream = await client.chat.completions.create(
      ask({ response_format: byTheSchema, prompt_lookup_num_tokens, stream: true }));
    for await (const chunk of stream) streamed += chunk.choices[0]?.delta.content ?? '';
    texts.add(streamed);
  }
  assert.equal(texts.size, 1);
  check(JSON.parse([...texts][0]));
});

test('several at once', async () => {
  const seeds = [1, 2, 3, 4, 5, 6];
  const replies = await Promise.all(seeds.map((seed) =>
    client.chat.completions.create(ask({ response_format: byTheSchema, seed }))));
  for (const { choices } of replies) check(JSON.parse(choices[0].message.content));
});

test('choices, regular expressions and grammars', async () => {
  const said = async (more) => (await client.chat.completions.create(ask(more))).choices[0].message.content;
  assert.ok(['yes', 'no'].includes(await said({ guided_choice: ['yes', 'no'] })));
  assert.match(await said({ guided_regex: '[A-Z]{2}-[0-9]{3}' }), /^[A-Z]{2}-[0-9]{3}$/);
  assert.match(await said({ grammar: 'root ::= "a" [0-9]{2}' }), /^a\d\d$/);
  assert.match(await said({ structured_outputs: { grammar: 'start: "b" /[0-9]/' } }), /^b\d$/);
});

test('what is not supported is refused by its name', async () => {
  const refused = async (more, words) => assert.rejects(client.chat.completions.create(ask(more)), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.match(error.message, words);
    return true;
  });
  const of = (wrong) => ({ response_format: { type: 'json_schema', json_schema: { name: 'x', schema: wrong } } });
  await refused(of({ type: 'array', uniqueItems: true }), /uniqueItems/);
  await refused(of({ type: 'string', format: 'iri' }), /iri/);
  await refused({ guided_regex: '(' }, /unclosed/);
  await refused({ grammar: 'root ::= nothing' }, /nothing/);
  await refused({ guided_regex: 'a', guided_choice: ['a'] }, /differ/);
});

const tools = [
  { type: 'function', function: { name: 'buy', parameters: schema } },
  { type: 'function', function: { name: 'look', parameters: { type: 'object', properties: {}, additionalProperties: false } } },
];

test('a required call, whole and in pieces', async () => {
  for (const tool_choice of ['required', { type: 'function', function: { name: 'buy' } }]) {
    const wanted = { tools, tool_choice, parallel_tool_calls: false };
    const { choices } = await client.chat.completions.create(ask(wanted));
    assert.equal(choices[0].finish_reason, 'tool_calls');
    assert.equal(choices[0].message.tool_calls.length, 1);
    const { name, arguments: given } = choices[0].message.tool_calls[0].function;
    if (name === 'buy') check(JSON.parse(given));
    else assert.deepEqual([name, JSON.parse(given), tool_choice], ['look', {}, 'required']);

    let pieces = '';
    const stream = await client.chat.completions.create(ask({ ...wanted, stream: true }));
    for await (const chunk of stream) pieces += chunk.choices[0]?.delta.tool_calls?.[0]?.function.arguments ?? '';
    assert.equal(pieces, given);
  }
  await assert.rejects(
    client.chat.completions.create(ask({ tools, tool_choice: { type: 'function', function: { name: 'sell' } } })),
    /sell/);
});

test('a required call that is cut is no text, wherever that is', async () => {
  const names = new Set();
  for (let max_tokens = 1; max_tokens <= 24; max_tokens++) {
    const wanted = ask({ tools, tool_choice: 'required', max_tokens });
    const { choices: [{ message, finish_reason }] } = await client.chat.completions.create(wanted);
    assert.ok(!message.content, message.content);
    if (!message.tool_calls) assert.equal(finish_reason, 'length');
    names.add(message.tool_calls?.[0].function.name);
    let said = '';
    for await (const chunk of await client.chat.completions.create({ ...wanted, stream: true })) said += chunk.choices[0]?.delta.content ?? '';
    assert.equal(said, '');
  }
  assert.ok(names.has(undefined) && names.size > 1, [...names].join());
});
