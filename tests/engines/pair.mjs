// What is asked of two models, of which another engine serves one or both. The answers are real models', so what is looked
// at is the way they come.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server, until } from '../e2e/helper.mjs';
import { ask, config, local, probe, remote, rules, streamed } from './engine.mjs';

const tools = [{ type: 'function', function: { name: 'get_weather', description: 'Tells the weather in a city.',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false } } }];

// `engines()` are the two, once they run: {small, large}. `parsesCalls`: the engine tells calls of tools apart from text.
export function pairTests(engine, { skip, engines, parsesCalls }) {
  const pairs = [
    { name: 'the large one there', parts: () => [local, remote('large', engines().large), probe('{conversation}Task category:', ' '), rules] },
    { name: 'both there, and the probe', parts: () => [remote('small', engines().small), remote('large', engines().large),
      probe('{conversation}\\n\\nIs this about code, a question or math? Answer with one word.', ''), rules] },
  ];
  for (const { name, parts } of pairs)
    test(`${engine}: ${name}`, { skip }, async (t) => {
      const server = await Server.start({ args: ['--config', config(...parts())] });
      t.after(() => server.stop());
      await pair(t, server, engines().large, parsesCalls);
    });
}

async function pair(t, server, large, parsesCalls) {
  const reply = async (body) => {
    const { status, body: answer, headers } = await server.json('/v1/chat/completions', body);
    assert.equal(status, 200, JSON.stringify(answer));
    return { ...answer, routed: headers.get('x-a-io-model'), reason: headers.get('x-a-io-reason') };
  };

  await t.test('routing: a decision by the probe, and a name pins', async () => {
    const decided = await reply(ask('Write a Python function that reverses a list.'));
    const { intent, plan } = decided.a_io;
    const sum = Object.values(intent.probabilities).reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(sum - 1) < 1e-6 && ['code', 'qa', 'math'].includes(intent.label), JSON.stringify(intent));
    assert.ok(['code', 'rest'].includes(plan.rule) && plan.fallback === null, JSON.stringify(plan));
    assert.equal(decided.routed, plan.rule === 'code' ? 'small' : 'large');
    for (const model of ['small', 'large']) assert.equal((await reply(ask('Hello.', { model }))).routed, model);
  });

  await t.test('usage is the engine\'s, and the answer the one that it gives itself', async () => {
    const body = ask('What is the capital of France?', { model: 'large' });
    const here = await reply(body), there = await large.chat(body);
    assert.match(here.choices[0].message.content, /Paris/);
    assert.equal(here.choices[0].message.content, there.choices[0].message.content);
    assert.equal(here.choices[0].finish_reason, there.choices[0].finish_reason);
    assert.deepEqual([here.usage.prompt_tokens, here.usage.completion_tokens], [there.usage.prompt_tokens, there.usage.completion_tokens]);
  });

  await t.test('a stream comes in pieces, and is the whole answer', async () => {
    const body = ask('Count from one to ten in words.', { model: 'large' });
    const { events, isWhole, raw, text } = await streamed(server, body);
    const pieces = events.map((event) => event.choices?.[0]?.delta.content).filter(Boolean);
    assert.ok(isWhole && pieces.length > 4, raw);
    assert.equal(text, (await reply(body)).choices[0].message.content);
    assert.ok(events.at(-1).usage.completion_tokens > 4);
  });

  await t.test('log-probabilities are the engine\'s', async () => {
    const body = ask('What is the capital of France?', { model: 'large', logprobs: true, top_logprobs: 3 });
    const here = (await reply(body)).choices[0].logprobs.content;
    const there = (await large.chat(body)).choices[0].logprobs.content;
    assert.ok(here.length > 1);
    // Whole, llama.cpp's server and vLLM tell of the end token, too.
    assert.ok(there.length - here.length <= 1);
    assert.deepEqual(here.map((one) => one.bytes), there.slice(0, here.length).map((one) => one.bytes));
    assert.deepEqual(here.map((one) => one.top_logprobs.length), here.map(() => 3));
    for (const [i, { logprob }] of here.entries()) assert.ok(Math.abs(logprob - there[i].logprob) < 0.05, `${logprob}, ${there[i].logprob}`);
    const pieces = (await streamed(server, body)).events.flatMap((event) => event.choices[0]?.logprobs?.content ?? []);
    assert.deepEqual(pieces.map((one) => one.token), here.map((one) => one.token));
  });

  await t.test('tools: what the engine calls, whole and streamed', async (t) => {
    const body = ask('What is the weather like in Paris?', { model: 'large', tools, tool_choice: 'required', max_tokens: 64 });
    const answer = await reply(body), there = await large.chat(body);
    assert.equal(answer.choices[0].finish_reason, there.choices[0].finish_reason, JSON.stringify([answer, there]));
    // Where the model writes its call as text that the engine leaves so, here it is the same text.
    const calls = (choice) => (choice.message.tool_calls ?? []).map((call) => call.function);
    const said = calls(there.choices[0]);
    t.diagnostic(`${said.length} calls: ${JSON.stringify(said)}`);
    if (parsesCalls) assert.deepEqual([said[0].name, Object.keys(JSON.parse(said[0].arguments))], ['get_weather', ['city']]);
    assert.deepEqual(calls(answer.choices[0]), said);
    assert.equal(answer.choices[0].message.content ?? '', there.choices[0].message.content ?? '');
    const deltas = (await streamed(server, body)).events.flatMap((event) => event.choices[0]?.delta.tool_calls ?? []);
    assert.equal(deltas.map((delta) => delta.function.arguments ?? '').join(''), said.map((call) => call.arguments).join(''));
    if (said.length === 0) return;
    const call = answer.choices[0].message.tool_calls[0];
    const turns = [...body.messages, answer.choices[0].message, { role: 'tool', tool_call_id: call.id, content: '{"weather": "snow"}' }];
    assert.ok((await reply(ask('', { model: 'large', tools, messages: turns }))).choices[0].message.content.length > 0);
  });

  await t.test('a form: JSON that a schema allows', async () => {
    const schema = { type: 'object', properties: { city: { enum: ['Rome', 'Oslo'] } }, required: ['city'], additionalProperties: false };
    const answer = await reply(ask('A city, as JSON.', { model: 'large', response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } }));
    assert.ok(['Rome', 'Oslo'].includes(JSON.parse(answer.choices[0].message.content).city));
  });

  await t.test('a client that leaves ends its request there', async () => {
    const leaves = new AbortController();
    const response = await fetch(`${server.url}/v1/chat/completions`, { method: 'POST', signal: leaves.signal,
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(ask('Write a very long story.', { model: 'large', stream: true, max_tokens: 2000 })) });
    await response.body.getReader().read();
    await until('the engine works', async () => (await large.busy()) === 1, 120000);
    leaves.abort();
    await until('the engine has stopped', async () => (await large.busy()) === 0, 120000);
  });
}
