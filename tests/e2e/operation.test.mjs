// Running the server: keys, other origins, sockets, TLS, reloads, systemd.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import test from 'node:test';
import tls from 'node:tls';
import { changedConfig, longRequest, program, root, run, Server, temporaryFolder, until } from './helper.mjs';

const hello = { messages: [{ role: 'user', content: 'What is 1 plus 1?' }], max_tokens: 4 };

async function serve(t, options) {
  const server = await Server.start(options);
  t.after(() => server.stop());
  return server;
}

// A server whose configuration has these lines in its section `server`.
const serveWith = (t, lines, options = {}) => serve(t, {
  ...options, args: ['--config', changedConfig(t, (text) => text.replace(/^server:\n/m, `server:\n${lines.map((line) => `  ${line}\n`).join('')}`)), ...options.args ?? []],
});

const bearer = (key) => ({ Authorization: `Bearer ${key}` });

// ---- keys ----------------------------------------------------------------------------------------

test('several keys, each with its own limits', async (t) => {
  const file = path.join(temporaryFolder(t), 'keys');
  fs.writeFileSync(file, '# who may ask\nalice a-key\nbob b-key requests_per_minute=2\ncarol c-key at_once=1\n', { mode: 0o600 });
  const server = await serveWith(t, [`keys_file: ${file}`]);
  const ask = (headers) => server.json('/v1/chat/completions', hello, headers);
  for (const headers of [{}, bearer('wrong'), bearer(''), { Authorization: 'Basic a-key' }, { 'x-api-key': 'a-ke' }])
    assert.equal((await ask(headers)).status, 401);
  const first = await ask(bearer('a-key'));
  assert.equal(first.status, 200);
  assert.match(await server.logLine(first.headers.get('x-request-id')), / key=alice/);
  assert.equal((await ask({ 'x-api-key': 'a-key' })).status, 200);
  assert.equal((await server.json('/v1/models', undefined, bearer('b-key'))).status, 200); // looking is free
  assert.deepEqual([(await ask(bearer('b-key'))).status, (await ask(bearer('b-key'))).status], [200, 200]);
  const third = await ask(bearer('b-key'));
  assert.equal(third.status, 429);
  assert.equal(third.body.error.code, 'rate_limit_exceeded');
  const seconds = Number(third.headers.get('retry-after'));
  assert.ok(seconds > 0 && seconds <= 30, `Retry-After: ${seconds}`);
  const long = fetch(`${server.url}/v1/chat/completions`, { method: 'POST', headers: { 'Content-Type': 'application/json', ...bearer('c-key') }, body: JSON.stringify(longRequest()) });
  await until('the long one runs', async () => (await server.running()) === 1);
  const second = await ask(bearer('c-key'));
  assert.deepEqual([second.status, second.body.error.code], [429, 'too_many_at_once']);
  assert.equal((await ask(bearer('a-key'))).status, 200);
  assert.equal((await long).status, 200);
  await server.idle();
  assert.equal((await ask(bearer('c-key'))).status, 200);
  assert.ok(!server.log.includes('a-key'), 'a key stands in the log');
});

test('SIGHUP reads the keys again; a file that is wrong changes nothing', async (t) => {
  const file = path.join(temporaryFolder(t), 'keys');
  fs.writeFileSync(file, 'alice old\n', { mode: 0o600 });
  const server = await serveWith(t, [`keys_file: ${file}`]);
  const status = async (key) => (await server.json('/v1/models', undefined, bearer(key))).status;
  const response = await fetch(`${server.url}/v1/chat/completions`, { method: 'POST', headers: { 'Content-Type': 'application/json', ...bearer('old') }, body: JSON.stringify(longRequest({ stream: true })) });
  fs.writeFileSync(file, 'alice new\n');
  server.child.kill('SIGHUP');
  await until('the new key counts', async () => (await status('new')) === 200);
  assert.equal(await status('old'), 401);
  assert.match(await response.text(), /data: \[DONE\]/); // what was admitted goes on
  fs.writeFileSync(file, 'alice new limit=5\n');
  server.child.kill('SIGHUP');
  await until('a warning', () => /the keys stay as they were: .*line 1: after the key come/.test(server.log));
  assert.equal(await status('new'), 200);
});

test('files of keys that are wrong are refused at the start', (t) => {
  const file = path.join(temporaryFolder(t), 'keys');
  for (const [text, message] of [['', /no key in it/], ['name\n', /line 1: a line is NAME KEY/], ['a b at_once=0\n', /N from 1/],
    ['# x\n\nname secret-text wrong\n', /line 3: after the key/], [`a ${'x'.repeat(2000)}\n`, /longer than 1022/]]) {
    fs.writeFileSync(file, text);
    const config = changedConfig(t, (yaml) => yaml.replace(/^server:\n/m, `server:\n  keys_file: ${file}\n`));
    const end = run(['serve', '--port', '0', '--config', config]);
    assert.equal(end.status, 4, end.stderr);
    assert.match(end.stderr, message);
    assert.ok(!end.stderr.includes('secret-text'));
  }
});

test('an address that others reach needs a key, or the word that it shall not', async (t) => {
  const end = run(['serve', '--host', '0.0.0.0', '--port', '0']);
  assert.equal(end.status, 4);
  assert.match(end.stderr, /can be reached by others, and no key is asked for/);
  for (const options of [{ args: ['--host', '0.0.0.0', '--allow-without-key'] }, { args: ['--host', '0.0.0.0'], env: { A_IO_API_KEY: 'k' } }])
    await (await Server.start(options)).stop();
});

test('the log as JSON: an object a line, a request with its parts', async (t) => {
  const server = await serve(t, { env: { A_IO_LOG_FORMAT: 'json' } });
  const { headers } = await server.json('/v1/chat/completions', { ...hello, user: 'a "b"' });
  const id = headers.get('x-request-id');
  await until('its line', () => server.log.includes(`"id":"${id}"`));
  const lines = server.log.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  const one = lines.find((line) => line.id === id);
  assert.deepEqual([one.level, one.method, one.path, one.status, one.user, one.intent], ['info', 'POST', '/v1/chat/completions', 200, 'a_"b"', 'qa']);
  assert.ok(one.reply_tokens > 0 && one.ms > 0 && !Number.isNaN(Date.parse(one.time)) && one.message.startsWith(id));
});

test('the read peak is told where it was measured on this machine, and only there', async (t) => {
  const cpu = /^model name\s*: (.*)$/m.exec(fs.readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';
  const file = path.join(temporaryFolder(t), 'machine.json');
  const figures = { fingerprint: '0'.repeat(16), name: 'another', kv: 'f16', step_ms: Array(17).fill(1), prefill_row_ms: 1, probes: [] };
  for (const [kernel, told] of [['reference', true], ['avx2', false]]) {
    fs.writeFileSync(file, JSON.stringify({ version: 1, machine: { cpu, kernel, threads: 1, read_peak_gb_s: 12.5, models: [figures] } }));
    const config = changedConfig(t, (text) => text.replace('# engine:', `engine:\n  machine: ${file}\n#`));
    const server = await serve(t, { args: ['--config', config, '-t', '1'], env: { A_IO_KERNEL: 'reference' } });
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    assert.equal(/^a_io_read_peak_bytes_per_second 12500000000$/m.test(metrics), told, metrics.match(/.*read_peak.*/)?.[0]);
  }
});

// ---- probe, labels and policy ----------------------------------------------------------------------

// A stream of the large model and one that is routed, both under way.
async function streams(server) {
  const ask = (body) => fetch(`${server.url}/v1/chat/completions`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  const all = await Promise.all([0, 1].map((i) => ask(longRequest({ stream: true, seed: i, model: i ? 'auto' : 'large' }))));
  await until('they stream', async () => (await server.running()) === all.length);
  return all;
}

const content = (events) => [...events.matchAll(/^data: (\{.*\})$/gm)].map((one) => JSON.parse(one[1]).choices?.[0]?.delta?.content ?? '').join('');

test('SIGHUP reads labels and policy again under load, and no stream is dropped', async (t) => {
  const log = path.join(temporaryFolder(t), 'decisions.jsonl');
  const file = changedConfig(t, (text) => `${text}\ndecisions:\n  file: ${log}\n`);
  const server = await serve(t, { args: ['--config', file] });
  const before = await server.json('/v1/policy');
  assert.deepEqual(before.body.labels, ['code', 'qa', 'math']);
  const whole = await Promise.all((await streams(server)).map(async (response) => content(await response.text())));
  const again = await streams(server);
  const decisions = async () => (await server.json('/v1/route', { messages: [{ role: 'user', content: 'What is 3 plus 4?' }] })).body;
  assert.equal((await decisions()).intent.label, 'math');
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('name: math,', 'name: sums,')
    .replace(/^policy:\n.*\n/m, 'policy:\n  name: rules\n  rules:\n    - {name: sums-are-small, intent: sums, model: small}\n    - {name: rest, model: large}\n')
    .replace(/^ {2}(entropy|prompt)_limit:.*\n/gm, ''));
  server.child.kill('SIGHUP');
  await until('the new policy counts', async () => (await server.json('/v1/policy')).body.name === 'rules');
  const after = await decisions();
  assert.deepEqual([after.intent.label, after.plan.rule, after.plan.model], ['sums', 'sums-are-small', 'small']);
  for (const [i, response] of again.entries()) {
    const events = await response.text();
    assert.match(events, /data: \[DONE\]/);
    assert.equal(content(events), whole[i]);
  }
  await until('a word', () => /probe and policy were read again: policy rules, 3 labels/.test(server.log));
  // Every decision stands under its own policy, those that ended after the reload too: all are decided the same again.
  await server.idle();
  const same = run(['replay', '--decisions', log]);
  assert.equal(same.status, 0, same.stdout + same.stderr);
});

test('a configuration that is wrong changes nothing at SIGHUP, and says what is', async (t) => {
  const file = changedConfig(t, (text) => text);
  const server = await serve(t, { args: ['--config', file] });
  const good = fs.readFileSync(file, 'utf8');
  const policy = async () => (await server.json('/v1/policy')).body.name;
  const reload = async (text, message) => {
    fs.writeFileSync(file, text);
    server.child.kill('SIGHUP');
    await until(`the log says ${message}`, () => message.test(server.log));
  };
  await reload(good.replace('name: adaptive', 'name: adaptiv'), /probe and policy stay as they were: .*changed\.yaml:\d+: .*adaptiv/);
  assert.equal(await policy(), 'adaptive');
  await reload(good.replace('" math"', '" two words"'), /probe and policy stay as they were: probe: .*two words/);
  assert.equal(await policy(), 'adaptive');
  await reload(good.replace('port: 8098', 'port: 8098\n  max_connections: 99').replace('name: adaptive', 'name: paper'), /configuration's server changed/);
  await until('the policy is read all the same', async () => (await policy()) === 'paper');
  fs.rmSync(file);
  server.child.kill('SIGHUP');
  await until('a warning', () => /probe and policy stay as they were: cannot open/.test(server.log));
  assert.equal(await policy(), 'paper');
  assert.equal((await server.json('/v1/chat/completions', hello)).status, 200);
});

// ---- pages of other origins -----------------------------------------------------------------------

test('a listed origin is told that it may read, with preflight; others are not', async (t) => {
  for (const env of [{}, { A_IO_API_KEY: 'k' }]) {
    const server = await serveWith(t, ['allowed_origins: ["https://chat.lan"]'], { env });
    const key = env.A_IO_API_KEY ? bearer('k') : {};
    const preflight = (origin) => fetch(`${server.url}/v1/chat/completions`, {
      method: 'OPTIONS', headers: { Origin: origin, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization,content-type' },
    });
    const asked = await preflight('https://chat.lan');
    assert.equal(asked.status, 200);
    assert.equal(asked.headers.get('access-control-allow-origin'), 'https://chat.lan');
    assert.equal(asked.headers.get('access-control-allow-headers'), 'authorization,content-type');
    assert.match(asked.headers.get('access-control-allow-methods'), /POST/);
    const answer = await server.json('/v1/chat/completions', hello, { Origin: 'https://chat.lan', ...key });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('access-control-allow-origin'), 'https://chat.lan');
    assert.equal(answer.headers.get('vary'), 'Origin');
    const foreign = await preflight('https://evil.example');
    assert.ok(foreign.status >= 400 && !foreign.headers.has('access-control-allow-origin'));
  }
});

test("'*' needs keys", async (t) => {
  const star = (text) => text.replace(/^server:\n/m, 'server:\n  allowed_origins: ["*"]\n');
  const end = run(['serve', '--port', '0', '--config', changedConfig(t, star)]);
  assert.equal(end.status, 4);
  assert.match(end.stderr, /'\*' lets every page/);
  const server = await serve(t, { args: ['--config', changedConfig(t, star)], env: { A_IO_API_KEY: 'k' } });
  const answer = await server.json('/v1/models', undefined, { Origin: 'https://any.example', ...bearer('k') });
  assert.equal(answer.headers.get('access-control-allow-origin'), 'https://any.example');
});

// ---- other sockets --------------------------------------------------------------------------------

function request(options, body) {
  return new Promise((resolve, reject) => {
    const sent = (options.ca ? https : http).request({ method: body ? 'POST' : 'GET', headers: { 'Content-Type': 'application/json' }, ...options }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece) => { text += piece; });
      response.on('end', () => resolve({ status: response.statusCode, text }));
      response.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(body && JSON.stringify(body));
  });
}

test('a Unix socket: served, named, taken over from a process that is gone, removed', async (t) => {
  const socketPath = path.join(temporaryFolder(t), 'a-io.sock');
  await new Promise((resolve) => { const left = net.createServer().listen(socketPath, () => { fs.renameSync(socketPath, `${socketPath}.kept`); left.close(resolve); }); });
  fs.renameSync(`${socketPath}.kept`, socketPath); // a socket that nobody answers
  const server = await Server.start({ args: ['--socket', socketPath] });
  assert.equal(server.url, `unix:${socketPath}`);
  const { status, text } = await request({ socketPath, path: '/v1/chat/completions', headers: { Host: 'anything', 'Content-Type': 'application/json' } }, hello);
  assert.equal(status, 200);
  assert.match(text, /"completion_tokens":/);
  const second = run(['serve', '--socket', socketPath]);
  assert.equal(second.status, 6);
  assert.match(second.stderr, /Address already in use/);
  await server.stop();
  assert.ok(!fs.existsSync(socketPath));
});

test('systemd passes the socket on, and is told when the server is ready and when it stops', async (t) => {
  const folder = temporaryFolder(t);
  const notifyPath = path.join(folder, 'notify');
  // node has no Unix datagrams: python3, which the demo needs anyway, listens, and opens the socket.
  const wrapper = `
import os, socket, sys, threading
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); notify.bind(sys.argv[1])
listen = socket.socket(); listen.bind(('127.0.0.1', 0)); listen.listen()
print('port', listen.getsockname()[1], flush=True)
pid = os.fork()
if pid == 0:
    os.dup2(listen.fileno(), 3); os.set_inheritable(3, True)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', NOTIFY_SOCKET=sys.argv[1])
    os.execv(sys.argv[2], [sys.argv[2], 'serve', '--port', '1'])
print('pid', pid, flush=True)
while True:
    told = notify.recv(200).decode()
    print('told', told.replace(chr(10), ' '), flush=True)
    if told.startswith('STOPPING'): break
os.waitpid(pid, 0)
`;
  const child = spawn('python3', ['-c', wrapper, notifyPath, program], { cwd: root, stdio: ['ignore', 'pipe', 'ignore'], env: { ...process.env, A_IO_API_KEY: '' } });
  t.after(() => child.kill());
  let told = '';
  child.stdout.on('data', (text) => { told += text; });
  await until('it is ready', () => /told READY=1/.test(told), 30000);
  const port = Number(/port (\d+)/.exec(told)[1]);
  assert.equal((await request({ port, host: '127.0.0.1', path: '/health' })).status, 200);
  const pid = Number(/pid (\d+)/.exec(told)[1]);
  process.kill(pid, 'SIGHUP');
  await until('it reloads', () => /told RELOADING=1 MONOTONIC_USEC=\d+\ntold READY=1/.test(told));
  process.kill(pid, 'SIGTERM');
  await until('it stops', () => /told STOPPING=1/.test(told));
});

// ---- TLS ------------------------------------------------------------------------------------------

function certificate(folder, name) {
  const files = { certificate: path.join(folder, 'certificate.pem'), key: path.join(folder, 'key.pem') };
  const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', `/CN=${name}`,
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', `${files.key}.new`, '-out', `${files.certificate}.new`], { encoding: 'utf8' });
  assert.equal(made.status, 0, made.stderr);
  fs.renameSync(`${files.key}.new`, files.key);
  fs.renameSync(`${files.certificate}.new`, files.certificate);
  return files;
}

const subject = (port) => new Promise((resolve, reject) => {
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2', 'http/1.1'] }, () => {
    resolve({ name: socket.getPeerCertificate().subject.CN, protocol: socket.alpnProtocol, version: socket.getProtocol() });
    socket.destroy();
  });
  socket.on('error', reject);
});

test('TLS: whole and streamed, large bodies and keep-alive, and nothing without it', async (t) => {
  const files = certificate(temporaryFolder(t), 'first');
  const server = await serveWith(t, [`tls_certificate: ${files.certificate}`, `tls_key: ${files.key}`]);
  assert.match(server.url, /^https:/);
  assert.deepEqual(await subject(server.port), { name: 'first', protocol: 'http/1.1', version: 'TLSv1.3' });
  const ca = fs.readFileSync(files.certificate);
  const agent = new https.Agent({ ca, keepAlive: true, maxSockets: 1 });
  const ask = (body, route = '/v1/chat/completions') => request({ ca, agent, port: server.port, host: '127.0.0.1', path: route }, body);
  for (let i = 0; i < 3; i++) assert.equal((await ask(hello)).status, 200);
  assert.match((await ask({ ...hello, stream: true })).text, /data: \[DONE\]\n\n$/);
  const large = await ask({ ...hello, messages: [{ role: 'user', content: 'word '.repeat(200000) }] });
  assert.equal(large.status, 400);
  assert.match(large.text, /context_length_exceeded/);
  agent.destroy();
  // Two requests in one record: the second is in OpenSSL's memory when the first is answered.
  const pair = await new Promise((resolve, reject) => {
    let text = '';
    const socket = tls.connect({ port: server.port, host: '127.0.0.1', ca, servername: 'localhost' }, () =>
      socket.write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'));
    socket.on('data', (data) => { text += data; });
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
  });
  assert.equal(pair.match(/HTTP\/1\.1 200/g).length, 2);
  const plain = net.connect(server.port, '127.0.0.1');
  plain.on('error', () => {});
  plain.write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await new Promise((resolve) => plain.on('close', resolve));
  assert.equal((await request({ ca, port: server.port, host: '127.0.0.1', path: '/health' })).status, 200);
});

test('a certificate that changes is taken up by itself, and drops no stream; a broken one is not', async (t) => {
  const folder = temporaryFolder(t);
  const files = certificate(folder, 'first');
  const server = await serveWith(t, [`tls_certificate: ${files.certificate}`, `tls_key: ${files.key}`]);
  const ca = fs.readFileSync(files.certificate);
  const streams = [1, 2, 3, 4].map((seed) => request({ ca, port: server.port, host: '127.0.0.1', path: '/v1/chat/completions' }, longRequest({ stream: true, seed })));
  await until('it streams', async () => JSON.parse((await request({ ca, port: server.port, host: '127.0.0.1', path: '/health' })).text).running === streams.length);
  certificate(folder, 'second');
  server.child.kill('SIGHUP');
  await until('the new one is shown', async () => (await subject(server.port)).name === 'second');
  for (const stream of streams) assert.match((await stream).text, /data: \[DONE\]/);
  certificate(folder, 'third');
  await until('without a signal too', async () => (await subject(server.port)).name === 'third', 15000);
  fs.writeFileSync(files.certificate, 'no certificate');
  await until('a warning', () => /the certificate stays as it was: .*certificate.pem/.test(server.log), 15000);
  assert.equal((await subject(server.port)).name, 'third');
});

test('certificates that cannot be used are refused at the start', (t) => {
  const folder = temporaryFolder(t);
  const files = certificate(folder, 'one');
  const other = certificate(temporaryFolder(t), 'two');
  for (const [certificateFile, keyFile, status] of [[files.key, files.key, 4], [files.certificate, other.key, 4], [path.join(folder, 'none'), files.key, 3]]) {
    const config = changedConfig(t, (text) => text.replace(/^server:\n/m, `server:\n  tls_certificate: ${certificateFile}\n  tls_key: ${keyFile}\n`));
    assert.equal(run(['serve', '--port', '0', '--config', config]).status, status);
  }
});
