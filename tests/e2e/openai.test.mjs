// The npm package `openai`, unmodified, against the demo pair.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { changedConfig, isSanitized, longRequest, mixedPrompts, patience, Server } from './helper.mjs';

let server, client;
before(async () => {
  server = await Server.start();
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'unused', maxRetries: 0 });
});
after(() => server?.stop());

const ask = (content, more = {}) => ({
  model: 'auto', messages: [{ role: 'user', content }], temperature: 0, max_tokens: isSanitized ? 8 : 24, ...more,
});

test('lists models', async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.deepEqual(names, ['auto', 'small', 'large']);
  const small = await client.models.retrieve('small');
  assert.equal(small.object, 'model');
  assert.ok(small.max_model_len > 0);
  await assert.rejects(client.models.retrieve('none'), OpenAI.NotFoundError);
});

test('completes, and tells what was decided and what it cost', async () => {
  const { data, response } = await client.chat.completions.create(ask(mixedPrompts[0])).withResponse();
  assert.equal(data.object, 'chat.completion');
  assert.equal(data.choices.length, 1);
  assert.equal(data.choices[0].message.role, 'assistant');
  assert.ok(data.choices[0].message.content.length > 0);
  assert.ok(['stop', 'length'].includes(data.choices[0].finish_reason));
  const { usage, timings, a_io: facts } = data;
  assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
  assert.ok(usage.completion_tokens > 0 && usage.completion_tokens <= ask('').max_tokens);
  assert.ok(usage.prompt_tokens_details.cached_tokens <= usage.prompt_tokens);
  assert.equal(timings.cache_n + timings.prompt_n, usage.prompt_tokens);
  assert.equal(timings.predicted_n, usage.completion_tokens);
  assert.ok(timings.prompt_ms > 0);

  const probabilities = Object.values(facts.intent.probabilities);
  assert.ok(Math.abs(probabilities.reduce((a, b) => a + b) - 1) < 1e-6);
  const entropy = -probabilities.reduce((h, p) => h + (p > 0 ? p * Math.log(p) : 0), 0);
  assert.ok(Math.abs(entropy - facts.intent.entropy) < 1e-6);
  assert.equal(data.model, facts.plan.model);
  assert.ok(facts.receipt.overhead.total_ms > 0);
  assert.ok(facts.receipt.reply.weight_bytes > 0);

  assert.equal(response.headers.get('x-a-io-model'), data.model);
  assert.equal(response.headers.get('x-model-router-selected-model'), data.model);
  assert.equal(response.headers.get('x-a-io-intent'), facts.intent.label);
  assert.equal(Number(response.headers.get('x-a-io-entropy')).toFixed(3), facts.intent.entropy.toFixed(3));
  assert.equal(response.headers.get('x-a-io-lookup'), String(facts.plan.lookup));
  assert.equal(response.headers.get('x-a-io-reason'), facts.plan.rule);
  assert.ok(Number(response.headers.get('x-a-io-overhead-ms')) > 0);
  assert.match(response.headers.get('x-request-id'), /^req-[0-9a-f]{24}$/);
});

test('a model\'s name pins it', async () => {
  for (const model of ['small', 'large']) {
    const reply = await client.chat.completions.create(ask(mixedPrompts[0], { model }));
    assert.equal(reply.model, model);
    assert.equal(reply.a_io.plan.rule, 'pinned');
  }
});

test('streams the same text, with usage when asked', async () => {
  for (const content of mixedPrompts.slice(0, 4)) {
    const whole = await client.chat.completions.create(ask(content));
    const { data: stream, response } = await client.chat.completions.create(
      ask(content, { stream: true, stream_options: { include_usage: true } })).withResponse();
    assert.equal(response.headers.get('content-type').split(';')[0], 'text/event-stream');
    assert.equal(response.headers.get('x-a-io-model'), whole.model);
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    assert.equal(chunks[0].choices[0].delta.role, 'assistant');
    const text = chunks.map((c) => c.choices[0]?.delta.content ?? '').join('');
    assert.equal(text, whole.choices[0].message.content);
    const usage = chunks.at(-1);
    assert.deepEqual(usage.choices, []);
    assert.deepEqual(usage.usage.completion_tokens, whole.usage.completion_tokens);
    assert.equal(chunks.at(-2).choices[0].finish_reason, whole.choices[0].finish_reason);
    assert.equal(chunks.at(-2).a_io.plan.model, whole.model);
    assert.ok(chunks.slice(0, -1).every((c) => c.usage === null && c.id === usage.id));
  }
});

test('a conversation goes on with the message that came back', async () => {
  const first = await client.chat.completions.create(ask('What is the capital of France?', { model: 'small' }));
  const second = await client.chat.completions.create({
    model: 'small', temperature: 0, max_tokens: 8,
    messages: [
      { role: 'system', content: 'Answer briefly.' },
      { role: 'user', content: [{ type: 'text', text: 'What is the ' }, { type: 'text', text: 'capital of France?' }] },
      first.choices[0].message, { role: 'user', content: 'And of Spain?' },
    ],
  });
  assert.ok(second.usage.prompt_tokens > first.usage.prompt_tokens);
});

test('the same seed gives the same reply, with lookup off, fixed and automatic', async () => {
  const body = (more) => ask(mixedPrompts[0], { model: 'large', temperature: 0.8, seed: 7, ...more });
  const plain = await client.chat.completions.create(body({ prompt_lookup_num_tokens: 0 }));
  assert.equal(plain.a_io.plan.lookup, 'off');
  assert.equal(plain.a_io.seed, 7);
  for (const more of [{}, { prompt_lookup_num_tokens: 2 }, { 'speculative.n_max': 8 }]) {
    const other = await client.chat.completions.create(body(more));
    assert.equal(other.choices[0].message.content, plain.choices[0].message.content);
  }
  const drawn = await client.chat.completions.create(ask(mixedPrompts[0], { temperature: 0.8 }));
  const again = await client.chat.completions.create(
    ask(mixedPrompts[0], { temperature: 0.8, seed: drawn.a_io.seed }));
  assert.equal(again.choices[0].message.content, drawn.choices[0].message.content);
});

test('stop strings and max_tokens end a reply', async () => {
  const long = await client.chat.completions.create(longRequest({ max_tokens: 30 }));
  assert.equal(long.choices[0].finish_reason, 'length');
  assert.equal(long.usage.completion_tokens, 30);
  const text = long.choices[0].message.content;
  const stop = text.slice(6, 9);
  const short = await client.chat.completions.create(longRequest({ max_tokens: 30, stop: [stop, 'never\u0001'] }));
  assert.equal(short.choices[0].finish_reason, 'stop');
  assert.equal(short.choices[0].message.content, text.slice(0, text.indexOf(stop)));
});

test('aborts in mid-stream, and the server stops working', async () => {
  const id = 'abort-stream';
  const stream = await client.chat.completions.create(
    longRequest({ stream: true }), { headers: { 'x-request-id': id } });
  const chunks = stream[Symbol.asyncIterator]();
  for (let i = 0; i < 3; i++) assert.ok((await chunks.next()).value.id);
  stream.controller.abort(); // and nothing is read any more: see untilGoneOr in stress-http.mjs
  await server.idle(1000);
  assert.match(await server.logLine(id), / 499 .*client went away/);
});

test('typed errors for bad requests', async () => {
  const refused = async (body, type, status, param, code) => {
    const error = await client.chat.completions.create(body).then(
      () => assert.fail('accepted'), (e) => e);
    assert.ok(error instanceof type, `${error.constructor.name}: ${error.message}`);
    assert.equal(error.status, status);
    assert.equal(error.param, param);
    assert.equal(error.code, code);
    assert.ok(error.requestID);
  };
  await refused(ask('hi', { n: 0 }), OpenAI.BadRequestError, 400, 'n', null);
  await refused(ask('hi', { temprature: 1 }), OpenAI.BadRequestError, 400, 'temprature', null);
  await refused(ask('hi', { priority: 'urgent' }), OpenAI.BadRequestError, 400, 'priority', null);
  await refused(ask('hi', { service_tier: 'scale' }), OpenAI.BadRequestError, 400, 'service_tier', null);
  await refused(ask('hi', { deadline_ms: '5' }), OpenAI.BadRequestError, 400, 'deadline_ms', null);
  await refused({ model: 'auto', messages: [] }, OpenAI.BadRequestError, 400, 'messages', null);
  await refused(ask('hi', { model: 'gpt-4o' }), OpenAI.NotFoundError, 404, 'model', 'model_not_found');
  await refused(ask('word '.repeat(20000)), OpenAI.BadRequestError, 400, 'messages', 'context_length_exceeded');
});

// A server with one place, whose client keeps a list of the statuses it got.
async function narrowServer(t) {
  const config = changedConfig(t, (text) => text.replaceAll('slots: 8', 'slots: 1'));
  const narrow = await Server.start({ args: ['--config', config] });
  t.after(() => narrow.stop());
  const statuses = [];
  const eager = new OpenAI({
    baseURL: `${narrow.url}/v1`, apiKey: 'unused', maxRetries: 3,
    fetch: async (url, init) => {
      const response = await fetch(url, init);
      statuses.push(response.status);
      return response;
    },
  });
  return { narrow, eager, statuses };
}

// The batch reply takes a tenth of a second: on a busy machine the urgent request may come when it is over.
const meetings = 10;

test('a batch request makes room for an interactive one, and loses nothing', async (t) => {
  const { eager } = await narrowServer(t);
  const alone = await eager.chat.completions.create(longRequest());
  assert.equal(alone.service_tier, undefined);
  const meet = async (more, tier) => {
    const order = [];
    let text = '', facts;
    const stream = await eager.chat.completions.create(longRequest({ stream: true, ...more }));
    const batch = (async () => {
      for await (const chunk of stream) {
        assert.equal(chunk.service_tier, tier);
        text += chunk.choices[0].delta.content ?? '';
        if (chunk.a_io) facts = chunk.a_io.receipt.reply;
      }
      order.push('batch');
    })();
    const urgent = (async () => {
      const reply = await eager.chat.completions.create(
        ask('What is the capital of France?', { model: 'large', service_tier: 'priority' }));
      assert.equal(reply.service_tier, 'priority');
      order.push('urgent');
    })();
    await Promise.all([batch, urgent]);
    assert.equal(text, alone.choices[0].message.content);
    assert.equal(facts.refilled_tokens, 0);
    if (facts.parked > 0) assert.deepEqual(order, ['urgent', 'batch']);
    return facts.parked > 0;
  };
  for (const [more, tier] of [[{ service_tier: 'flex' }, 'flex'], [{ priority: 'batch' }, undefined]]) {
    let met = false;
    for (let i = 0; i < meetings && !met; i++) met = await meet(more, tier);
    assert.ok(met, `parked in none of ${meetings} meetings`);
  }
});

test('a deadline is 504 at its time, not tried again, and frees its place', async (t) => {
  const { narrow, eager, statuses } = await narrowServer(t);
  const deadline = 20; // ms: a free machine fills the whole context in 80
  const bySource = [[{ deadline_ms: deadline }, {}], [{}, { 'x-a-io-deadline-ms': `${deadline}` }]];
  const took = []; // as the server says; a busy machine may hold up some of them
  for (let i = 0; i < 6; i++) {
    const [more, headers] = bySource[i % 2], id = `late-${i}`;
    const error = await eager.chat.completions.create(
      longRequest({ max_tokens: 3000, ...more }), { headers: { ...headers, 'x-request-id': id } }).then(
      () => assert.fail('a reply'), (e) => e);
    assert.ok(error instanceof OpenAI.InternalServerError, error.message);
    assert.deepEqual([error.status, error.type, error.code], [504, 'timeout_error', 'deadline_exceeded']);
    took.push(Number(/ 504 ([\d.]+) ms/.exec(await narrow.logLine(id))[1]));
    assert.equal(await narrow.running(), 0);
  }
  assert.deepEqual(statuses, Array(6).fill(504)); // one try each
  assert.ok(Math.min(...took) >= deadline && Math.min(...took) < deadline + 40 * patience, `${took} ms`);

  // In a stream, and while waiting for the place that the stream has. A busy machine may end the stream before
  // the other one's time is up, or before that one has come: then it did not wait, and both are asked again.
  let waited;
  for (let i = 0; i < 5 && waited?.status !== 504; i++)
    await assert.rejects(async () => {
      const stream = await eager.chat.completions.create(
        longRequest({ max_tokens: 3000, stream: true, deadline_ms: 2 * deadline * patience }));
      waited = eager.chat.completions.create(ask('hello', { model: 'large', deadline_ms: deadline })).catch((e) => e);
      try {
        for await (const chunk of stream)
          assert.ok(chunk.id);
      } finally {
        waited = await waited;
      }
    }, (e) => e.code === 'deadline_exceeded');
  assert.equal(waited?.status, 504);
  const next = await eager.chat.completions.create(ask('hello', { model: 'large', deadline_ms: 60000 }));
  assert.ok(next.choices[0].message.content.length > 0);
});

test('a full queue is 429: the client waits as long as it is told and then succeeds', async (t) => {
  const config = changedConfig(t, (text) => text.replaceAll('slots: 8', 'slots: 1')
    .replace('server:', 'engine:\n  queue_limit: 0\n\nserver:'));
  const narrow = await Server.start({ args: ['--config', config] });
  t.after(() => narrow.stop());
  const attempts = [];
  const patient = new OpenAI({
    baseURL: `${narrow.url}/v1`, apiKey: 'unused', maxRetries: 20,
    fetch: async (url, init) => {
      const response = await fetch(url, init);
      attempts.push({
        id: init.headers.get('x-request-id'), at: Date.now(), status: response.status,
        waitMs: 1000 * Number(response.headers.get('retry-after')),
      });
      return response;
    },
  });
  const replies = await Promise.all(Array.from({ length: 5 }, (_, i) =>
    patient.chat.completions.create(longRequest({ max_tokens: 300 }), { headers: { 'x-request-id': `r${i}` } })));
  assert.ok(replies.every((r) => r.choices[0].message.content === replies[0].choices[0].message.content));
  const refused = attempts.filter((a) => a.status === 429);
  assert.ok(refused.length > 0);
  assert.equal(attempts.length, refused.length + 5); // nothing but 429 and 200
  for (const one of refused) {
    const next = attempts.find((a) => a.id === one.id && a.at > one.at);
    assert.ok(one.waitMs >= 1000 && next.at - one.at >= one.waitMs - 5, JSON.stringify([one, next]));
  }
});

test('many clients at once get what they get one by one', { timeout: 120000 }, async () => {
  const bodies = Array.from({ length: isSanitized ? 8 : 32 }, (_, i) =>
    ask(`${mixedPrompts[i % mixedPrompts.length]} (${i})`, i % 3 === 2 ? { temperature: 0.8, seed: i } : {}));
  const tell = (reply) => [reply.model, reply.choices[0].message.content, reply.a_io.intent?.label];
  const alone = [];
  for (const body of bodies) alone.push(tell(await client.chat.completions.create(body)));
  const together = await Promise.all(bodies.map(async (body, i) => {
    if (i % 2) return tell(await client.chat.completions.create(body));
    const stream = client.chat.completions.stream(body);
    const facts = [];
    stream.on('chunk', (chunk) => { if (chunk.a_io) facts.push(chunk.a_io); });
    const reply = await stream.finalChatCompletion();
    return [reply.model, reply.choices[0].message.content, facts[0].intent?.label];
  }));
  assert.deepEqual(together, alone);
});

test('names that clients know, and any other', async (t) => {
  const config = changedConfig(t, (text) => text.replace(/^server:.*$/m,
    (line) => `${line}\n  aliases: [{name: gpt-4o-mini, model: small}]\n  unknown_model: auto`));
  const named = await Server.start({ args: ['--config', config] });
  t.after(() => named.stop());
  const other = new OpenAI({ baseURL: `${named.url}/v1`, apiKey: 'unused', maxRetries: 0 });
  assert.equal((await other.chat.completions.create(ask('hi', { model: 'gpt-4o-mini' }))).model, 'small');
  const routed = await other.chat.completions.create(ask(mixedPrompts[0], { model: 'gpt-9' }));
  assert.notEqual(routed.a_io.plan.rule, 'pinned');
  const names = [];
  for await (const model of other.models.list()) names.push(model.id);
  assert.ok(names.includes('gpt-4o-mini'));
  for (const name of names) assert.equal((await other.models.retrieve(name)).id, name);
  await assert.rejects(other.models.retrieve('gpt-9'), OpenAI.NotFoundError);
});

test('several replies to one prompt: one decision, and each as it is alone', async () => {
  const many = await client.chat.completions.create(ask(mixedPrompts[0], { n: 3, temperature: 1, seed: 7 }));
  assert.equal(many.choices.length, 3);
  const first = await client.chat.completions.create(ask(mixedPrompts[0], { temperature: 1, seed: 7 }));
  assert.equal(many.choices[0].message.content, first.choices[0].message.content);
  const streamed = ['', '', ''];
  for await (const chunk of await client.chat.completions.create(
    ask(mixedPrompts[0], { n: 3, temperature: 1, seed: 7, stream: true })))
    for (const choice of chunk.choices) streamed[choice.index] += choice.delta.content ?? '';
  assert.deepEqual(streamed, many.choices.map((choice) => choice.message.content));
});

test('responses: items, events, and a conversation that is gone on with', async () => {
  const first = await client.responses.create({ model: 'auto', input: 'What is the capital of France?', temperature: 0 });
  assert.equal(first.status, 'completed');
  assert.ok(first.output_text.length > 0);
  const events = [];
  for await (const event of await client.responses.create(
    { model: 'auto', input: 'What is the capital of France?', temperature: 0, stream: true })) events.push(event);
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, i) => i));
  assert.equal(events.at(-1).type, 'response.completed');
  assert.equal(events.at(-1).response.output_text ?? events.at(-1).response.output[0].content[0].text, first.output_text);
  assert.equal(events.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta).join(''), first.output_text);
  const second = await client.responses.create(
    { model: 'auto', input: 'And of Spain?', previous_response_id: first.id, temperature: 0 });
  assert.ok(second.usage.input_tokens > first.usage.input_tokens);
  // The same conversation as the AI SDK's OpenAI provider sends it.
  const referring = (...ids) => client.responses.create({ model: 'auto', temperature: 0, input: [
    { role: 'user', content: 'What is the capital of France?' }, ...ids.map((id) => ({ type: 'item_reference', id })), { role: 'user', content: 'And of Spain?' }] });
  const third = await referring(first.output[0].id);
  assert.deepEqual([third.usage.input_tokens, third.output_text], [second.usage.input_tokens, second.output_text]);
  await assert.rejects(referring(`${first.output[0].id}7`), OpenAI.NotFoundError);
  await assert.rejects(referring(first.output[0].id, first.output[0].id), OpenAI.NotFoundError); // once each
  await client.responses.delete(first.id);
  await assert.rejects(client.responses.retrieve(first.id), OpenAI.NotFoundError);
});

test('completions of raw prompts', async () => {
  const reply = await client.completions.create({ model: 'small', prompt: ['one', 'two'], n: 2, max_tokens: 4, echo: true, seed: 3 });
  assert.deepEqual(reply.choices.map((choice) => choice.text.slice(0, 3)), ['one', 'one', 'two', 'two']);
  const { tokens } = (await server.json('/tokenize', { content: 'one', add_special: true, model: 'small' })).body;
  const ask3 = { model: 'small', max_tokens: 4, seed: 3, temperature: 0 };
  const text = await client.completions.create({ ...ask3, prompt: 'one' });
  const ids = await client.completions.create({ ...ask3, prompt: tokens });
  assert.equal(ids.choices[0].text, text.choices[0].text);
  await assert.rejects(client.completions.create({ model: 'auto', prompt: [1, 2] }), OpenAI.BadRequestError);
});

test('log-probabilities: whole, streamed, and of a prompt in tokens', async () => {
  const asked = ask(mixedPrompts[0], { model: 'small', logprobs: true, top_logprobs: 2, max_tokens: 6 });
  const whole = (await client.chat.completions.create(asked)).choices[0];
  assert.equal(whole.logprobs.content.map((one) => one.token).join(''), whole.message.content);
  for (const one of whole.logprobs.content) {
    assert.ok(one.logprob <= 0 && one.top_logprobs.length === 2);
    assert.equal(one.top_logprobs[0].token, one.token); // temperature 0 takes the most probable one
    assert.equal(Buffer.from(one.bytes).toString(), one.token);
  }
  const streamed = [];
  for await (const chunk of await client.chat.completions.create({ ...asked, stream: true }))
    streamed.push(...(chunk.choices[0].logprobs?.content ?? []));
  assert.deepEqual(streamed, whole.logprobs.content);

  const { tokens } = (await server.json('/tokenize', { content: 'one two three', add_special: true, model: 'small' })).body;
  const scored = (await client.completions.create(
    { model: 'small', prompt: tokens, echo: true, logprobs: 1, max_tokens: 1, temperature: 0 })).choices[0].logprobs;
  assert.equal(scored.tokens.length, tokens.length + 1);
  assert.equal(scored.token_logprobs[0], null);
  assert.ok(scored.token_logprobs.slice(1).every((p) => p < 0));
});

test('embeddings: of length 1, the same in base64, alone and among others', async () => {
  const ask4 = { model: 'small', encoding_format: 'float' };
  const two = await client.embeddings.create({ ...ask4, input: ['the sea', 'a list in Python'] });
  const alone = await client.embeddings.create({ ...ask4, input: 'the sea' });
  assert.deepEqual(alone.data[0].embedding, two.data[0].embedding);
  assert.ok(Math.abs(Math.hypot(...alone.data[0].embedding) - 1) < 1e-5);
  assert.notDeepEqual(two.data[0].embedding, two.data[1].embedding);
  const bytes = await client.embeddings.create({ model: 'small', input: 'the sea', encoding_format: 'base64' });
  const { embedding } = bytes.data[0];
  const values = typeof embedding === 'string' ? new Float32Array(Uint8Array.from(Buffer.from(embedding, 'base64')).buffer) : embedding;
  assert.ok(alone.data[0].embedding.every((x, i) => Math.abs(x - values[i]) < 1e-6));
  const short = await client.embeddings.create({ ...ask4, input: 'the sea', dimensions: 8 });
  assert.equal(short.data[0].embedding.length, 8);
  assert.ok(Math.abs(Math.hypot(...short.data[0].embedding) - 1) < 1e-5);
  await assert.rejects(client.embeddings.create({ ...ask4, input: 'x', dimensions: 100000 }), OpenAI.BadRequestError);
});

test("vLLM's way to have texts tokenised, which lm-eval goes", async () => {
  const info = (await server.json('/tokenizer_info')).body;
  assert.equal(typeof info.eos_token, 'string');
  assert.match(info.chat_template, /messages/);
  const { tokens, count, max_model_len: room } = (await server.json('/tokenize', { prompt: 'one two', add_special_tokens: false })).body;
  assert.deepEqual(tokens, (await server.json('/tokenize', { content: 'one two' })).body.tokens);
  assert.ok(count === tokens.length && room > 0);
  assert.equal((await server.json('/detokenize', { tokens })).body.prompt, 'one two');
  assert.equal((await server.json('/tokenize', { prompt: 'one', content: 'one' })).status, 400);
});

test('functions of a namespace, and a search that is not to search, as Codex sends them', async () => {
  const parameters = { type: 'object', properties: { target: { enum: ['one', 'two'] } }, required: ['target'], additionalProperties: false };
  const tools = [{ type: 'namespace', name: 'agents', description: 'Others', tools: [{ type: 'function', name: 'close', parameters }] }, { type: 'web_search', external_web_access: false }];
  const asked = { model: 'large', input: 'Close one.', tools, tool_choice: 'required', temperature: 0, max_output_tokens: 100 };
  const { status, body } = await server.json('/v1/responses', asked);
  assert.equal(status, 200, JSON.stringify(body));
  const call = body.output.find((item) => item.type === 'function_call');
  assert.deepEqual([call.namespace, call.name], ['agents', 'close']);
  const result = { type: 'function_call_output', call_id: call.call_id, output: 'closed' };
  const input = [{ role: 'user', content: 'Close one.' }, call, result];
  assert.equal((await server.json('/v1/responses', { ...asked, input, tool_choice: 'auto', max_output_tokens: 4 })).status, 200);
  const stream = await fetch(`${server.url}/v1/responses`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ ...asked, stream: true }) });
  assert.match(await stream.text(), /response\.output_item\.done.*"namespace":"agents"/s);
  for (const tool of [{ type: 'web_search' }, { type: 'namespace', name: 'x', tools: [{ type: 'custom', name: 'y' }] }]) {
    const refused = await server.json('/v1/responses', { ...asked, tools: [tool] });
    assert.equal(refused.status, 400);
    assert.match(refused.body.error.message, /tools\[0\].*(web_search|namespace)/);
  }
});
