// The npm package `@anthropic-ai/sdk`, unmodified, against the demo pair.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { Server } from './helper.mjs';

let server, client;
before(async () => {
  server = await Server.start();
  client = new Anthropic({ baseURL: server.url, apiKey: 'unused', maxRetries: 0 });
});
after(() => server?.stop());

const ask = (more = {}) => ({
  model: 'auto', max_tokens: 12, temperature: 0, seed: 1,
  messages: [{ role: 'user', content: 'What is the capital of France?' }], ...more,
});

test('a message, and the decision in its headers', async () => {
  const { data, response } = await client.messages.create(ask()).withResponse();
  assert.equal(data.type, 'message');
  assert.equal(data.role, 'assistant');
  assert.equal(data.content[0].type, 'text');
  assert.ok(data.content[0].text.length > 0);
  assert.ok(['end_turn', 'max_tokens'].includes(data.stop_reason));
  assert.ok(data.usage.input_tokens > 0 && data.usage.output_tokens > 0);
  assert.equal(response.headers.get('x-a-io-model'), data.model);
  assert.ok(response.headers.get('x-a-io-intent'));
});

test('a stream gives the same message', async () => {
  const whole = await client.messages.create(ask());
  const stream = client.messages.stream(ask());
  const kinds = [];
  for await (const event of stream) kinds.push(event.type);
  assert.equal(kinds[0], 'message_start');
  assert.equal(kinds.at(-1), 'message_stop');
  const last = await stream.finalMessage();
  assert.deepEqual(last.content, whole.content);
  assert.equal(last.stop_reason, whole.stop_reason);
  assert.equal(last.usage.output_tokens, whole.usage.output_tokens);
});

test('what OpenAI calls messages, in blocks: one prompt', async () => {
  const plain = await client.messages.countTokens({
    model: 'large', system: 'Be brief.', messages: [{ role: 'user', content: 'one two' }],
  });
  const blocks = await client.messages.countTokens({
    model: 'large', system: [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }],
    messages: [{ role: 'user', content: [{ type: 'text', text: 'one ' }, { type: 'text', text: 'two' }] }],
  });
  assert.ok(plain.input_tokens > 0);
  assert.equal(blocks.input_tokens, plain.input_tokens);
  const openai = await server.json('/v1/chat/completions/input_tokens', {
    model: 'large', messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'one two' }],
  });
  assert.equal(openai.body.input_tokens, plain.input_tokens);
});

test('an assistant\'s last message is gone on with', async () => {
  const messages = [{ role: 'user', content: 'Count.' }, { role: 'assistant', content: 'One, two' }];
  const { body } = await server.json('/apply-template', { messages, continue_final_message: true, model: 'large' });
  assert.ok(body.prompt.endsWith('One, two'));
  const ours = await client.messages.create(ask({ model: 'large', messages }));
  const theirs = await server.json('/v1/completions', {
    model: 'large', prompt: body.prompt, max_tokens: 12, temperature: 0, seed: 1 });
  assert.equal(theirs.status, 200);
  assert.ok(ours.content[0].text.length > 0);
});

test('a call, whole and streamed, and its result', async () => {
  const tools = [{ name: 'weather', input_schema: { type: 'object', properties: { city: { enum: ['Rome', 'Oslo'] } },
    required: ['city'], additionalProperties: false } }];
  const messages = [{ role: 'user', content: 'How is the weather in Rome?' }];
  const asked = ask({ model: 'large', max_tokens: 100, tools, tool_choice: { type: 'any', disable_parallel_tool_use: true }, messages });
  const whole = await client.messages.create(asked), call = whole.content.find((block) => block.type === 'tool_use');
  assert.equal(whole.stop_reason, 'tool_use');
  assert.ok(call.name === 'weather' && ['Rome', 'Oslo'].includes(call.input.city), JSON.stringify(whole));
  const streamed = await client.messages.stream(asked).finalMessage();
  assert.deepEqual(streamed.content.find((block) => block.type === 'tool_use').input, call.input);
  const told = [...messages, { role: 'assistant', content: whole.content }];
  const result = (content) => [...told, { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, ...content }] }];
  const count = async (of) => (await client.messages.countTokens({ model: 'large', tools, messages: of })).input_tokens;
  assert.ok(await count(result({ content: 'Sunny.' })) > await count(result({})));
  assert.equal((await client.messages.create({ ...asked, tool_choice: { type: 'auto' }, max_tokens: 4, messages: result({ content: 'Sunny.' }) })).role, 'assistant');
  await assert.rejects(client.messages.create({ ...asked, messages: [{ role: 'user', content: [{ type: 'tool_result', content: 'x' }] }] }),
    (error) => error instanceof Anthropic.BadRequestError && /tool_use_id/.test(error.message));
});

test('typed errors', async () => {
  await assert.rejects(client.messages.create(ask({ colour: 'red' })), (error) =>
    error instanceof Anthropic.BadRequestError && /unknown field 'colour'/.test(error.message));
  await assert.rejects(client.messages.create(ask({ model: 'none' })), Anthropic.NotFoundError);
  await assert.rejects(client.messages.create(ask({ messages: [{ role: 'user', content: [{ type: 'image' }] }] })),
    (error) => error instanceof Anthropic.BadRequestError && /read text/.test(error.message));
});

test('the key may come as x-api-key', async (t) => {
  const guarded = await Server.start({ env: { A_IO_API_KEY: 'right' } });
  t.after(() => guarded.stop());
  const with_key = (apiKey) => new Anthropic({ baseURL: guarded.url, apiKey, maxRetries: 0 });
  await assert.rejects(with_key('wrong').messages.create(ask()), Anthropic.AuthenticationError);
  assert.equal((await with_key('right').messages.create(ask())).role, 'assistant');
});

test('a stop sequence is named as what ended the message', async () => {
  const { content: [{ text }] } = await client.messages.create(ask({ max_tokens: 8, messages: [
    { role: 'user', content: 'Repeat: one two three four five six' }] }));
  const stop = text.slice(2, 5);
  assert.ok(stop.length === 3, text);
  const cut = ask({ max_tokens: 8, stop_sequences: ['\u0001', stop], messages: [
    { role: 'user', content: 'Repeat: one two three four five six' }] });
  const whole = await client.messages.create(cut);
  assert.equal(whole.stop_reason, 'stop_sequence');
  assert.equal(whole.stop_sequence, stop);
  const last = await client.messages.stream(cut).finalMessage();
  assert.equal(last.stop_reason, 'stop_sequence');
  assert.equal(last.stop_sequence, stop);
});
