// The server at the level of sockets: bad input, clients that go away, draining, keys.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { changedConfig, longRequest, patience, post, run, Server, sleep, until } from './helper.mjs';

let server;
before(async () => { server = await Server.start(); });
after(() => server?.stop());

const hello = { messages: [{ role: 'user', content: 'hello' }], max_tokens: 4, temperature: 0 };

test('health, readiness and decisions', async () => {
  assert.deepEqual((await server.json('/health')).body, { status: 'ok', running: 0 });
  assert.equal((await server.json('/ready')).status, 200);
  const { status, body, headers } = await server.json('/v1/route', hello);
  assert.equal(status, 200);
  assert.ok(['small', 'large'].includes(body.plan.model));
  assert.equal(body.plan.model, headers.get('x-a-io-model'));
  assert.ok(body.plan.prompt_tokens > 0 && body.receipt.overhead.total_ms > 0);
  assert.equal(body.intent.windowed, false);
  const pinned = (await server.json('/v1/route', { ...hello, model: 'large' })).body;
  assert.deepEqual([pinned.plan.model, pinned.plan.rule, pinned.intent, pinned.plan.prompt_tokens], ['large', 'pinned', null, null]);
});

// Every sample of /metrics by its name and labels, once its form has been checked.
async function metrics() {
  const response = await fetch(`${server.url}/metrics`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
  const values = new Map(), types = new Map();
  for (const line of (await response.text()).trimEnd().split('\n')) {
    const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line);
    if (type) types.set(type[1], type[2]);
    if (line.startsWith('#')) continue;
    const [, key, name, value] = /^(([a-z0-9_:]+)(?:\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})?) (\S+)$/.exec(line) ?? assert.fail(line);
    assert.ok(types.has(name) || types.get(name.replace(/_(sum|count|bucket)$/, '')) === 'histogram', line);
    assert.ok(Number.isFinite(Number(value)) && !values.has(key), line);
    values.set(key, Number(value));
  }
  return { get: (key) => values.get(key) ?? 0, has: (key) => values.has(key) };
}

test('the page, its files, and the latest decisions', async () => {
  const page = await fetch(`${server.url}/`), text = await page.text();
  assert.match(page.headers.get('content-type'), /^text\/html/);
  assert.match(page.headers.get('content-security-policy'), /default-src 'none'|script-src 'self'/);
  const files = [...text.matchAll(/(?:src|href)="\/?([\w./-]+\.(?:js|css|svg))"/g)].map((match) => match[1]);
  assert.ok(files.length >= 2, text);
  for (const file of files) assert.equal((await fetch(`${server.url}/${file}`)).status, 200, file);
  const asked = await server.json('/v1/chat/completions', { messages: [{ role: 'user', content: 'Hello' }], max_tokens: 2 }, { 'x-request-id': 'the-latest' });
  assert.equal(asked.status, 200);
  const { data } = (await server.json('/v1/decisions')).body;
  assert.deepEqual([data[0].id, data[0].status, data[0].model], ['the-latest', 200, asked.headers.get('x-a-io-model')]);
});

test('metrics count what was decided, answered and computed', async () => {
  const before = await metrics();
  const { body } = await server.json('/v1/chat/completions', hello);
  const again = await server.json('/v1/chat/completions', { ...hello, model: 'large', max_tokens: 7 });
  await server.json('/v1/chat/completions', { ...hello, n: 0 });
  const gone = server.connect();
  gone.socket.write(post('/v1/chat/completions', longRequest({ stream: true })));
  await until('a token', () => /"content":"[^"]/.test(gone.text()));
  gone.socket.destroy();
  await server.idle();
  const after = await until('the last one is counted and gone from its engine', async () => {
    const now = await metrics();
    const running = (model) => now.get(`a_io_sequences{model="${model}",state="running"}`);
    return running('small') + running('large') === 0 && now.get('a_io_http_requests_total{code="499"}') > before.get('a_io_http_requests_total{code="499"}') && now;
  });
  const change = (key) => after.get(key) - before.get(key);
  assert.equal(change('a_io_http_requests_total{code="400"}'), 1);
  assert.ok(change('a_io_http_requests_total{code="200"}') >= 3); // ours, the metrics themselves, /health
  const { plan, intent } = body.a_io;
  assert.equal(change(`a_io_decisions_total{model="${plan.model}",intent="${intent.label}",rule="${plan.rule}"}`), 1);
  assert.equal(change('a_io_decisions_total{model="large",intent="",rule="pinned"}'), 2);
  assert.equal(change('a_io_overhead_seconds_count{phase="total"}'), 3);
  const tokens = ['small', 'large'].map((model) => change(`a_io_reply_tokens_total{model="${model}"}`));
  // And what the one that left had got.
  assert.ok(tokens[0] + tokens[1] > body.usage.completion_tokens + again.body.usage.completion_tokens, `${tokens}`);
  assert.ok(change('a_io_weight_read_bytes_total{model="large"}') >= again.body.a_io.receipt.reply.weight_bytes);
  assert.ok(change('a_io_prompt_tokens_total{model="large"}') >= again.body.usage.prompt_tokens);
  for (const model of ['small', 'large']) {
    assert.ok(after.get(`a_io_kv_bytes{model="${model}"}`) > 0);
    assert.ok(after.get(`a_io_step_seconds{model="${model}",rows="1"}`) > 0);
    assert.ok(after.has(`vllm:num_requests_waiting{model_name="${model}"}`));
  }
});

test('a score of what the model itself said is what it said of it', async () => {
  const model = 'large', { messages } = hello;
  const said = await server.json('/v1/chat/completions', { model, messages, temperature: 0, max_tokens: 12, logprobs: true, top_logprobs: 2 });
  const [choice] = said.body.choices;
  const scored = await server.json('/v1/score', { model, messages, completion: choice.message.content, top_logprobs: 2 });
  assert.equal(scored.status, 200);
  const [{ tokens, total, mean }] = scored.body.data;
  const expected = choice.logprobs.content.slice(0, tokens.length); // without the token that ends it
  assert.deepEqual(tokens.map(({ rank, ...token }) => token), expected);
  assert.ok(tokens.every(({ rank }) => rank === 0), 'greedy');
  const sum = expected.reduce((all, { logprob }) => all + logprob, 0);
  assert.ok(Math.abs(total - sum) < 1e-6 && Math.abs(mean - sum / tokens.length) < 1e-6);
  assert.equal(scored.body.usage.completion_tokens, 0);
  for (const [body, param] of [[{ messages }, 'completion'], [{ completion: 'x' }, 'prompt'], [{ messages, completion: '' }, 'completion'],
    [{ messages, prompt: 'x', completion: 'y' }, 'prompt'], [{ messages, completion: 'x', stream: true }, 'stream'], [{ messages, completion: 'x', top_logprobs: 21 }, 'top_logprobs']]) {
    const refused = await server.json('/v1/score', { model, ...body });
    assert.deepEqual([refused.status, refused.body.error.param], [400, param]);
  }
});

test('request ids: a sane one is echoed, another one replaced', async () => {
  const sane = await server.json('/health', undefined, { 'x-request-id': 'trace-1.a:b_C' });
  assert.equal(sane.headers.get('x-request-id'), 'trace-1.a:b_C');
  const strange = await server.json('/health', undefined, { 'x-request-id': 'a b"c' });
  assert.match(strange.headers.get('x-request-id'), /^req-/);
});

test('feedback where nothing learns from it says how to turn it on', async () => {
  const { status, body } = await server.json('/v1/feedback', { id: 'req-1', label: 'qa' });
  assert.equal(status, 409);
  assert.match(body.error.message, /probe\.calibration .*probe\.online/);
});

test('unknown paths, wrong methods', async () => {
  const missing = await server.json('/v2/nothing');
  assert.equal(missing.status, 404);
  assert.equal(missing.body.error.type, 'not_found_error');
  assert.match(missing.body.error.message, /at \/v2\/nothing; docs\/http\.md has the list of paths$/);
  const get = await server.json('/v1/chat/completions');
  assert.equal(get.status, 405);
  assert.equal(get.headers.get('allow'), 'POST');
  const posted = await server.json('/v1/models', {});
  assert.equal(posted.status, 405);
  assert.equal(posted.headers.get('allow'), 'GET');
  const head = await fetch(`${server.url}/health`, { method: 'HEAD' });
  assert.equal(head.status, 200);
});

test('bad bodies are refused with what is wrong', async () => {
  const cases = [
    ['{"messages": [}', /line 1, column 15/],
    ['', /not valid JSON/],
    ['[]', /must be a JSON object/],
    ['{"seed":1,"seed":2}', /duplicate/],
    [JSON.stringify({ ...hello, messages: undefined }), /'messages' is missing/],
    [JSON.stringify({ ...hello, colour: 'red' }), /unknown field 'colour'/],
    [JSON.stringify({ ...hello, stream_options: {} }), /'stream': true/],
    [JSON.stringify({ ...hello, logit_bias: { 99999999: 1 } }), /99999999/],
  ];
  for (const [body, message] of cases) {
    const reply = await server.json('/v1/chat/completions', body);
    assert.equal(reply.status, 400, body);
    assert.equal(reply.body.error.type, 'invalid_request_error');
    assert.match(reply.body.error.message, message);
  }
});

test('headers of ours are taken or refused by name', async () => {
  const ask = (headers, more) => server.json('/v1/chat/completions', { ...hello, ...more }, headers);
  assert.equal((await ask({ 'X-A-IO-Priority': 'batch', 'X-A-IO-Deadline-Ms': '60000' }, { priority: 'batch' })).status, 200);
  const cases = [
    [{ 'x-a-io-prioritty': 'batch' }, {}, /unknown header 'x-a-io-prioritty'/],
    [{ 'x-a-io-priority': 'urgent' }, {}, /'x-a-io-priority' must be/],
    [{ 'x-a-io-deadline-ms': '5 s' }, {}, /'x-a-io-deadline-ms' must be/],
    [{ 'x-a-io-priority': 'batch' }, { priority: 'interactive' }, /'priority' and 'x-a-io-priority' differ/],
  ];
  for (const [headers, more, message] of cases) {
    const { status, body } = await ask(headers, more);
    assert.equal(status, 400);
    assert.match(body.error.message, message);
    assert.ok(body.error.param);
  }
  const embed = (headers) => server.json('/v1/embeddings', { input: 'x' }, headers);
  assert.equal((await embed({ 'x-a-io-priority': 'batch' })).status, 200);
  assert.match((await embed({ 'x-a-io-prioritty': 'batch' })).body.error.message, /unknown header/);
  const { socket, text } = server.connect();
  socket.write(post('/v1/route', hello, { 'x-a-io-priority': 'batch\r\nx-a-io-priority: batch' }));
  await until('an answer', () => text().includes('sent twice'));
  socket.destroy();
});

test('what the configuration says of priority and deadline holds for requests that say nothing', async (t) => {
  const config = changedConfig(t, (text) => `${text}  priority_default: batch\n  deadline_ms_default: 60\n`);
  const hurried = await Server.start({ args: ['--config', config] });
  t.after(() => hurried.stop());
  const late = await hurried.json('/v1/chat/completions', longRequest({ max_tokens: 3000 }), { 'x-request-id': 'late' });
  assert.equal(late.status, 504);
  const own = await hurried.json('/v1/chat/completions', { ...hello, deadline_ms: 0, service_tier: 'auto' },
    { 'x-request-id': 'own' });
  assert.deepEqual([own.status, own.body.service_tier], [200, 'flex']);
  assert.match(await hurried.logLine('own'), / priority=batch /);
});

test('a prompt longer than the context: both numbers', async () => {
  const { data } = (await server.json('/v1/models')).body;
  for (const model of ['auto', 'small', 'large']) {
    const reply = await server.json('/v1/chat/completions',
      { model, messages: [{ role: 'user', content: 'word '.repeat(20000) }] });
    assert.equal(reply.status, 400);
    assert.equal(reply.body.error.code, 'context_length_exceeded');
    const numbers = reply.body.error.message.match(/\d+/g).map(Number);
    const context = data.find((m) => m.id === (model === 'small' ? 'small' : 'large')).max_model_len;
    assert.ok(numbers.includes(context), reply.body.error.message);
    assert.ok(numbers.some((n) => n >= 20000), reply.body.error.message);
  }
});

test('a body over the limit: 413, also when it comes in chunks', async () => {
  const big = await server.json('/v1/chat/completions', `{"x":"${'a'.repeat(6 << 20)}"}`);
  assert.equal(big.status, 413);
  assert.match(big.body.error.message, /larger than \d+ bytes/);
  const { socket, text } = server.connect();
  socket.write('POST /v1/route HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n');
  const chunk = 'a'.repeat(1 << 20);
  for (let i = 0; i < 6; i++) socket.write(`100000\r\n${chunk}\r\n`);
  socket.write('0\r\n\r\n');
  await until('an answer', () => text().includes('larger than'));
  assert.match(text(), /^HTTP\/1.1 413 /);
  socket.destroy();
  const expecting = server.connect();
  expecting.socket.write('POST /v1/route HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n');
  assert.match(await expecting.closed, /^HTTP\/1.1 413 /);
});

test('bodies that are still arriving have a limit together', async () => {
  const body = Buffer.alloc((4 << 20) - 1, ' ');
  const senders = [];
  const send = () => {
    const sender = server.connect();
    sender.socket.write(`POST /v1/route HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${4 << 20}\r\n\r\n`);
    sender.socket.write(body);
    senders.push(sender);
  };
  for (let i = 0; i < 17; i++) send();
  const refused = await until('a refusal', async () => {
    const answer = await server.json('/v1/route', hello);
    if (answer.status !== 200) return answer;
    // There is no room for one of them, and while a question was held perhaps not for another: then it takes one more.
    if (senders.every(({ socket }) => socket.writableLength === 0)) send();
    return undefined;
  });
  assert.deepEqual([refused.status, refused.body.error.type], [503, 'unavailable_error']);
  for (const { socket } of senders) socket.destroy();
  await until('room again', async () => (await server.json('/v1/route', hello)).status === 200);
});

test('broken HTTP harms nobody', async () => {
  const broken = [
    'GARBAGE\r\n\r\n', '\0\0\0\0\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n', `GET /${'a'.repeat(100000)} HTTP/1.1\r\n\r\n`,
    'POST /v1/route HTTP/1.1\r\nHost: localhost\r\nContent-Length: abc\r\n\r\n',
    'POST /v1/route HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n',
    'POST /v1/route HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    `GET /health HTTP/1.1\r\n${'x: y\r\n'.repeat(20000)}\r\n`,
  ];
  for (const bytes of broken) {
    const { socket, closed } = server.connect();
    socket.write(bytes);
    socket.setTimeout(300, () => socket.destroy());
    const answer = await closed;
    assert.ok(answer === '' || /^HTTP\/1\.[01] (4|5)\d\d /.test(answer), answer.slice(0, 100));
  }
  for (const cut of [10, 60, 140, 170]) { // in the request line, the headers, the body
    const { socket, closed } = server.connect();
    socket.write(post('/v1/chat/completions', hello).slice(0, cut), () => socket.destroy());
    await closed;
  }
  assert.equal((await server.json('/v1/route', hello)).status, 200);
  await server.idle();
});

test('requests sent ahead on one connection are answered in order', async () => {
  const { socket, text } = server.connect();
  socket.write(post('/v1/chat/completions', hello) + post('/v1/route', hello) +
    'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await until('three answers', () => text().split('HTTP/1.1 200').length === 4 && text().includes('"running"'));
  const order = ['chat.completion', '{"intent"', '"running"'].map((part) => text().indexOf(part));
  assert.deepEqual(order, [...order].sort((a, b) => a - b));
  socket.destroy();
});

test('a client that goes away before a reply that is not streamed ends its work', async () => {
  const body = longRequest();
  const started = Date.now();
  const whole = await server.json('/v1/chat/completions', body);
  const alone = Date.now() - started;
  assert.equal(whole.status, 200);
  const clients = [];
  for (let i = 0; i < 16; i++) { // some decode, some wait for a slot
    const client = server.connect();
    client.socket.write(post('/v1/chat/completions', body, { 'x-request-id': `gone-${i}` }));
    clients.push(client);
  }
  await until('they run', async () => (await server.running()) === 16);
  await sleep(alone / 10);
  for (const { socket } of clients) socket.destroy();
  await server.idle(1000);
  for (let i = 0; i < 16; i++) {
    const line = await server.logLine(`gone-${i}`);
    assert.match(line, / 499 .*client went away/);
    assert.ok(Number(/ reply=(\d+)/.exec(line)?.[1] ?? 0) < whole.body.usage.completion_tokens, line);
  }
  await until('nothing is computed any more', () => server.sleeps(500, 200), 20000);
});

test('a client that goes away in the middle of the prefill ends its work', async () => {
  const { data } = (await server.json('/v1/models')).body;
  const context = data.find((m) => m.id === 'large').max_model_len;
  const clients = [];
  for (let i = 0; i < 16; i++) {
    const client = server.connect();
    const content = `${i} ${'a b c d '.repeat(Math.floor(context / 5))}`;
    client.socket.write(post('/v1/chat/completions',
      { ...longRequest(), messages: [{ role: 'user', content }], stream: i % 2 === 1 },
      { 'x-request-id': `prefill-${i}` }));
    clients.push(client);
  }
  await until('they run', async () => (await server.running()) === 16);
  for (const { socket } of clients) socket.destroy();
  await server.idle(1000);
  for (let i = 0; i < 16; i++)
    assert.match(await server.logLine(`prefill-${i}`), / 499 .*client went away/);
});

test('a slow or silent client does not hold up another', async () => {
  const slow = server.connect();
  slow.socket.write(post('/v1/chat/completions', hello).slice(0, 150));
  const deaf = server.connect();
  deaf.socket.pause();
  deaf.socket.write(post('/v1/chat/completions', longRequest({ stream: true })));
  assert.equal((await server.json('/v1/chat/completions', hello)).status, 200);
  slow.socket.destroy();
  deaf.socket.destroy();
  await server.idle(2000);
});

test('an idle server sleeps', async () => {
  await until('the server has checked its probe', () => /built-in requests/.test(server.log), 30000);
  await server.idle();
  await sleep(200);
  const wakings = server.wakings(), cpu = server.cpuMs(), began = performance.now();
  await sleep(1500);
  const woken = server.wakings() - wakings, seconds = (performance.now() - began) / 1000;
  assert.ok(woken <= 14 * seconds, `its threads woke ${woken} times in ${seconds} s`);
  assert.ok(server.cpuMs() - cpu < 500, 'and none of them ran on');
});

test('a client that half-closes while it waits counts as gone', async () => {
  const { socket, closed } = server.connect();
  socket.end(post('/v1/chat/completions', longRequest(), { 'x-request-id': 'half' }));
  assert.equal(await closed, '');
  assert.match(await server.logLine('half'), / 499 /);
  await server.idle(1000);
});

test('a silent wait in a stream is kept alive', async (t) => {
  // One slot, and more streams before the last one than any machine answers in five seconds.
  const config = changedConfig(t, (text) => text.replaceAll('slots: 8', 'slots: 1')
    .replace('server:', 'engine:\n  queue_limit: 300\n\nserver:\n  max_connections: 300'));
  const narrow = await Server.start({ args: ['--config', config, '-t', '1'] });
  t.after(() => narrow.stop());
  const clients = Array.from({ length: 250 }, (_, i) => {
    const client = narrow.connect();
    client.socket.write(post('/v1/chat/completions', longRequest({ stream: true, max_tokens: 500 }), { 'x-request-id': `k${i}` }));
    return client;
  });
  await until('a comment', () => clients.some(({ text }) => text().includes('\n: keep-alive\n\n')), 12000);
  for (const { socket } of clients) socket.destroy();
  await narrow.idle(1000);
});

test('no room: 429 for a full queue, 503 for full connections, both with Retry-After', async (t) => {
  const config = changedConfig(t, (text) => text.replaceAll('slots: 8', 'slots: 1')
    .replace('server:', 'engine:\n  queue_limit: 19\n\nserver:\n  max_connections: 30'));
  const narrow = await Server.start({ args: ['--config', config] });
  t.after(() => narrow.stop());
  // From the first reply on the engine knows what a reply takes.
  const { timings } = (await narrow.json('/v1/chat/completions', longRequest())).body;
  const replyMs = timings.prompt_ms + timings.predicted_ms;
  const waiting = Array.from({ length: 24 }, () => narrow.connect());
  for (const { socket } of waiting) socket.write(post('/v1/chat/completions', longRequest()));
  const refusal = await until('a refusal', () =>
    waiting.map(({ text }) => text()).find((text) => text.startsWith('HTTP/1.1 429') && text.endsWith('}\n')));
  const { error } = JSON.parse(refusal.slice(refusal.indexOf('\r\n\r\n')));
  assert.deepEqual([error.type, error.code], ['rate_limit_error', 'queue_full']);
  const told = Number(/^Retry-After: (\d+)\r$/im.exec(refusal)?.[1]);
  assert.match(error.message, new RegExp(`try again in ${told} s`));
  const expected = 21 * replyMs / 1000; // twenty wait, one comes back
  assert.ok(told >= 1 && Math.abs(told - expected) < 0.3 * expected + 1, `${told} s, expected about ${expected} s`);
  for (const { socket } of waiting) socket.destroy();
  await narrow.idle(1000);
  const idlers = Array.from({ length: 40 }, () => narrow.connect());
  await Promise.all(idlers.map(({ socket }) => new Promise((resolve) => socket.on('connect', resolve))));
  const { socket, text } = narrow.connect();
  socket.write(post('/v1/route', hello));
  await until('an answer', () => text().includes('connections are in use'));
  assert.match(text(), /^HTTP\/1.1 503 [\s\S]*Retry-After/);
  for (const idler of [...idlers, { socket }]) idler.socket.destroy();
  await until('a connection is free', async () => (await narrow.json('/v1/route', hello)).status === 200);
});

test('a key, when there is one, is asked for', async (t) => {
  const guarded = await Server.start({ env: { A_IO_API_KEY: 'secret-1' } });
  t.after(() => guarded.stop());
  assert.match(guarded.log, /^try: curl http:\S+ -H 'Authorization: Bearer KEY' -H/m);
  const status = async (key) => {
    const reply = await guarded.json('/v1/models', undefined, key ? { Authorization: key } : {});
    if (reply.status === 401) assert.equal(reply.body.error.type, 'authentication_error');
    return reply.status;
  };
  assert.deepEqual(
    [await status(), await status('Bearer secret-2'), await status('Bearer secret-11'), await status('Bearer '),
      await status('secret-1'), await status('Bearer secret-1')],
    [401, 401, 401, 401, 401, 200]);
  assert.equal((await guarded.json('/health')).status, 200);
});

test('SIGTERM: what runs is finished, nothing new is taken', async () => {
  const ending = await Server.start({ args: ['-c', '8192'] });
  // A reply that outlasts the questions below and not the drain, however fast or busy this machine is.
  const started = Date.now();
  await ending.json('/v1/chat/completions', longRequest({ max_tokens: 100 }));
  const tokensInTwoSeconds = Math.min(6000, Math.ceil(100 * 2000 / (Date.now() - started)));
  const kept = ending.connect(); // opened before, so that it can ask while the server drains
  const running = ending.json('/v1/chat/completions', longRequest({ max_tokens: tokensInTwoSeconds }));
  await until('it runs', async () => (await ending.running()) === 1);
  kept.socket.write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await until('an answer', () => kept.text().includes('"running"'));
  ending.child.kill('SIGTERM');
  await until('it drains', () => ending.log.includes('stopping'));
  kept.socket.write('GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n');
  assert.match(await kept.closed, /HTTP\/1.1 503 [\s\S]*unavailable_error/);
  const late = ending.connect();
  assert.equal(await late.closed, "");
  assert.equal((await running).status, 200);
  assert.deepEqual(await ending.ended, { status: 0, signal: null });
});

test('a second signal ends what runs, at once and with an answer', async () => {
  const ending = await Server.start();
  const replies = Array.from({ length: 24 }, () => ending.json('/v1/chat/completions', longRequest()));
  await until('they run', async () => (await ending.running()) === 24);
  ending.child.kill('SIGTERM');
  await until('it drains', () => ending.log.includes('stopping'));
  ending.child.kill('SIGINT');
  const answers = await Promise.all(replies);
  const stopped = answers.filter((a) => a.status === 503);
  assert.ok(stopped.length > 0);
  assert.ok(stopped.every((a) => a.body.error.type === 'unavailable_error' && a.headers.get('retry-after')));
  assert.deepEqual(await ending.ended, { status: 0, signal: null });
});

test('a port that is taken is named', () => {
  const second = run(['serve', '--port', String(server.port)]);
  assert.equal(second.status, 6);
  assert.match(second.stderr, new RegExp(`port ${server.port}: Address already in use.*--port`));
});
