// llama-server's own forms against the demo pair: /completion, /infill, /props, /slots.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Server, changedConfig, until } from './helper.mjs';

let server;
before(async () => { server = await Server.start(); });
after(() => server?.stop());

const ask = async (more, path = '/completion') => {
  const { status, body } = await server.json(path, {
    model: 'large', prompt: 'The sum of two numbers', n_predict: 8, seed: 3, ignore_eos: true, ...more,
  });
  assert.equal(status, 200, JSON.stringify(body));
  return body;
};
const refused = async (more, status, words, path = '/completion') => {
  const reply = await server.json(path, { model: 'large', prompt: 'x', ...more });
  assert.equal(reply.status, status, JSON.stringify(reply.body));
  assert.match(reply.body.error.message, words);
};
const stream = async (more) => {
  const response = await fetch(`${server.url}/completion`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ model: 'large', prompt: 'The sum of two numbers', n_predict: 8, seed: 3, ignore_eos: true, stream: true, ...more }),
  });
  assert.equal(response.status, 200);
  const events = (await response.text()).trim().split('\n\n');
  return events.map((event) => JSON.parse(event.replace(/^data: /, '')));
};
const tokenize = async (content) =>
  (await server.json('/tokenize', { model: 'large', content })).body.tokens;

test('a reply, whole and streamed, is the same, with its settings and its end', async () => {
  const body = await ask();
  assert.equal(body.stop, true);
  assert.equal(body.stop_type, 'limit');
  assert.equal(body.model, 'large');
  assert.equal(body.prompt, 'The sum of two numbers');
  assert.equal(body.tokens_predicted, 8);
  assert.equal(body.timings.predicted_n, 8);
  assert.equal(body.tokens_evaluated, body.timings.prompt_n + body.timings.cache_n);
  assert.equal(body.truncated, false);
  assert.deepEqual(body.tokens, []);
  assert.equal(body.generation_settings.n_predict, 8);
  assert.equal(body.generation_settings.seed, 3);

  const events = await stream({ timings_per_token: true });
  const last = events.pop();
  assert.equal(last.stop, true);
  assert.equal(last.stop_type, 'limit');
  assert.equal(last.has_new_line, body.content.includes('\n'));
  for (const event of events) {
    assert.equal(event.stop, false);
    assert.ok(event.tokens.length > 0);
    assert.ok(event.timings.predicted_n > 0);
  }
  assert.equal(events.map((event) => event.content).join(''), body.content);
  assert.equal(events.flatMap((event) => event.tokens).length, 8);
});

test('prompts as text, tokens, both, an object, and several at once: the same prompt, the same reply', async () => {
  const tokens = await tokenize('The sum of two numbers');
  const begin = await tokenize('The sum');
  const forms = [
    'The sum of two numbers', tokens, [...begin, ' of two numbers'], { prompt_string: 'The sum of two numbers' },
  ];
  const one = (await ask()).content;
  for (const prompt of forms) assert.equal((await ask({ prompt })).content, one, JSON.stringify(prompt));
  const all = await ask({ prompt: forms });
  assert.deepEqual(all.map((reply) => reply.index), [0, 1, 2, 3]);
  for (const reply of all) assert.equal(reply.content, one);
  assert.equal((await ask({ n_cmpl: 2 })).length, 2);
});

test('a conversation that a program has rendered is the conversation: marks in a raw prompt are its tokens', async () => {
  const messages = [{ role: 'user', content: 'What is 12 plus 30?' }], how = { model: 'large', temperature: 0, max_tokens: 8 };
  const chat = (await server.json('/v1/chat/completions', { ...how, messages })).body;
  const { prompt } = (await server.json('/apply-template', { model: 'large', messages })).body;
  const raw = (await server.json('/completion', { ...how, prompt })).body;
  assert.deepEqual([raw.tokens_evaluated, raw.content], [chat.usage.prompt_tokens, chat.choices[0].message.content]);
  const text = (await server.json('/v1/completions', { ...how, prompt })).body;
  assert.deepEqual([text.usage.prompt_tokens, text.choices[0].text], [chat.usage.prompt_tokens, chat.choices[0].message.content]);
});

test('tokens that are asked for are those of the text', async () => {
  const { tokens, content } = await ask({ return_tokens: true });
  const text = (await server.json('/detokenize', { model: 'large', tokens })).body.content;
  assert.equal(text, content);
});

test('only the fields that are asked for', async () => {
  const body = await ask({ response_fields: ['content', 'generation_settings/n_predict', 'nothing'] });
  assert.deepEqual(Object.keys(body), ['content', 'generation_settings/n_predict']);
  assert.equal(body['generation_settings/n_predict'], 8);
});

test('what ended a reply: a stop string, the model, the context', async () => {
  const { content } = await ask({ n_predict: 20 });
  const stop = content.slice(3, 6);
  const stopped = await ask({ n_predict: 20, stop: ['\u0001never', stop] });
  assert.equal(stopped.stop_type, 'word');
  assert.equal(stopped.stopping_word, stop);
  assert.ok(content.startsWith(stopped.content) && stopped.content.length <= 3);

  const { generation_settings: { logit_bias: ends } } = await ask();
  assert.ok(ends.length > 0 && ends.every(({ bias }) => bias === null));
  const wish = Object.fromEntries(ends.map(({ token }) => [token, 100]));
  const ended = await ask({ logit_bias: wish, temperature: 0, ignore_eos: false });
  assert.equal(ended.stop_type, 'eos');
  assert.equal(ended.tokens_predicted, 0);
  const late = await ask({ logit_bias: wish, temperature: 0, ignore_eos: false, min_tokens: 3 });
  assert.equal(late.stop_type, 'eos');
  assert.equal(late.tokens_predicted, 3);

  const full = await ask({ model: 'small', n_predict: -1 });
  assert.equal(full.stop_type, 'limit');
  assert.equal(full.truncated, true);
});

test('probabilities: the model\'s own, and of what was drawn from', async () => {
  const own = (await ask({ n_probs: 4, n_predict: 3 })).completion_probabilities;
  assert.equal(own.length, 3);
  for (const token of own) {
    assert.equal(token.top_logprobs.length, 4);
    assert.ok(token.logprob <= 0 && token.top_logprobs[0].logprob >= token.logprob);
    assert.equal(Buffer.from(token.bytes).toString(), token.token);
  }
  const drawn = (await ask({ n_probs: 4, n_predict: 3, top_k: 3, post_sampling_probs: true })).completion_probabilities;
  for (const token of drawn) {
    assert.ok(token.top_probs.length <= 3);
    assert.ok(token.top_probs.some(({ id, prob }) => id === token.id && prob === token.prob));
    const sum = token.top_probs.reduce((total, { prob }) => total + prob, 0);
    assert.ok(Math.abs(sum - 1) < 1e-5, String(sum));
  }
  const events = await stream({ n_probs: 2 });
  for (const event of events.slice(0, -1)) assert.equal(event.completion_probabilities.length, 1);
});

test('biases of tokens, of words, and false for never', async () => {
  const { content } = await ask({ temperature: 0 });
  const [first] = await tokenize(content);
  const text = (await server.json('/detokenize', { model: 'large', tokens: [first] })).body.content;
  for (const logit_bias of [[[first, false]], [[text, -100]], { [text]: -100 }, { [first]: -100 }]) {
    const other = await ask({ temperature: 0, logit_bias, return_tokens: true });
    assert.notEqual(other.tokens[0], first, JSON.stringify(logit_bias));
  }
  await refused({ model: 'auto', logit_bias: [['word', 1]] }, 400, /'model' must name it/);
});

test('forms, by grammar and by schema', async () => {
  assert.match((await ask({ grammar: 'root ::= "a"{5,5}', n_predict: 20 })).content, /^a{5}$/);
  assert.equal((await ask({ json_schema: { const: 'x' }, n_predict: 20 })).content, '"x"');
});

test('what would change the text and is not supported is refused by its name', async () => {
  for (const [name, value] of Object.entries({
    typical_p: 0.9, mirostat: 1, dry_multiplier: 0.8, xtc_probability: 0.5, top_n_sigma: 1, dynatemp_range: 0.5,
    min_keep: 3, n_indent: 2, t_max_predict_ms: 5, lora: [{ id: 0, scale: 1 }], samplers: ['top_k'], return_progress: true,
    adaptive_target: 0.5,
  })) await refused({ [name]: value }, 400, new RegExp(`'${name}'`));
  await refused({ prompt: { prompt_string: 'x', multimodal_data: ['aaaa'] } }, 400, /'prompt'/);
  const { content } = await ask();
  const off = {
    typical_p: 1, mirostat: 0, mirostat_tau: 5, mirostat_eta: 0.1, dry_multiplier: 0, dry_base: 1.75, dry_allowed_length: 2,
    xtc_probability: 0, xtc_threshold: 0.1, top_n_sigma: -1, dynatemp_range: 0, dynatemp_exponent: 1, repeat_last_n: 64,
    n_keep: 0, n_discard: 0, id_slot: 0, cache_prompt: false, min_keep: 0, lora: [],
    samplers: ['penalties', 'temperature', 'top_k', 'top_p', 'min_p'],
  };
  assert.equal((await ask(off)).content, content);
});

test('/infill asks for a model that fills in', async () => {
  await refused({ input_prefix: 'a', input_suffix: 'b' }, 501, /not trained to fill in/, '/infill');
  await refused({ input_prefix: 'a' }, 400, /'input_suffix' is missing/, '/infill');
  await refused({ input_prefix: 'a', input_suffix: 'b', input_extra: [{ filename: 'x' }] }, 400, /'input_extra'/, '/infill');
});

test('the large model is what is meant where none is named, though both contexts hold as much', async (t) => {
  const pair = await Server.start({ args: ['--config', changedConfig(t, (text) => text.replaceAll('    slots: 8', '    slots: 8\n    context: 256'))] });
  t.after(() => pair.stop());
  assert.equal((await pair.json('/props')).body.model_alias, 'large');
});

test('/props, /slots and the list of models', async () => {
  const props = (await server.json('/props')).body;
  assert.equal(props.total_slots, 8);
  assert.equal(props.model_path, 'large.gguf');
  assert.equal(props.default_generation_settings.params.n_predict, -1);
  assert.ok(props.default_generation_settings.n_ctx > 0);
  assert.ok(props.chat_template.includes('messages'));
  const { data } = (await server.json('/v1/models')).body;
  assert.deepEqual(data.map(({ id }) => id), ['auto', 'small', 'large']);
  assert.deepEqual(data[2].aliases, ['large']);
  assert.equal(data[2].meta.n_ctx, data[2].max_model_len);

  const busy = async () => (await server.json('/slots')).body.filter(({ is_processing }) => is_processing).length;
  assert.equal((await server.json('/slots')).body.length, 16);
  const free = () => until('all slots are free', async () => (await busy()) === 0);
  await free(); // a reply's end is told before its slot is free
  const long = ask({ n_predict: 2000 }).catch(() => {});
  let seen = 0;
  for (let i = 0; i < 500 && seen === 0; i++) seen = await busy();
  assert.equal(seen, 1);
  await long;
  await free();
});
