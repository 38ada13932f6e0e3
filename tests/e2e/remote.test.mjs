// A model at another server: a second `a-io serve` of the same file gives the same replies, bit for bit; what a
// server can do wrong is done by a scripted one.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Server, changedConfig, mixedPrompts, root, run, temporaryFolder, until } from './helper.mjs';
import { Replica, call, done, end, refuse, say, stream, streaming, think, usage } from './replica.mjs';

const remoteLarge = (t, url, more = '') => changedConfig(t, (text) => text.replace(
  /  - name: large\n.*\n.*\n.*\n/, `  - {name: large, url: "${url}"${more}}\n`));
const ask = (content, more = {}) => ({
  model: 'large', messages: [{ role: 'user', content }], temperature: 0, seed: 3, max_tokens: 40, ...more,
});
const tools = [{ type: 'function', function: { name: 'add', parameters: { type: 'object', properties: { a: { type: 'integer' } } } } }];

async function behind(t, script, more) {
  const replica = await Replica.start(t, script);
  const server = await Server.start({ args: ['--config', remoteLarge(t, replica.url, more)], env: { REPLICA_KEY: 'k-17' } });
  t.after(() => server.stop());
  return { replica, server };
}

const asked = (server, body) => fetch(`${server.url}/v1/chat/completions`, {
  method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ ...body, stream: true }),
});
const listed = (text) => text.split('\n\n').filter((e) => e.startsWith('data: {')).map((e) => JSON.parse(e.slice(6)));

async function events(server, body) {
  const response = await asked(server, body), text = await response.text();
  return { status: response.status, text, list: listed(text) };
}

// A stream of which some text has come; what this gives waits for its end, and gives all of it.
async function begun(server, body) {
  const reader = (await asked(server, body)).body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  const read = async () => {
    const { value, done: isOver } = await reader.read();
    text += value ?? '';
    return !isOver;
  };
  while (!/"content":"./.test(text)) assert.ok(await read(), text);
  return async () => {
    while (await read());
    return listed(text);
  };
}

test('a second a-io serve of the large file: replies and decisions as with both here', async (t) => {
  const far = await Server.start();
  const here = await Server.start();
  const near = await Server.start({ args: ['--config', remoteLarge(t, `${far.url}/v1`, ', context: 1024')] });
  t.after(() => Promise.all([far, here, near].map((s) => s.stop())));
  for (const prompt of mixedPrompts)
    for (const more of [{}, { temperature: 0.9, top_p: 0.8, top_k: 30 }, { model: 'auto', max_tokens: 24 }]) {
      const [a, b] = await Promise.all([here, near].map((s) => s.json('/v1/chat/completions', ask(prompt, more))));
      assert.equal(b.status, 200, JSON.stringify(b.body));
      assert.equal(b.body.choices[0].message.content, a.body.choices[0].message.content);
      assert.equal(b.body.choices[0].finish_reason, a.body.choices[0].finish_reason);
      assert.deepEqual([b.body.usage.prompt_tokens, b.body.usage.completion_tokens],
        [a.body.usage.prompt_tokens, a.body.usage.completion_tokens]);
      assert.equal(b.headers.get('x-a-io-model'), a.headers.get('x-a-io-model'));
      assert.equal(b.headers.get('x-a-io-reason'), a.headers.get('x-a-io-reason'));
    }
  const raw = { model: 'large', prompt: 'The sea is', temperature: 0, seed: 1, max_tokens: 20 };
  const [a, b] = await Promise.all([here, near].map((s) => s.json('/v1/completions', raw)));
  assert.equal(b.body.choices[0].text, a.body.choices[0].text);
  const streamed = await events(near, ask(mixedPrompts[0], { stream_options: { include_usage: true } }));
  const whole = await here.json('/v1/chat/completions', ask(mixedPrompts[0]));
  assert.equal(streamed.list.map((e) => e.choices[0]?.delta.content ?? '').join(''), whole.body.choices[0].message.content);
});

test('what is sent, and what comes back of it', async (t) => {
  const { replica, server } = await behind(t, stream(
    think('Let me '), think('see.'), say('It '), say('is 3.'), end('length'), usage(11, 5, 4), done),
  ', model: far-model, key_env: REPLICA_KEY, fields: "{\\"priority\\": 2}"');
  const { status, body } = await server.json('/v1/chat/completions', ask('How much is 1 + 2?', { stop: ['END'], top_k: 5 }));
  assert.equal(status, 200);
  assert.equal(body.choices[0].message.content, 'It is 3.');
  assert.equal(body.choices[0].finish_reason, 'length');
  assert.equal(body.usage.prompt_tokens, 11);
  assert.equal(body.usage.completion_tokens, 5);
  assert.equal(body.usage.prompt_tokens_details.cached_tokens, 4);
  assert.ok(!('estimated_tokens' in body.a_io.receipt.reply));
  const { stream_options, ...sent } = replica.bodies[0];
  assert.deepEqual(stream_options, { include_usage: true });
  assert.deepEqual(sent, {
    model: 'far-model', stream: true, messages: [{ role: 'user', content: 'How much is 1 + 2?' }], temperature: 0, seed: 3,
    top_k: 5, max_tokens: 40, stop: ['END'], priority: 2,
  });
  assert.equal(replica.headers[0].authorization, 'Bearer k-17');
  assert.equal(replica.headers[0].url, '/v1/chat/completions');
});

// Its prompt by its bytes, its reply by the pieces that came: nobody is served for nothing.
test('a server that never says how many tokens there were: they are estimated, and it is said', async (t) => {
  const { replica, server } = await behind(t, stream(say('It '), say('is 3.'), end(), done), ', price: {input: 1000, output: 2000}');
  const { body } = await server.json('/v1/chat/completions', ask('12345678'));
  const { prompt_tokens: prompt, reply_tokens: told, estimated_tokens: estimated } = body.a_io.receipt.reply;
  assert.deepEqual([prompt, told, estimated], [3, 2, 5]);
  assert.ok(Math.abs(body.a_io.receipt.cost - 0.007) < 1e-9);
  const spent = async () => Number(/a_io_cost_total\{model="large"\} (\S+)/.exec(await (await fetch(`${server.url}/metrics`)).text())[1]);
  await server.idle();
  assert.ok(Math.abs(await spent() - 0.007) < 1e-9);
  // Who leaves before the end has had what came.
  replica.script = (request, response) => { streaming(response); response.write(say('first')); };
  const controller = new AbortController();
  const response = await fetch(`${server.url}/v1/chat/completions`, { method: 'POST', signal: controller.signal,
    headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(ask('12345678', { stream: true })) });
  const reader = response.body.getReader();
  for (let text = ''; !text.includes('first');) text += new TextDecoder().decode((await reader.read()).value);
  controller.abort();
  await server.idle();
  await until('it is paid for', async () => Math.abs(await spent() - 0.012) < 1e-9);
});

test('a penalty goes by both of its names', async (t) => {
  const { replica, server } = await behind(t, stream(say('a'), end(), done));
  assert.equal((await server.json('/v1/chat/completions', ask('x', { repetition_penalty: 1.5 }))).status, 200);
  assert.deepEqual([replica.bodies[0].repetition_penalty, replica.bodies[0].repeat_penalty], [1.5, 1.5]);
});

test('a key from a file, whose first line it is; a file without one is refused at start', async (t) => {
  const file = path.join(temporaryFolder(t), 'key');
  fs.writeFileSync(file, 'k-18\nmore\n');
  const { replica, server } = await behind(t, stream(say('well'), end(), done), `, key_file: "${file}"`);
  assert.equal((await server.json('/v1/chat/completions', ask('x'))).status, 200);
  assert.equal(replica.headers[0].authorization, 'Bearer k-18');
  fs.writeFileSync(file, '\n');
  const checked = run(['serve', '--check', '--config', remoteLarge(t, replica.url, `, key_file: "${file}"`)]);
  assert.equal(checked.status, 4);
  assert.match(checked.stderr, /key_file: .* holds no key/);
});

// The text that came stands; then each API says in its own form that it broke off.
test('a stream that breaks off, as each API tells it', async (t) => {
  const half = (request, response) => { streaming(response); response.write(say('half'), () => setTimeout(() => response.socket?.destroy(), 5)); };
  const { server } = await behind(t, half);
  const tell = async (route, body) => {
    const response = await fetch(server.url + route, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ model: 'large', stream: true, ...body }) });
    const text = await response.text();
    assert.equal(response.status, 200, text);
    assert.match(text, /half/);
    return JSON.parse(text.trim().split('\n').at(-1).replace(/^data: /, ''));
  };
  const messages = [{ role: 'user', content: 'x' }];
  assert.match((await tell('/api/chat', { messages })).error, /large/);
  const message = await tell('/v1/messages', { messages, max_tokens: 9 });
  assert.deepEqual([message.type, message.error.type], ['error', 'api_error']);
  const response = await tell('/v1/responses', { input: 'x' });
  assert.match(JSON.stringify(response), /"(failed|error)"/);
});

test('thoughts come as the item that Responses has for them', async (t) => {
  const { server } = await behind(t, stream(think('Let me see.'), say('It is 3.'), end(), done));
  const { body } = await server.json('/v1/responses', { model: 'large', input: 'x' });
  const [thought, message] = body.output;
  assert.deepEqual([thought.type, thought.content[0].text], ['reasoning', 'Let me see.']);
  assert.equal(message.content[0].text, 'It is 3.');
});

test('log-probabilities: the texts, their bytes where they are told, fewer alternatives than were asked for', async (t) => {
  const token = (text, logprob, top, bytes) => ({ token: text, logprob, ...(bytes && { bytes }), top_logprobs: top });
  const piece = (text, content) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: text }, logprobs: { content }, finish_reason: null }] })}\n\n`;
  const { replica, server } = await behind(t, stream(
    piece('It', [token('It', -0.5, [token('It', -0.5), token('A', -1.5)])]),
    piece(' \u00e9', [token(' \ufffd', -1, [token(' \ufffd', -1, undefined, [32, 195])], [32, 195]), token('\ufffd', -2, [], [169])]), end(), done));
  const body = ask('x', { logprobs: true, top_logprobs: 2 });
  const { status, body: answer } = await server.json('/v1/chat/completions', body);
  assert.equal(status, 200, JSON.stringify(answer));
  const { content } = answer.choices[0].logprobs;
  assert.deepEqual(content.map((one) => [one.token, one.logprob, one.bytes, one.top_logprobs.length]),
    [['It', -0.5, [73, 116], 2], [' \ufffd', -1, [32, 195], 1], ['\ufffd', -2, [169], 0]]);
  assert.deepEqual(content[0].top_logprobs[1], { token: 'A', logprob: -1.5, bytes: [65] });
  assert.deepEqual([replica.bodies[0].logprobs, replica.bodies[0].top_logprobs], [true, 2]);
  const streamed = await events(server, body);
  assert.deepEqual(streamed.list.flatMap((e) => e.choices[0]?.logprobs?.content ?? []), content);
  const raw = await server.json('/v1/completions', { model: 'large', prompt: 'x', logprobs: 1 });
  assert.equal(raw.status, 501);
});

test('what is asked of the large model that only one in this process knows', async (t) => {
  const { server } = await behind(t, stream(say('It is 3.'), end(), done));
  const info = await server.json('/tokenizer_info');
  assert.equal(info.status, 501, JSON.stringify(info.body));
  assert.match(info.body.error.message, /large/);
  for (const path of ['/props', '/slots', '/api/tags', '/v1/models']) assert.equal((await server.json(path)).status, 200, path);
});

test('embeddings where no model is here: 501, however it is named', async (t) => {
  const replica = await Replica.start(t, stream(done));
  const config = changedConfig(t, (text) => text.replace(/^models:\n[^]*?\n\n/m, `models:\n  - {name: far, url: "${replica.url}"}\n\n`)
    .replace(/^probe:\n[^]*?\n\n/m, '').replace(/^policy:\n[^]*?\n\n/m, ''));
  const server = await Server.start({ args: ['--config', config] });
  t.after(() => server.stop());
  for (const more of [{}, { model: 'auto' }, { model: 'far', dimensions: 8 }]) {
    const { status, body } = await server.json('/v1/embeddings', { input: 'x', ...more });
    assert.equal(status, 501, JSON.stringify(body));
  }
});

test('calls of tools, in pieces and several', async (t) => {
  const { replica, server } = await behind(t, stream(
    call(0, 'add', ''), call(0, null, '{"a"'), call(0, null, ': 1}'), call(1, 'add', '{"a": 2}'), call(2, 'add', ''), end('tool_calls'), done));
  const { body } = await server.json('/v1/chat/completions', ask('Add.', { tools, tool_choice: 'required' }));
  assert.deepEqual(body.choices[0].message.tool_calls.map((c) => [c.function.name, JSON.parse(c.function.arguments)]),
    [['add', { a: 1 }], ['add', { a: 2 }], ['add', {}]]);
  assert.equal(body.choices[0].finish_reason, 'tool_calls');
  assert.equal(replica.bodies[0].tool_choice, 'required');
});

test('a call that was made is told as OpenAI\'s API has it: its arguments are text', async (t) => {
  const { replica, server } = await behind(t, stream(say('3'), end(), done));
  const turn = (args) => [{ role: 'user', content: 'say "tool_calls"' },
    { role: 'assistant', content: null, tool_calls: [{ id: 'call_7', type: 'function', function: { name: 'add', arguments: args } }] },
    { role: 'tool', tool_call_id: 'call_7', content: '3' }];
  for (const args of ['{"a": 1, "b": {"c": "\\u00e9"}}', 'no JSON']) {
    const { status } = await server.json('/v1/chat/completions', ask('', { messages: turn(args), tools }));
    assert.equal(status, 200);
    const [user, { tool_calls: [{ id, function: { name, arguments: sent } }] }, answer] = replica.bodies.at(-1).messages;
    assert.deepEqual([user.content, id, name, answer.tool_call_id, answer.content], ['say "tool_calls"', 'call_7', 'add', 'call_7', '3']);
    assert.equal(typeof sent, 'string');
    if (args.startsWith('{')) assert.deepEqual(JSON.parse(sent), JSON.parse(args));
    else assert.equal(sent, args);
  }
});

test('refusals, and what is no answer', async (t) => {
  const { replica, server } = await behind(t, refuse(429, 'queue is full', { 'Retry-After': '7' }));
  const answer = async () => server.json('/v1/chat/completions', ask('x'));
  let got = await answer();
  assert.equal(got.status, 429);
  assert.equal(got.headers.get('retry-after'), '7');
  for (const [script, status, words] of [
    [refuse(400, 'too long by 7'), 400, /too long by 7/], [refuse(401, 'who are you'), 500, /who are you/],
    [refuse(500, 'oh no'), 500, /oh no/], [refuse(503, 'loading'), 429, /loading/],
    [(q, r) => { r.writeHead(200); r.end('<html>hello'); }, 500, /no answer that can be read/],
    [stream('data: {"choices": [\n\n'), 500, /no JSON/], [stream(say('half')), 500, /too early/],
    [stream(say('a'), 'data: {"error": {"message": "the card is hot"}}\n\n'), 500, /the card is hot/],
    [(q, r) => { r.socket.destroy(); }, 500, /server of model 'large'/],
  ]) {
    replica.script = script;
    got = await answer();
    assert.equal(got.status, status, JSON.stringify(got.body));
    assert.match(got.body.error.message, words);
  }
  replica.script = stream(say('well'), end(), done);
  assert.equal((await answer()).body.choices[0].message.content, 'well');
  await replica.close();
  got = await answer();
  assert.equal(got.status, 500);
});

test('a stream that breaks off is told once, and what came is not taken back', async (t) => {
  const { replica, server } = await behind(t, (request, response) => {
    streaming(response);
    response.write(say('one '));
    response.write(say('two'), () => setTimeout(() => response.socket.destroy(), 50));
  });
  const { status, list, text } = await events(server, ask('x'));
  assert.equal(status, 200);
  assert.equal(list.map((e) => e.choices?.[0]?.delta?.content ?? '').join(''), 'one two');
  assert.equal(list.filter((e) => e.error).length, 1);
  assert.ok(!text.includes('[DONE]'));
  assert.equal(replica.bodies.length, 1);
});

test('silence ends: before the first byte, and within an answer', async (t) => {
  const { replica, server } = await behind(t, () => {}, ', first_byte_ms: 300, idle_ms: 200');
  let got = await server.json('/v1/chat/completions', ask('x'));
  assert.equal(got.status, 504);
  assert.match(got.body.error.message, /silent for 300 ms/);
  replica.script = (request, response) => { streaming(response); response.write(say('a')); };
  got = await server.json('/v1/chat/completions', ask('x'));
  assert.equal(got.status, 504);
  assert.match(got.body.error.message, /silent for 200 ms/);
  got = await server.json('/v1/chat/completions', ask('x', { deadline_ms: 100 }));
  assert.equal(got.status, 504);
  assert.match(got.body.error.message, /deadline/);
  await until('the server was let go', () => replica.gone === 3);
});

test('who goes away is cancelled there too, and text comes before the end', async (t) => {
  const { replica, server } = await behind(t, (request, response) => { streaming(response); response.write(say('first')); });
  const controller = new AbortController();
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(ask('x', { stream: true })), signal: controller.signal,
  });
  const reader = response.body.getReader();
  let text = '';
  while (!text.includes('first')) text += new TextDecoder().decode((await reader.read()).value);
  controller.abort();
  await until('the other server is told', () => replica.gone === 1);
  await server.idle();
});

test('kill -9 in the middle: those that stream get one error, later ones are refused, and a new one is used', async (t) => {
  const folder = temporaryFolder(t);
  const file = path.join(folder, 'replica.mjs');
  fs.writeFileSync(file, `import http from 'node:http';
    http.createServer((request, response) => { request.resume(); response.writeHead(200);
      const say = () => response.write('data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\\n\\n');
      say(); setInterval(say, 20); }).listen(Number(process.argv[2]), '127.0.0.1', function () { console.log(this.address().port); });`);
  const launch = async (port) => {
    const child = spawn(process.execPath, [file, `${port}`], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => child.kill('SIGKILL'));
    const said = await new Promise((resolve) => child.stdout.once('data', resolve));
    return { child, port: Number(said) };
  };
  const first = await launch(0);
  const server = await Server.start({ args: ['--config', remoteLarge(t, `http://127.0.0.1:${first.port}/v1`)] });
  t.after(() => server.stop());
  const streams = await Promise.all([1, 2, 3, 4].map(() => begun(server, ask('x'))));
  first.child.kill('SIGKILL');
  for (const list of await Promise.all(streams.map((rest) => rest()))) {
    assert.ok(list.some((e) => e.choices?.[0]?.delta?.content?.includes('x')));
    assert.equal(list.filter((e) => e.error).length, 1);
  }
  assert.equal((await server.json('/v1/chat/completions', ask('x'))).status, 500);
  const again = await launch(first.port);
  const rest = await begun(server, ask('x'));
  again.child.kill('SIGKILL');
  assert.ok((await rest()).length > 1);
});

test('a small model at another server is probed by one token; what it leaves out goes to the large one', async (t) => {
  const told = (...pairs) => (request, response, body) => {
    if (body.max_tokens !== 1) return stream(say('answer'), end(), done)(request, response);
    const top_logprobs = pairs.map(([token, p]) => ({ token, logprob: Math.log(p) }));
    return stream(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: 'x' },
      logprobs: { content: [{ token: 'x', logprob: 0, top_logprobs }] }, finish_reason: 'length' }] })}\n\n`, done)(request, response);
  };
  const replica = await Replica.start(t, told(['code', 0.6], [' code', 0.3], [' qa', 0.02], ['math', 0.01], ['Well', 0.05]));
  const file = changedConfig(t, (text) => text.replace(/  - name: small\n.*\n.*\n.*\n/, `  - {name: small, url: "${replica.url}"}\n`));
  const server = await Server.start({ args: ['--config', file] });
  t.after(() => server.stop());
  let { body } = await server.json('/v1/chat/completions', ask('Write a sum.', { model: 'auto' }));
  assert.equal(body.choices[0].message.content, 'answer');
  assert.equal(body.a_io.plan.model, 'small');
  assert.equal(body.a_io.intent.label, 'code');
  assert.ok(Math.abs(body.a_io.intent.probabilities.code - 0.9 / 0.93) < 1e-6);
  assert.ok(Math.abs(body.a_io.intent.outside - 0.07) < 1e-6);
  assert.match(replica.bodies[0].messages[0].content, /^Write a sum\.\n\nIntent:$/);
  assert.deepEqual([replica.bodies[0].max_tokens, replica.bodies[0].top_logprobs], [1, 20]);
  replica.script = told(['code', 0.6], ['qa', 0.3]);
  ({ body } = await server.json('/v1/chat/completions', ask('Write another sum.', { model: 'auto', max_tokens: 8 })));
  assert.equal(body.a_io.plan.model, 'large');
  assert.equal(body.a_io.plan.rule, 'probe_error');
  assert.match(body.a_io.plan.reason, /probe_incomplete/);
});

test('what a configuration cannot mean is refused', (t) => {
  const check = (more) => {
    const result = run(['serve', '--check', '--config', remoteLarge(t, 'http://127.0.0.1:9/v1', more)]);
    return `${result.status} ${result.stderr}`;
  };
  assert.match(check(', slots: 3'), /slots: is for models with a path/);
  assert.match(check(', key_env: A_IO_NO_SUCH_KEY'), /the environment has no A_IO_NO_SUCH_KEY/);
  assert.match(check(', ca_file: /no/such.pem'), /ca_file: \/no\/such\.pem: No such file/);
  assert.match(check(', fields: "[]"'), /fields: must be a JSON object/);
  assert.match(check(', first_byte_ms: 0'), /first_byte_ms: must be from 1/);
  assert.match(check(', path: x.gguf'), /either a path/);
});
