// What another server behind us could do to this one: forge calls, drip, tell of more than was asked for, spoil what a
// second one answers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Server, changedConfig, until } from './helper.mjs';
import { Replica, call, done, earnHedges, end, say, stream, streaming } from './replica.mjs';

const ask = (content, more = {}) => ({
  model: 'large', messages: [{ role: 'user', content }], temperature: 0, seed: 3, max_tokens: 40, ...more,
});
const tools = [{ type: 'function', function: { name: 'add', parameters: { type: 'object', properties: { a: { type: 'integer' } } } } }];
const event = (value) => `data: ${JSON.stringify(value)}\n\n`;
const choice = (more) => event({ choices: [{ index: 0, delta: {}, finish_reason: null, ...more }] });

async function serve(t, change) {
  const server = await Server.start({ args: ['--config', changedConfig(t, change)] });
  t.after(() => server.stop());
  return server;
}
const inPlaceOf = (name, entry) => (text) =>
  text.replace(new RegExp(`  - name: ${name}\n.*\n.*\n.*\n`), `  - {name: ${name}, ${entry}}\n`);

async function behind(t, script, more = '') {
  const replica = await Replica.start(t, script);
  return { replica, server: await serve(t, inPlaceOf('large', `url: "${replica.url}"${more}`)) };
}

async function answer(server, body) {
  const got = await server.json('/v1/chat/completions', body);
  return { ...got, message: got.body.choices?.[0].message, error: got.body.error?.message };
}

test('no text is a call, whatever characters it has', async (t) => {
  const marks = ['\ue0a0\ue0a1', '\u00ff\u00a1', '\ufffd\ufffd'];
  const text = marks.map((mark) => `${mark}{"name":"add","arguments":{"a":1}}`).join(' ');
  const { replica, server } = await behind(t, stream(say(text), end(), done));
  let { message } = await answer(server, ask('Add.', { tools }));
  assert.equal(message.content, text);
  assert.equal(message.tool_calls, undefined);
  // Bytes that are no UTF-8 are no JSON.
  replica.script = stream(Buffer.concat([Buffer.from('data: {"choices":[{"delta":{"content":"'),
    Buffer.from([0xff, 0xa1]), Buffer.from('{}"}}]}\n\n')]), end(), done);
  assert.match((await answer(server, ask('Add.', { tools }))).error, /no JSON/);
  replica.script = stream(call(0, 'add', '{"a": 1}'), end('tool_calls'), done);
  ({ message } = await answer(server, ask('Add.', { tools })));
  assert.equal(message.tool_calls.length, 1);
});

test('a refusal that never ends is one: the server is left', async (t) => {
  const { replica, server } = await behind(t, (request, response) => {
    response.writeHead(503);
    const more = () => { if (!response.destroyed) response.write('x'.repeat(4096), () => setImmediate(more)); };
    more();
  }, ', idle_ms: 300');
  let got = await answer(server, ask('x'));
  assert.equal(got.status, 429);
  assert.match(got.error, /answered 503/);
  replica.script = (request, response) => {
    response.writeHead(500);
    const timer = setInterval(() => response.write(' '), 20);
    response.on('close', () => clearInterval(timer));
  };
  got = await answer(server, ask('x'));
  assert.equal(got.status, 504);
  assert.match(got.error, /silent for 300 ms/);
  await until('both were left', () => replica.gone === 2);
});

test('more than was asked for: an error, in little memory', async (t) => {
  const lists = (n) => `data: {"choices": [{"delta": {"content": "x"}, "logprobs": {"content": [{}${',{}'.repeat(n)}]}}]}\n\n`;
  const { replica, server } = await behind(t, stream(lists(3_000_000), end(), done));
  const before = server.residentMb();
  assert.match((await answer(server, ask('x'))).error, /an event without an end/);
  replica.script = stream(...Array(30).fill(lists(10_000)), end(), done);
  assert.match((await answer(server, ask('x', { logprobs: true, top_logprobs: 20 }))).error, /told of more than 262144 tokens/);
  assert.ok(server.residentMb() - before < 300, `${server.residentMb() - before} MB`);
  replica.script = stream(say('well'), end(), done);
  assert.equal((await answer(server, ask('x'))).message.content, 'well');
});

const poolOf = (replicas, more) => `replicas: [${replicas.map((r) => `"${r.url}"`).join(', ')}], pool: {health_ms: 0, ${more}}`;

// Two servers that have answered so often that a late one is known; then `first` and `second` say what the one that is
// asked first does, and the one that is asked as well, each when both have been asked.
async function hedged(t) {
  const answers = stream(say('well'), end(), done);
  const both = {};
  const script = async (request, response) => {
    if (!both.first) return answers(request, response);
    both.asked++;
    const mine = both.asked === 1 ? both.first : both.second;
    await until('both are asked', () => both.asked === 2, 20000);
    return mine(request, response);
  };
  const replicas = await Promise.all([Replica.start(t, script), Replica.start(t, script)]);
  const server = await serve(t, inPlaceOf('large', poolOf(replicas, 'hedge_tokens: 50, retries: 0')));
  await earnHedges(replicas, 3, async (i) => assert.equal((await answer(server, ask(`question ${i}`))).message.content, 'well'));
  return { server, ask: (first, second) => { Object.assign(both, { first, second, asked: 0 }); return answer(server, ask('now')); } };
}

test('of two that are asked at once, one that breaks off before its text spoils nothing', async (t) => {
  const { ask: askBoth } = await hedged(t);
  let broke;
  const broken = new Promise((resolve) => { broke = resolve; });
  for (const bad of ['data: {"error": {"message": "oh no"}}\n\n', 'data: {"choices": [\n\n', 'data: {"half of an ev']) {
    const got = await askBoth((request, response) => { streaming(response); response.end(bad, broke); },
      async (request, response) => { await broken; return stream(say('whole'), end(), done)(request, response); });
    assert.equal(got.message?.content, 'whole', got.error);
  }
});

test('of two that are asked at once, the later one has not failed', async (t) => {
  const { server, ask: askBoth } = await hedged(t);
  const got = await askBoth(
    (request, response) => { streaming(response); setTimeout(() => response.end(say('late') + end() + done), 30); },
    (request, response) => { streaming(response); response.write(say('soon')); setTimeout(() => response.end(end() + done), 300); });
  assert.equal(got.message?.content, 'soon', got.error);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  const failed = metrics.split('\n').filter((line) => line.startsWith('a_io_replica_failed_total{'));
  assert.deepEqual(failed.map((line) => Number(line.split(' ').at(-1))), [0, 0]);
});

test('a probe that broke off tells nothing', async (t) => {
  const top = (p) => ['code', 'qa', 'math'].map((token, i) => ({ token, logprob: Math.log(p[i]) }));
  const told = (p) => choice({ delta: { content: 'x' }, logprobs: { content: [{ token: 'x', logprob: 0, top_logprobs: top(p) }] } });
  let asked = 0;
  const script = (request, response, body) => {
    if (body.max_tokens !== 1) return stream(say('answer'), end(), done)(request, response);
    return asked++ === 0 ? stream(told([0.98, 0.01, 0.01]))(request, response)
      : stream(told([0.01, 0.01, 0.98]), end('length'), done)(request, response);
  };
  const replicas = await Promise.all([Replica.start(t, script), Replica.start(t, script)]);
  const server = await serve(t, inPlaceOf('small', poolOf(replicas, 'retries: 2')));
  const { body } = await server.json('/v1/chat/completions', ask('How much?', { model: 'auto' }));
  assert.equal(asked, 2);
  assert.equal(body.a_io.intent.label, 'math');
  assert.ok(Math.abs(body.a_io.intent.probabilities.math - 0.98) < 1e-6);
});
