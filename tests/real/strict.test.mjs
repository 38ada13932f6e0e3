// A tool with "strict": true that the model may call or not: what it calls is valid, by every API, and
// the same whatever runs beside it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { Server } from '../e2e/helper.mjs';

const cache = process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
const folder = process.env.A_IO_REAL_MODELS || path.join(cache, 'a-io/real');
const file = path.join(folder, 'qwen2.5-coder-0.5b-instruct-q4_k_m.gguf');

// What it is asked for does not fit the schema, so that a model left to itself breaks it.
const parameters = {
  type: 'object',
  properties: { city: { enum: ['Paris', 'Rome'] }, days: { type: 'integer', minimum: 1, maximum: 9 }, zip: { type: 'string', pattern: '^[0-9]{5}$' } },
  required: ['city', 'days', 'zip'],
  additionalProperties: false,
};
const said = { name: 'get_weather', description: 'The weather of a city for some days' };
const tools = [{ type: 'function', function: { ...said, parameters, strict: true } }];
const question = 'What will the weather be in Berlin for three weeks?';
const messages = [{ role: 'user', content: question }];

function isValid(name, text) {
  const given = JSON.parse(text);
  return name === said.name && Object.keys(given).sort().join() === 'city,days,zip' && parameters.properties.city.enum.includes(given.city)
    && Number.isInteger(given.days) && given.days >= 1 && given.days <= 9 && /^[0-9]{5}$/.test(given.zip);
}

test('strict, with a tool that may be called', { skip: !fs.existsSync(file) && `no ${file}` }, async (t) => {
  const server = await Server.start({ args: ['-m', file, '-c', '4096'] });
  t.after(() => server.stop());
  const seeds = [...Array(12).keys()];
  const asked = (seed) => ({ messages, tools, temperature: 1.2, seed, max_tokens: 120 });
  const reply = async (body) => {
    const { status, body: answer } = await server.json('/v1/chat/completions', body);
    assert.equal(status, 200, JSON.stringify(answer));
    const { message, finish_reason: finish } = answer.choices[0];
    return { text: message.content ?? '', finish, calls: (message.tool_calls ?? []).map((call) => call.function) };
  };
  const streamed = async (body) => {
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ ...body, stream: true }) });
    const all = { text: '', finish: null, calls: [] };
    for (const line of (await response.text()).split('\n').filter((x) => x.startsWith('data: {'))) {
      const { delta, finish_reason: finish } = JSON.parse(line.slice(6)).choices[0];
      all.text += delta.content ?? '';
      all.finish = finish ?? all.finish;
      for (const { index, function: piece } of delta.tool_calls ?? []) {
        all.calls[index] ??= { name: piece.name, arguments: '' };
        all.calls[index].arguments += piece.arguments ?? '';
      }
    }
    return all;
  };

  const alone = [];
  for (const seed of seeds) alone.push(await reply(asked(seed)));
  const whole = alone.filter((x) => x.finish === 'tool_calls');
  assert.ok(whole.length >= 3, `${whole.length} of ${seeds.length} replies call`);
  for (const { calls } of whole) for (const call of calls) assert.ok(isValid(call.name, call.arguments), JSON.stringify(call));
  assert.deepEqual(await Promise.all(seeds.map((seed) => reply(asked(seed)))), alone, 'side by side');
  assert.deepEqual(await Promise.all(seeds.map((seed) => streamed(asked(seed)))), alone, 'streamed');
  assert.deepEqual(await Promise.all(seeds.map((seed) => reply({ ...asked(seed), prompt_lookup_num_tokens: 8 }))), alone, 'with lookup');

  const anthropic = { messages, tools: [{ ...said, input_schema: parameters, strict: true }], max_tokens: 120, temperature: 1 };
  const messagesOf = await Promise.all(seeds.map(() => server.json('/v1/messages', anthropic)));
  const uses = messagesOf.filter((x) => x.body.stop_reason === 'tool_use').flatMap((x) => x.body.content.filter((block) => block.type === 'tool_use'));
  assert.ok(uses.length >= 1);
  for (const use of uses) assert.ok(isValid(use.name, JSON.stringify(use.input)), JSON.stringify(use));

  const responses = { input: question, tools: [{ type: 'function', ...said, parameters, strict: true }], max_output_tokens: 120, temperature: 1 };
  const responsesOf = await Promise.all(seeds.map(() => server.json('/v1/responses', responses)));
  const made = responsesOf.filter((x) => x.body.status === 'completed').flatMap((x) => x.body.output.filter((item) => item.type === 'function_call'));
  assert.ok(made.length >= 1);
  for (const call of made) assert.ok(isValid(call.name, call.arguments), JSON.stringify(call));
});
