// The server against what sockets, browsers and clients do to it: whatever can be read in two ways, slow and silent
// connections, foreign pages, megabytes of prompt, JSON at the edge of its grammar.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { endOfConnection } from '../abuse/abuses.mjs';
import { changedConfig, isSanitized, limit, longRequest, patience, post, root, Server, sleep, until } from './helper.mjs';

let server;
before(async () => { server = await Server.start(); });
after(() => server?.stop());

const hello = { messages: [{ role: 'user', content: 'hello' }], max_tokens: 4, temperature: 0 };
const field = path.join(root, '../shared/field');
const get = (route, headers = 'Host: localhost\r\n') => `GET ${route} HTTP/1.1\r\n${headers}\r\n`;

// What comes back for these bytes until the server closes or, after its first byte, has been silent for a while.
async function exchange(bytes, { to = server, silentMs = 500 } = {}) {
  const { socket, closed, text } = to.connect();
  socket.write(bytes);
  socket.setTimeout(limit(2000), () => socket.destroy());
  socket.once('data', () => socket.setTimeout(silentMs * patience));
  await closed;
  return text();
}

// The one reply in `text`: a second head, or anything but JSON, is a failure.
function onlyReply(text, what) {
  assert.equal(text.match(/HTTP\/1\.1 \d/g)?.length, 1, `${what}: ${text.slice(0, 400)}`);
  const [head, body] = text.split('\r\n\r\n');
  assert.match(head, /^content-type: application\/json$/im, what);
  return { status: Number(head.split(' ')[1]), head, body: JSON.parse(body) };
}

async function refusal(bytes, what, options) {
  const reply = onlyReply(await exchange(bytes, options), what);
  assert.ok(reply.body.error.message && reply.body.error.type, what);
  return reply;
}

// ---- HTTP ----------------------------------------------------------------------------------------------------------

const route = 'POST /v1/route HTTP/1.1\r\nHost: localhost\r\n';
const text = JSON.stringify(hello);

test('a request that two readers could understand differently is refused: one head, JSON, and no more of it', async () => {
  for (const [status, bytes, what] of endOfConnection) {
    const reply = await refusal(`${bytes}${get('/health')}`, what);
    assert.equal(reply.status, status, `${what}: ${reply.body.error.message}`);
    assert.match(reply.head, /^connection: close$/im, what);
  }
});

test('the long header from the field: one reply, 431', { skip: !fs.existsSync(field) && 'no ../shared/field' }, async () => {
  const reply = await refusal(fs.readFileSync(path.join(field, 'long-header.http')), 'long-header.http');
  assert.equal(reply.status, 431);
});

test('HTTP that is right and seldom is understood', async () => {
  const chunks = (body) => `4;ext="a b"\r\n${body.slice(0, 4)}\r\n${(body.length - 4).toString(16).toUpperCase()}\r\n` +
    `${body.slice(4)}\r\n0\r\nX-Trailer: t\r\n\r\n`;
  const cases = [
    [`${route}Transfer-Encoding: Chunked\r\n\r\n${chunks(text)}${get('/health')}`, 2],
    [`GET http://localhost/health HTTP/1.1\r\nHost: elsewhere\r\n\r\n`, 1],
    [get('/health?a=b'), 1], [get('/%68ealth'), 1], [`\r\n${get('/health')}`, 1],
    [get('/health', 'host:localhost \r\nX:\r\n'), 1],
    ['GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n', 1],
    [get('/health', 'Host: localhost\r\nConnection: foo, Close\r\n') + get('/health'), 1],
  ];
  for (const [bytes, n] of cases)
    assert.equal((await exchange(bytes)).match(/HTTP\/1\.1 200 /g)?.length, n, bytes.slice(0, 120));
  const head = await exchange('HEAD /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  assert.match(head, /^HTTP\/1\.1 200 [\s\S]*content-length: [1-9]\d*\r\n\r\n$/i);
  const { socket, text: answer } = server.connect();
  socket.write(`${route}Content-Length: ${text.length}\r\nExpect: 100-continue\r\n\r\n`);
  await until('leave to go on', () => answer() === 'HTTP/1.1 100 Continue\r\n\r\n');
  for (const letter of text) socket.write(letter); // and every piece is one of its own
  await until('an answer', () => answer().includes('"plan"'));
  socket.destroy();
});

// ---- slow and silent connections -----------------------------------------------------------------------------------

// Sends `first`, then a byte of `rest` every 200 ms; how long until the server has closed, and what it said.
async function drip(to, first, rest) {
  const { socket, closed, text: answer } = to.connect();
  const started = Date.now();
  socket.write(first);
  const timer = setInterval(() => socket.write(rest), 200);
  await closed;
  clearInterval(timer);
  return { ms: Date.now() - started, answer: answer() };
}

test('heads, bodies and silence have their time', async () => {
  const [silent, head, body] = await Promise.all([
    drip(server, '', ''), drip(server, 'GET /health HTTP/1.1\r\nX: ', 'a'),
    drip(server, `${route}Content-Length: 100000\r\n\r\n`, ' '),
  ]);
  for (const [what, { ms }, seconds] of [['silence', silent, 10], ['a head', head, 10], ['a body', body, 20]])
    assert.ok(ms > (seconds - 1) * 1000 && ms < limit(seconds * 1000), `${what} was ended after ${ms} ms`);
  assert.equal(onlyReply(head.answer, 'a head').status, 408);
  assert.equal(onlyReply(body.answer, 'a body').status, 408);
});

test('clients that leave in the middle of a head cost nobody anything', async () => {
  for (let i = 0; i < 400; i++) {
    const { socket, closed } = server.connect();
    await new Promise((resolve) => socket.write('GET /health HTTP/1.1\r\nX-Half: ', resolve));
    socket.destroy();
    await closed;
  }
  const started = Date.now();
  assert.equal((await server.json('/v1/route', hello)).status, 200);
  assert.ok(Date.now() - started < limit(1000), `answered after ${Date.now() - started} ms`);
  await until('no more connections than ours', async () => {
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    return Number(/^a_io_connections (\d+)$/m.exec(metrics)[1]) < 10;
  });
});

const narrowed = (t, lines) => changedConfig(t, (config) => config.replace('server:', `server:\n${lines}`));
const connected = ({ socket }) => new Promise((resolve) => socket.on('connect', resolve));

test('with every connection taken, and many more that want one, /health answers', async (t) => {
  const narrow = await Server.start({ args: ['--config', narrowed(t, '  max_connections: 8')] });
  t.after(() => narrow.stop());
  const silent = Array.from({ length: 200 }, () => narrow.connect());
  await Promise.all(silent.map(connected));
  for (let i = 0; i < 5; i++) {
    const started = Date.now();
    const reply = onlyReply(await exchange(get('/health', 'Host: localhost\r\nConnection: close\r\n'), { to: narrow }), 'health');
    assert.deepEqual([reply.status, reply.body.status], [200, 'ok']);
    assert.ok(Date.now() - started < limit(1000), `after ${Date.now() - started} ms`);
  }
  const refused = await refusal(post('/v1/route', hello), 'a request above the limit', { to: narrow });
  assert.equal(refused.status, 503);
  for (const { socket } of silent) socket.destroy();
  await until('a place', async () => (await narrow.json('/v1/route', hello)).status === 200);
});

test('an address has no more connections than it may', async (t) => {
  const narrow = await Server.start({ args: ['--config', narrowed(t, '  max_connections_per_address: 3')] });
  t.after(() => narrow.stop());
  const silent = Array.from({ length: 3 }, () => narrow.connect());
  await Promise.all(silent.map(connected));
  await sleep(100);
  const refused = await refusal(post('/v1/route', hello), 'one more', { to: narrow });
  assert.deepEqual([refused.status, refused.body.error.code], [429, 'too_many_connections']);
  assert.match(refused.head, /^retry-after: \d+$/im);
  assert.match(await exchange(get('/health'), { to: narrow }), /^HTTP\/1\.1 200 /);
  for (const { socket } of silent) socket.destroy();
  await until('a place', async () => (await narrow.json('/v1/route', hello)).status === 200);
});

test('without descriptors the server neither spins nor stays deaf', async (t) => {
  const poor = await Server.start();
  t.after(() => poor.stop());
  const open = poor.descriptors();
  execFileSync('prlimit', ['--pid', String(poor.child.pid), `--nofile=${open + 4}`]);
  // Busy ones, which nothing may push out, and some that wait.
  const busy = Array.from({ length: 4 }, () => poor.connect());
  for (const { socket } of busy) socket.write(post('/v1/chat/completions', longRequest({ max_tokens: 20000 })));
  await sleep(300);
  const waiting = Array.from({ length: 20 }, () => poor.connect());
  await Promise.all(waiting.map(connected));
  for (const { socket } of busy) socket.destroy();
  // Their work ends; the descriptors are taken by those that waited.
  await until('it takes less than a third of a second of processor time in a second', () => poor.sleeps(1000, 300), 20000);
  assert.match(await exchange(get('/health'), { to: poor, silentMs: 2000 }), /^HTTP\/1\.1 200 /);
  for (const { socket } of waiting) socket.destroy();
});

test('connections that only wait do not hold up the end', async () => {
  const ending = await Server.start();
  const idlers = Array.from({ length: 20 }, () => ending.connect());
  await Promise.all(idlers.map(connected));
  idlers.forEach(({ socket }, i) => i % 2 && socket.write('GET /health HT'));
  await sleep(100);
  const started = Date.now();
  ending.child.kill('SIGTERM');
  assert.deepEqual(await ending.ended, { status: 0, signal: null });
  assert.ok(Date.now() - started < limit(1000), `${Date.now() - started} ms`);
});

test('a body that never comes does not outlast a second signal', async () => {
  const ending = await Server.start();
  const { socket } = ending.connect();
  socket.write(`${route}Content-Length: 1000\r\n\r\n{`);
  const deaf = ending.connect();
  deaf.socket.pause();
  deaf.socket.write(post('/v1/chat/completions', longRequest({ stream: true, max_tokens: 1500 })));
  await until('it runs', async () => (await ending.running()) === 1);
  ending.child.kill('SIGTERM');
  await until('it drains', () => ending.log.includes('stopping'));
  const started = Date.now();
  ending.child.kill('SIGTERM');
  assert.deepEqual(await ending.ended, { status: 0, signal: null });
  assert.ok(Date.now() - started < limit(1500), `${Date.now() - started} ms`);
});

test('SIGHUP ends nothing: a word in the log, and a stream goes on', async () => {
  const reply = server.json('/v1/chat/completions', longRequest({ max_tokens: 200 }));
  await until('it runs', async () => (await server.running()) > 0);
  server.child.kill('SIGHUP');
  await until('a word', () => /SIGHUP: reading again/.test(server.log));
  assert.equal((await reply).status, 200);
  assert.equal((await server.json('/health')).status, 200);
});

// ---- pages -----------------------------------------------------------------------------------------------------------

const status = async (bytes, to = server) =>
  onlyReply(await exchange(bytes.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'), { to }), bytes.slice(0, 200)).status;

test('without a key, only names of this machine are served', async () => {
  const { port } = server;
  for (const host of ['localhost', `localhost:${port}`, 'LocalHost', 'localhost.', '127.0.0.1', `127.0.0.1:${port}`, '127.9.8.7', '[::1]', `[::1]:${port}`])
    assert.equal(await status(get('/v1/models', `Host: ${host}\r\n`)), 200, host);
  for (const host of ['evil.example', `evil.example:${port}`, '192.168.1.7', 'localhost.evil.example', '127.0.0.1.evil.example', 'localhost:x', '[::2]', '0.0.0.0', '', 'user@localhost'])
    for (const request of [get('/v1/models', `Host: ${host}\r\n`), get('/health', `Host: ${host}\r\n`), post('/v1/route', hello, { Host: host })]) {
      const reply = await refusal(request.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'), host);
      assert.ok([421, 400].includes(reply.status), `${host}: ${reply.status}`);
      if (reply.status === 421) assert.match(reply.body.error.message, /server\.allowed_hosts.*A_IO_API_KEY/);
    }
  assert.equal(await status(`GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n`), 421);
});

test('without a key, pages of other origins are refused', async () => {
  const { port } = server;
  const from = (origin, request = '/v1/models') => status(get(request, `Host: localhost:${port}\r\nOrigin: ${origin}\r\n`));
  assert.equal(await from(`http://localhost:${port}`), 200);
  for (const origin of ['https://evil.example', 'http://localhost:3000', 'http://localhost', 'null', `http://127.0.0.1:${port}`, ''])
    for (const request of ['/v1/models', '/health', '/metrics'])
      assert.equal(await from(origin, request), 403, origin);
  const foreign = await refusal(post('/v1/chat/completions', hello, { Origin: 'https://evil.example' }), 'a foreign page');
  assert.equal(foreign.status, 403);
  assert.match(foreign.body.error.message, /evil\.example.*server\.allowed_origins/);
});

test('bodies are application/json, which no form can send', async () => {
  for (const type of ['application/json', 'Application/JSON; charset=utf-8', 'application/json;charset=UTF-8'])
    assert.equal(await status(post('/v1/route', hello, { 'Content-Type': type })), 200, type);
  for (const type of ['text/plain', 'text/plain;charset=UTF-8', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/jsonp', '']) {
    const reply = await refusal(post('/v1/chat/completions', hello, { 'Content-Type': type, Connection: 'close' }), type);
    assert.equal(reply.status, 415, type);
    assert.match(reply.body.error.message, /application\/json/);
  }
  assert.equal(await status(`${route}Content-Length: ${text.length}\r\n\r\n${text}`), 200); // programs that leave it out
});

test('configured hosts and origins are served, and a key stands for both', async (t) => {
  const lists = '  allowed_hosts: [llm.lan, "exact.lan:99"]\n  allowed_origins: ["https://app.example"]';
  const open = await Server.start({ args: ['--config', narrowed(t, lists)] });
  t.after(() => open.stop());
  const as = (host, origin = '') => status(get('/v1/models', `Host: ${host}\r\n${origin && `Origin: ${origin}\r\n`}`), open);
  assert.deepEqual([await as('llm.lan'), await as('LLM.lan:1'), await as('exact.lan:99'), await as('exact.lan'), await as('other.lan')],
    [200, 200, 200, 421, 421]);
  assert.deepEqual([await as('localhost', 'https://app.example'), await as('localhost', 'https://app.example.evil')], [200, 403]);
  const guarded = await Server.start({ env: { A_IO_API_KEY: 'k' } });
  t.after(() => guarded.stop());
  assert.equal(await status(get('/v1/models', 'Host: any.lan\r\nOrigin: https://x.example\r\nAuthorization: Bearer k\r\n'), guarded), 200);
});

test('--host [::1] is the address ::1', async (t) => {
  const six = await Server.start({ args: ['--host', '[::1]'] });
  t.after(() => six.stop());
  assert.match(six.url, /^http:\/\/\[::1\]:\d+$/);
  assert.equal((await six.json('/health')).status, 200);
});

// ---- megabytes of prompt ---------------------------------------------------------------------------------------------

test('prompts of megabytes hold up nobody else', async (t) => {
  // So long a context that only tokenising tells that they do not fit.
  const wide = await Server.start({ args: ['-c', '600000'] });
  t.after(() => wide.stop());
  const alphabet = '!"#$%&()*+,-./:;<=>?@[]^_{|}~';
  const content = Array.from({ length: 3_500_000 }, (_, i) => alphabet[(i * i + 7 * i) % 29]).join('');
  const body = { model: 'large', messages: [{ role: 'user', content }], max_tokens: 1 };
  const gaps = [];
  let last, streaming = true;
  const { socket } = wide.connect();
  socket.on('data', () => { if (last) gaps.push(Date.now() - last); last = Date.now(); });
  socket.write(post('/v1/chat/completions', longRequest({ model: 'small', stream: true, max_tokens: 5000 })));
  await until('it streams', () => gaps.length > 10);
  const posts = Promise.all(Array.from({ length: 2 }, () => wide.json('/v1/chat/completions', body))).finally(() => { streaming = false; });
  const health = [];
  while (streaming) {
    const started = Date.now();
    await wide.json('/health');
    health.push(Date.now() - started);
    await sleep(20);
  }
  for (const reply of await posts) {
    assert.equal(reply.status, 400);
    assert.equal(reply.body.error.code, 'context_length_exceeded');
  }
  socket.destroy();
  health.sort((a, b) => a - b);
  const median = health[health.length >> 1], slow = health.at(-1), gap = Math.max(...gaps);
  t.diagnostic(`/health: median ${median} ms, most ${slow} ms of ${health.length}; longest gap of the stream ${gap} ms`);
  // Read on the loop's thread they hold up most of those: by half a second each. A busy machine holds up a few.
  assert.ok(isSanitized || median < 200, `half of /health took more than ${median} ms`);
});

test('what cannot fit by its bytes alone is not tokenised', async () => {
  const content = 'a b '.repeat(1_000_000);
  const body = JSON.stringify({ model: 'large', messages: [{ role: 'user', content }] });
  await server.json('/v1/route', hello);
  const cpu = server.cpuMs();
  const { status: code, body: answer } = await server.json('/v1/chat/completions', body);
  assert.equal(code, 400);
  assert.equal(answer.error.code, 'context_length_exceeded');
  assert.match(answer.error.message, /4000000 bytes are at least \d+ tokens; model 'large' holds \d+/);
  assert.ok(server.cpuMs() - cpu < 400 * patience, `${server.cpuMs() - cpu} ms of processor time`);
});

// ---- bodies ------------------------------------------------------------------------------------------------------------

test('bodies from the field are answered', { skip: !fs.existsSync(field) && 'no ../shared/field' }, async () => {
  for (const name of ['name-field.json', 'null-fields.json', 'nul-body.json']) {
    const { status: code, body } = await server.json('/v1/chat/completions', fs.readFileSync(path.join(field, name), 'utf8'));
    assert.equal(code, 200, `${name}: ${JSON.stringify(body.error)}`);
  }
});

test('U+0000 in a text is text, and a byte order mark before the body is none of it', async () => {
  const tokens = async (content) => (await server.json('/v1/route', { messages: [{ role: 'user', content }] })).body.plan.prompt_tokens;
  const [whole, cut] = [await tokens('hello\0 there, how are you'), await tokens('hello')];
  assert.ok(whole > cut, `${whole} tokens, ${cut} up to the NUL`);
  const marked = await server.json('/v1/route', `\ufeff${JSON.stringify(hello)}`);
  assert.equal(marked.status, 200, JSON.stringify(marked.body));
  const stop = await server.json('/v1/chat/completions', { ...hello, stop: 'a\0b' });
  assert.deepEqual([stop.status, stop.body.error.param], [400, 'stop']);
});

// 36 of them (openai 6.49): whatever a client leaves empty is left out.
test('null is absence for every field that the OpenAI client has', async () => {
  const types = fs.readFileSync(path.join(root, 'tests/e2e/node_modules/openai/resources/chat/completions/completions.d.ts'), 'utf8');
  const params = types.slice(types.indexOf('export interface ChatCompletionCreateParamsBase'));
  const names = [...params.slice(0, params.indexOf('\n}')).matchAll(/^    ([a-z_]+)\??:/gm)].map((match) => match[1]);
  assert.ok(names.length >= 36, `${names.length} fields`);
  for (const name of names.filter((each) => each !== 'messages')) {
    const { status: code, body } = await server.json('/v1/route', { ...hello, [name]: null });
    assert.equal(code, 200, `${name}: ${JSON.stringify(body.error)}`);
  }
});

test('usage in every chunk, where it is asked for', async () => {
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...hello, model: 'large', stream: true, stream_options: { include_usage: true, continuous_usage_stats: true } }),
  });
  const events = (await response.text()).split('\n\n').filter((line) => line.startsWith('data: {')).map((line) => JSON.parse(line.slice(6)));
  assert.ok(events.length > 2 && events.every(({ usage }) => Number.isInteger(usage.completion_tokens)), JSON.stringify(events[0]));
});

// `make real-models` brings it.
const cache = process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
const coder = path.join(process.env.A_IO_REAL_MODELS || path.join(cache, 'a-io/real'), 'qwen2.5-coder-0.5b-instruct-q4_k_m.gguf');
test('a limit within a character ends at the last whole one, streamed and whole alike', { skip: !fs.existsSync(coder) && 'no real model' }, async (t) => {
  const real = await Server.start({ args: ['-m', coder, '--chat-template', 'qwen2.5', '-c', '512'] });
  t.after(() => real.stop());
  const messages = [{ role: 'user', content: 'Write exactly: 👩‍👩‍👧‍👦' }];
  let cuts = 0, before = '';
  for (let n = 1; n <= 13; n++) {
    const body = { messages, temperature: 0, max_tokens: n };
    const whole = (await real.json('/v1/chat/completions', body)).body.choices[0].message.content;
    const response = await fetch(`${real.url}/v1/chat/completions`, { method: 'POST',
      headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ ...body, stream: true }) });
    const streamed = (await response.text()).split('\n\n').filter((line) => line.startsWith('data: {'))
      .map((line) => JSON.parse(line.slice(6)).choices[0].delta.content ?? '').join('');
    assert.equal(streamed, whole, `${n} tokens`);
    assert.doesNotMatch(whole, /\ufffd/, `${n} tokens`);
    cuts += whole === before;
    before = whole;
  }
  assert.ok(cuts > 0, 'no limit fell within a character');
});

// ---- counts ------------------------------------------------------------------------------------------------------------

test('a fallback that changed nothing, and a request that named its model, are not counted', async (t) => {
  // Nothing is certain enough: code falls back to the large model, and the rest goes there anyway.
  const strict = await Server.start({ args: ['--config', changedConfig(t, (config) => config.replace(/entropy_limit: \S+/, 'entropy_limit: 0.000001'))] });
  t.after(() => strict.stop());
  const counts = async () => Object.values((await strict.json('/v1/policy')).body.counts.fallbacks).reduce((a, b) => a + b, 0);
  const ask = async (content, model = 'auto') => (await strict.json('/v1/route', { model, messages: [{ role: 'user', content }] })).body;
  const other = await ask('Who wrote the first book of the northern library?');
  assert.deepEqual([other.plan.fallback, other.intent.label !== 'code'], ['entropy', true]);
  await ask('hello', 'large');
  assert.equal(await counts(), 0);
  const code = await ask('Write a Python function add_numbers(a, b) that returns the sum of a and b.');
  assert.deepEqual([code.plan.fallback, code.intent.label], ['entropy', 'code']);
  assert.equal(await counts(), 1);
  const metrics = await (await fetch(`${strict.url}/metrics`)).text();
  assert.match(metrics, /a_io_fallbacks_total\{reason="entropy"\} 1\n/);
  assert.doesNotMatch(metrics, /reason="pinned"/);
});
