// `a-io replay --server`: the same trace through a server over HTTP; whatever goes wrong there is counted and said.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import http from 'node:http';
import { test } from 'node:test';
import { program, root, run, Server } from './helper.mjs';

// Not spawnSync: the servers of this file run in this process.
function replay(args, env = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, ['replay', ...args], { cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '', stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text) => { stdout += text; });
    child.stderr.setEncoding('utf8').on('data', (text) => { stderr += text; });
    child.on('close', (status) => resolve({ status, stdout, stderr }));
  });
}

async function results(...args) {
  const result = await replay([...args, '--json']);
  assert.equal(result.status, 0, result.stderr);
  return JSON.parse(result.stdout).runs;
}

// A server that answers /v1/models and leaves each chat to `chat(response, index)`.
async function fakeServer(t, chat) {
  let index = 0;
  const server = http.createServer((request, response) => {
    request.resume();
    request.on('end', () => (request.url === '/v1/models' ? response.end('{"data": []}') : chat(response, index++)));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}`;
}

const scenario = ['--scenario', 'A', '--requests', '8', '--seed', '5'];

test('a server gives what local engines give', async (t) => {
  const server = await Server.start();
  t.after(() => server.child.kill());
  const [auto, large] = await results(...scenario, '--server', server.url, '--models', 'auto,large');
  const local = JSON.parse(run(['replay', ...scenario, '--policies', 'adaptive,large', '--json']).stdout).runs;
  const said = (r) => r.items.map((i) => [i.id, i.label, i.model, i.digest, i.right, i.tokens, i.prompt_tokens]);
  assert.deepEqual(said(auto), said(local[0]));
  const answers = (r) => r.items.map((i) => [i.id, i.model, i.digest, i.right, i.tokens]);
  assert.deepEqual(answers(large), answers(local[1]));
  assert.deepEqual([auto.policy, auto.answered, auto.accuracy, auto.errors], ['auto', 8, local[0].accuracy, {}]);
  assert.ok(auto.bytes_read > 0 && auto.overhead_ms.prefill > 0);
  for (const i of auto.items) assert.ok(i.ms.ttft > 0 && i.ms.latency >= i.ms.ttft && i.ms.between >= 0);
  const loads = [['--in-flight', '4'], ['--rate', '50']];
  for (const load of loads)
    assert.deepEqual(said((await results(...scenario, ...load, '--server', `${server.url}/v1/`))[0]), said(auto));
  const [absent] = await results(...scenario, '--server', server.url, '--models', 'absent');
  assert.deepEqual([absent.answered, absent.accuracy, Object.values(absent.errors)], [0, 0, [8]]);
  assert.match(Object.keys(absent.errors)[0], /^HTTP 404: .*absent/);
  await server.stop();
});

test('a server with a key', async (t) => {
  const server = await Server.start({ env: { A_IO_API_KEY: 'secret' } });
  t.after(() => server.child.kill());
  const args = [...scenario, '--server', server.url];
  const refused = await replay(args, { A_IO_API_KEY: '' });
  assert.equal(refused.status, 2);
  assert.match(refused.stderr, /401.*A_IO_API_KEY/);
  assert.equal((await replay(args, { A_IO_API_KEY: 'secret' })).status, 0);
});

test('servers that fail: every error is counted', async (t) => {
  const piece = (text, finish = null) =>
    `data: ${JSON.stringify({ choices: [{ delta: { content: text }, finish_reason: finish }] })}\r\n\r\n`;
  const url = await fakeServer(t, (response, index) => {
    if (index === 0) return response.writeHead(503).end('{"error": {"message": "full"}}');
    if (index === 1) return response.writeHead(500).end('no JSON');
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    if (index === 2) return response.end(piece('half'));
    if (index === 3) return response.end('data: {"error": {"message": "it broke"}}\n\n');
    if (index === 4) return response.end('data: {nonsense\n\n');
    if (index === 5) { response.write(piece('half')); return setTimeout(() => response.destroy(), 50); }
    // A foreign server: no usage, no a_io, a comment, an event in two pieces.
    const whole = `: hello\n\n${piece('one')}${piece(' two', 'stop')}data: [DONE]\n\n`;
    response.write(whole.slice(0, 40));
    return setTimeout(() => response.end(whole.slice(40)), 20);
  });
  const [r] = await results(...scenario, '--server', url, '--models', 'theirs');
  assert.deepEqual([r.requests, r.answered, r.items[6].tokens, r.items[7].model], [8, 2, 2, null]);
  assert.deepEqual(Object.keys(r.errors).map((text) => text.replace(/broke off.*/, 'broke off')).sort(), ['HTTP 500',
    'HTTP 503: full', 'error in the stream: it broke', 'the stream broke off', 'the stream ended early', 'the stream is malformed'].sort());
  const table = await replay([...scenario, '--server', url, '--models', 'theirs']);
  assert.match(table.stdout, /theirs/);
});

test('a server that dies', async (t) => {
  const server = await Server.start();
  t.after(() => server.child.kill());
  const running = replay(['--scenario', 'C', '--requests', '60', '--server', server.url, '--in-flight', '2', '--json']);
  await server.logLine('POST /v1/chat/completions 200', 30000);
  server.child.kill('SIGKILL');
  const died = await running;
  assert.equal(died.status, 0, died.stderr);
  const [r] = JSON.parse(died.stdout).runs;
  const errors = Object.values(r.errors).reduce((sum, n) => sum + n, 0);
  assert.ok(errors > 0 && r.answered > 0, JSON.stringify(r.errors));
  assert.equal(r.answered + errors, 60);
});

test('no server, a wrong address, options that do not go together', async (t) => {
  const url = await fakeServer(t, (response) => response.writeHead(404).end());
  const refused = async (args, status, message) => {
    const result = await replay([...scenario, ...args]);
    assert.equal(result.status, status, result.stderr);
    assert.match(result.stderr, message);
  };
  await refused(['--server', 'http://127.0.0.1:1'], 6, /127\.0\.0\.1:1.*connect/);
  await refused(['--server', `${url}/elsewhere`], 3, /elsewhere.*404/);
  await refused(['--server', 'ftp://x'], 2, /ftp/);
  await refused(['--server', url, '--policies', 'small'], 2, /--models/);
  await refused(['--server', url, '--models', 'a,a'], 2, /twice/);
  await refused(['--server', url, '--threads', '2'], 2, /--threads/);
  await refused(['--models', 'a'], 2, /--server/);
});

// Figures that no server can have: each is an error of that request, and the sums stay sums.
const figures = {
  counts: ['cached_tokens', 'steps', 'drafted', 'accepted', 'weight_bytes', 'kv_bytes'],
  phases: ['template_ms', 'prefill_ms', 'decide_ms', 'switch_ms', 'total_ms'],
  wrong: ['-1', '1e300', '-1e300', '9223372036854775807', '-9223372036854775808', '1e-300', '"7"', '[]', 'true', '{}'],
};

test('hostile figures do not reach the sums', async (t) => {
  const cases = figures.wrong.flatMap((value) => [
    ...figures.counts.map((key) => ({ reply: `"${key}": ${value}` })),
    ...figures.phases.map((key) => ({ overhead: `"${key}": ${value}` })),
    { usage: `"completion_tokens": ${value}` }, { usage: `"prompt_tokens": ${value}` }, { intent: `"entropy": ${value}` },
  ]);
  const harmless = (c) => /"(\w+_ms|entropy)": 1e-300/.test(JSON.stringify(c).replaceAll('\\', ''));
  const url = await fakeServer(t, (response, index) => {
    const c = cases[index % cases.length];
    const part = (name) => `{${c[name] ?? ''}}`;
    response.end(`data: {"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}], "usage": ${part('usage')}, `
      + `"a_io": {"intent": ${part('intent')}, "plan": {}, "receipt": {"reply": ${part('reply')}, "overhead": ${part('overhead')}}}}\n\n`
      + 'data: [DONE]\n\n');
  });
  const [result] = await results('--scenario', 'A', '--requests', String(cases.length), '--seed', '5', '--server', url);
  const refused = cases.filter((c) => !harmless(c)).length;
  assert.equal(result.answered, cases.length - refused);
  assert.equal(Object.values(result.errors).reduce((a, b) => a + b, 0), refused);
  for (const text of Object.keys(result.errors)) assert.match(text, /^a figure that cannot be: \w+$/);
  assert.ok(result.tokens >= 0 && result.tokens <= 2 * cases.length);
  for (const key of ['bytes_read', 'drafted', 'accepted', 'steps']) assert.equal(result[key], 0);
});
