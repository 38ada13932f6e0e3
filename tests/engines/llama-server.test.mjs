// Models at llama.cpp's own server (the Python package xllamacpp): the large one with the small one here, and both, with
// the probe there too. The answers are real models', so what is looked at is the way they come.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Server, root, until } from '../e2e/helper.mjs';

const cache = process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
const models = process.env.A_IO_REAL_MODELS || path.join(cache, 'a-io/real');
const [smallFile, largeFile] = ['0.5b', '1.5b'].map((size) => path.join(models, `qwen2.5-coder-${size}-instruct-q4_k_m.gguf`));
const python = path.join(process.env.A_IO_ENGINES ?? path.join(root, 'build/engines'), 'bin/python');
const skip = [smallFile, largeFile, path.join(path.dirname(python), '../.installed')].filter((file) => !fs.existsSync(file))
  .map((file) => `no ${file}`)[0] ?? false;

const freePort = () => new Promise((resolve) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

class Engine {
  static async start(file) {
    const engine = new Engine();
    const port = await freePort();
    engine.url = `http://127.0.0.1:${port}`;
    engine.child = spawn(python, [path.join(root, 'tests/engines/llama_server.py'), file, String(port)], { stdio: 'ignore' });
    process.once('exit', () => engine.child.kill('SIGKILL'));
    await until(`llama.cpp's server has ${file}`, () => {
      if (engine.child.exitCode !== null) throw new Error(`llama.cpp's server ended with ${engine.child.exitCode}`);
      return fetch(`${engine.url}/health`).then((r) => r.ok, () => false);
    }, 240000);
    return engine;
  }

  async busy() {
    const slots = await (await fetch(`${this.url}/slots`)).json();
    return slots.filter((slot) => slot.is_processing).length;
  }
}

const local = `  - {name: small, path: "${smallFile}", context: 4096, slots: 2}`;
const remote = (name, engine) => `  - {name: ${name}, url: "${engine.url}/v1", context: 4096}`;
const probe = (template, space) => `probe:
  timeout_ms: 240000
  template: "${template}"
  labels:
    - {name: code, token: "${space}code"}
    - {name: qa, token: "${space}question"}
    - {name: math, token: "${space}math"}`;
const rules = `policy:
  name: rules
  rules:
    - {name: code, intent: code, model: small}
    - {name: rest, model: large}`;

function config(...parts) {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'a-io-engines-')), 'pair.yaml');
  fs.writeFileSync(file, `version: 1\nmodels:\n${parts.join('\n')}\n`);
  return file;
}

const tools = [{ type: 'function', function: { name: 'get_weather', description: 'Tells the weather in a city.',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false } } }];
const ask = (content, more = {}) => ({ messages: [{ role: 'user', content }], temperature: 0, max_tokens: 24, ...more });

async function streamed(server, body) {
  const response = await fetch(`${server.url}/v1/chat/completions`, { method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }) });
  const text = await response.text();
  assert.match(text, /data: \[DONE\]\n\n$/);
  return text.split('\n\n').filter((event) => event.startsWith('data: {')).map((event) => JSON.parse(event.slice(6)));
}

let small, large;
before(async () => { if (!skip) [small, large] = await Promise.all([Engine.start(smallFile), Engine.start(largeFile)]); });
after(() => [small, large].forEach((engine) => engine?.child.kill('SIGKILL')));

const pairs = [
  { name: 'the large one there', parts: () => [local, remote('large', large), probe('{conversation}Task category:', ' '), rules] },
  { name: 'both there, and the probe', parts: () => [remote('small', small), remote('large', large),
    probe('{conversation}\\n\\nIs this about code, a question or math? Answer with one word.', ''), rules] },
];

for (const { name, parts } of pairs)
  test(`llama.cpp's server: ${name}`, { skip }, async (t) => {
    const server = await Server.start({ args: ['--config', config(...parts())] });
    t.after(() => server.stop());
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
      const here = await reply(body);
      const there = await (await fetch(`${large.url}/v1/chat/completions`, { method: 'POST', headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ ...body, model: 'large' }) })).json();
      assert.match(here.choices[0].message.content, /Paris/);
      assert.equal(here.choices[0].message.content, there.choices[0].message.content);
      assert.equal(here.choices[0].finish_reason, there.choices[0].finish_reason);
      assert.deepEqual([here.usage.prompt_tokens, here.usage.completion_tokens], [there.usage.prompt_tokens, there.usage.completion_tokens]);
    });

    await t.test('a stream comes in pieces, and is the whole answer', async () => {
      const body = ask('Count from one to ten in words.', { model: 'large' });
      const events = await streamed(server, body);
      const pieces = events.map((event) => event.choices[0]?.delta.content).filter(Boolean);
      assert.ok(pieces.length > 4, `${pieces.length} pieces`);
      assert.equal(pieces.join(''), (await reply(body)).choices[0].message.content);
      assert.ok(events.at(-1).usage.completion_tokens > 4);
    });

    await t.test('log-probabilities are the engine\'s', async () => {
      const body = ask('What is the capital of France?', { model: 'large', logprobs: true, top_logprobs: 3 });
      const here = (await reply(body)).choices[0].logprobs.content;
      const there = (await (await fetch(`${large.url}/v1/chat/completions`, { method: 'POST', headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ ...body, model: 'large' }) })).json()).choices[0].logprobs.content
        .filter((one) => one.bytes.length > 0); // whole, it tells of the end token, too
      assert.ok(here.length > 1);
      assert.deepEqual(here.map((one) => one.bytes), there.map((one) => one.bytes));
      assert.deepEqual(here.map((one) => one.top_logprobs.length), here.map(() => 3));
      for (const [i, { logprob }] of here.entries()) assert.ok(Math.abs(logprob - there[i].logprob) < 0.05, `${logprob}, ${there[i].logprob}`);
      const pieces = (await streamed(server, body)).flatMap((event) => event.choices[0]?.logprobs?.content ?? []);
      assert.deepEqual(pieces.map((one) => one.token), here.map((one) => one.token));
    });

    await t.test('tools: what the engine calls, whole and streamed', async () => {
      const body = ask('What is the weather like in Paris?', { model: 'large', tools, tool_choice: 'required', max_tokens: 64 });
      const answer = await reply(body);
      const there = await (await fetch(`${large.url}/v1/chat/completions`, { method: 'POST', headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ ...body, model: 'large' }) })).json();
      assert.equal(answer.choices[0].finish_reason, there.choices[0].finish_reason, JSON.stringify([answer, there]));
      // This model writes its call as text, and this engine leaves it so: then here it is the same text.
      const calls = (choice) => (choice.message.tool_calls ?? []).map((call) => call.function);
      assert.deepEqual(calls(answer.choices[0]), calls(there.choices[0]));
      assert.equal(answer.choices[0].message.content ?? '', there.choices[0].message.content ?? '');
      const deltas = (await streamed(server, body)).flatMap((event) => event.choices[0]?.delta.tool_calls ?? []);
      assert.equal(deltas.map((delta) => delta.function.arguments ?? '').join(''), calls(there.choices[0]).map((call) => call.arguments).join(''));
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
  });
