// A model at several servers: which has a request, and what becomes of it when one of them refuses, breaks or goes.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import https from 'node:https';
import { execFileSync, spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { Server, changedConfig, limit, patience, run, sleep, temporaryFolder, until } from './helper.mjs';
import { Replica, done, earnHedges, end, refuse, say, stream, streaming } from './replica.mjs';

const quick = 'health_ms: 200, slow_start_ms: 200, wait_ms: 20000';
const poolOf = (urls, pool = quick, more = '') =>
  `  - {name: large, replicas: [${urls.map((u) => `"${u}"`).join(', ')}], pool: {${pool}}${more}}\n`;
// Three loops, whatever the cores, which share the pool.
const withPool = (t, ...args) => changedConfig(t, (text) =>
  text.replace(/  - name: large\n.*\n.*\n.*\n/, poolOf(...args)).replace(/^server:\n/m, 'server:\n  loops: 3\n'));
const ask = (content, more = {}) => ({
  model: 'large', messages: [{ role: 'user', content }], temperature: 0, seed: 3, max_tokens: 40, ...more,
});

async function serve(t, file) {
  const server = await Server.start({ args: ['--config', file] });
  t.after(() => server.stop());
  return server;
}

const start = (t, n, script) => Promise.all(Array.from({ length: n }, () => Replica.start(t, script)));
const answers = (text = 'well') => stream(say(text), end(), done);

async function events(server, body) {
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ ...body, stream: true }),
  });
  const text = await response.text();
  const list = text.split('\n\n').filter((e) => e.startsWith('data: {')).map((e) => JSON.parse(e.slice(6)));
  return {
    status: response.status, text: list.map((e) => e.choices?.[0]?.delta?.content ?? '').join(''),
    errors: list.filter((e) => e.error).length + (response.status === 200 ? 0 : 1), end: text.includes('[DONE]'), raw: text,
  };
}

// `n` requests, `width` at once; `each` makes one.
async function load(n, width, each) {
  const results = [];
  let next = 0;
  await Promise.all(Array.from({ length: width }, async () => {
    while (next < n) {
      const i = next++;
      results[i] = await each(i);
    }
  }));
  return results;
}

async function metric(server, name, labels) {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const line = text.split('\n').find((l) => l.startsWith(`${name}{`) && labels.every((label) => l.includes(label)));
  return line === undefined ? undefined : Number(line.split(' ').at(-1));
}

test('conversations stay where they began, and all servers have some', async (t) => {
  const replicas = await start(t, 4, answers());
  const server = await serve(t, withPool(t, replicas.map((r) => r.url)));
  for (let i = 0; i < 100; i++) {
    const turns = [{ role: 'user', content: `Conversation ${i}: what is it?` }];
    for (let turn = 0; turn < 3; turn++) {
      assert.equal((await server.json('/v1/chat/completions', ask('', { messages: turns }))).status, 200);
      turns.push({ role: 'assistant', content: 'well' }, { role: 'user', content: `and ${turn}?` });
    }
  }
  const places = Array.from({ length: 100 }, () => new Set());
  replicas.forEach((r, k) => r.bodies.forEach((b) => places[Number(/\d+/.exec(b.messages[0].content))].add(k)));
  assert.ok(places.filter((p) => p.size === 1).length >= 90, `${places.map((p) => p.size)}`);
  // One at a time nothing crowds: the sooner of two candidates has it, so that shares may differ.
  for (const r of replicas) assert.ok(r.bodies.length >= 9, `${replicas.map((one) => one.bodies.length)}`);
});

// What a server says of its queue is not asked: the fourth says that it has none, and refuses nine of ten.
test('servers that refuse when busy, one of which lies: no client sees an error', async (t) => {
  const capacity = 4;
  let refused = 0;
  const busyOr = (lies) => {
    let running = 0, asked = 0;
    return async (request, response, body) => {
      const key = body.messages[0].content;
      if (running >= capacity || (lies && asked++ % 10 > 0)) {
        refuse(asked % 2 === 0 ? 429 : 503, 'busy', lies ? { 'X-Queue-Length': '0' } : {})(request, response);
        refused++;
        return;
      }
      running++;
      await sleep(10);
      await answers(key)(request, response);
      running--;
    };
  };
  const replicas = await Promise.all([0, 1, 2, 3].map((i) => Replica.start(t, busyOr(i === 3))));
  const server = await serve(t, withPool(t, replicas.map((r) => r.url)));
  const results = await load(500, 12, (i) => events(server, ask(`question ${i}`)));
  for (const [i, r] of results.entries()) assert.deepEqual([r.status, r.errors, r.text], [200, 0, `question ${i}`]);
  t.diagnostic(`${refused} refusals in 500 requests`);
  assert.ok(refused > 0); // the slower the machine, the fewer are there at once: only the one that lies is certain
});

// Every request is refused by the first server that it comes to. A forward is one of four ways that it goes; were it held
// up, it would be most of what the request takes, on a slow machine, too.
test('a refusal goes to the next server at once', async (t) => {
  const refusals = new Map(), forwards = [], wholes = [];
  const replicas = await start(t, 4, (request, response, body) => {
    const key = body.messages[0].content;
    if (refusals.has(key)) {
      forwards.push(performance.now() - refusals.get(key));
      return answers()(request, response);
    }
    response.on('finish', () => refusals.set(key, performance.now()));
    return refuse(503, 'busy')(request, response);
  });
  const server = await serve(t, withPool(t, replicas.map((r) => r.url)));
  const each = async (i) => {
    const began = performance.now();
    assert.equal((await events(server, ask(`question ${i}`))).errors, 0);
    wholes.push(performance.now() - began);
  };
  await load(200, 1, each);
  const place = (list, i) => list.toSorted((a, b) => a - b)[i];
  const median = place(forwards, 100), whole = place(wholes, 100);
  t.diagnostic(`${forwards.length} forwards: median ${median.toFixed(2)} ms of ${whole.toFixed(2)} ms, p90 ${place(forwards, 180).toFixed(2)} ms`);
  assert.equal(forwards.length, 200);
  assert.ok(median < Math.max(3, 0.6 * whole));
});

const unhurried = async (request, response) => {
  streaming(response);
  await sleep(10);
  response.write(say('a '));
  await sleep(20);
  response.end(say('b') + end() + done);
};

// Each fault at one server of four in the middle of a load: whoever had no text yet gets an answer all the same; whoever
// had gets one error.
const faults = {
  'connections reset, and nobody there': async (replica) => { await replica.close(); },
  'silence': async (replica) => { replica.script = () => {}; replica.health = () => {}; },
  'what is no answer': async (replica) => { replica.script = (q, r) => { r.writeHead(200); r.end('<html>hello'); }; },
  'errors': async (replica) => { replica.script = refuse(500, 'the card is hot'); },
  'half a stream': async (replica) => {
    replica.script = (q, r) => { streaming(r); r.write(say('half'), () => setTimeout(() => r.socket?.destroy(), 5)); };
  },
};
for (const [name, happen] of Object.entries(faults))
  test(`in mid-load, at one of four: ${name}`, async (t) => {
    const replicas = await start(t, 4, unhurried);
    const server = await serve(t, withPool(t, replicas.map((r) => r.url)));
    let broken = 0, lastError = 0;
    const results = await load(300, 16, async (i) => {
      if (i === 100) { await happen(replicas[1]); broken = performance.now(); }
      const began = performance.now(), result = await events(server, ask(`question ${i}`));
      if (performance.now() - began > 150 || result.errors > 0) lastError = performance.now();
      return result;
    });
    const failed = results.filter((r) => r.errors > 0);
    for (const r of results) {
      if (r.errors === 0) assert.equal(r.text, 'a b', r.raw);
      else assert.ok(r.errors === 1 && (r.text === 'a ' || r.text === 'half') && !r.end, r.raw);
    }
    t.diagnostic(`${failed.length} of 300 had begun and got one error; the last that noticed ended ` +
      `${Math.max(0, lastError - broken).toFixed(0)} ms after the fault`);
    if (name.startsWith('connections')) {
      assert.ok(failed.length <= 8);
      const again = await Replica.start(t, unhurried, replicas[1].port);
      const from = performance.now();
      for (let i = 0; again.bodies.length === 0; i++) {
        assert.equal((await events(server, ask(`again ${i}`))).errors, 0);
        assert.ok(performance.now() - from < limit(5000));
      }
      t.diagnostic(`asked again ${(performance.now() - from).toFixed(0)} ms after it came back`);
    } else if (!name.startsWith('half')) assert.equal(failed.length, 0);
  });

// It comes with the end of its answer, so that none of it was passed on.
test('half an answer that nobody has seen is asked for again', async (t) => {
  const replicas = await start(t, 2, answers());
  replicas[0].script = (request, response) => { streaming(response); response.end(say('half')); };
  const server = await serve(t, withPool(t, replicas.map((r) => r.url)));
  for (let i = 0; i < 8; i++) {
    const r = await events(server, ask(`question ${i}`));
    assert.deepEqual([r.errors, r.text], [0, 'well'], r.raw);
  }
  assert.ok(replicas[0].bodies.length > 0);
});

test('a certificate that is nobody\'s, and a name that nobody has: the others answer', async (t) => {
  const folder = temporaryFolder(t), file = (name) => path.join(folder, name);
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=elsewhere', '-days', '1',
    '-keyout', file('key'), '-out', file('certificate')], { stdio: 'ignore' });
  let asked = 0;
  const secure = https.createServer({ key: fs.readFileSync(file('key')), cert: fs.readFileSync(file('certificate')) },
    (request, response) => { asked++; response.end(); });
  await new Promise((resolve) => secure.listen(0, '127.0.0.1', resolve));
  t.after(() => secure.close());
  const [replica] = await start(t, 1, answers());
  const server = await serve(t, withPool(t, [
    `https://127.0.0.1:${secure.address().port}/v1`, 'http://no-such-host.invalid:8000/v1', replica.url]));
  for (const r of await load(60, 6, (i) => events(server, ask(`question ${i}`)))) assert.deepEqual([r.errors, r.text], [0, 'well'], r.raw);
  assert.equal(asked, 0);
});

// A certificate by an authority of our own, one like it that is over, and one by nobody.
function makeCertificates(t) {
  const folder = temporaryFolder(t), file = (name) => path.join(folder, name);
  const openssl = (...args) => execFileSync('openssl', args, { stdio: 'ignore' });
  const read = (key, cert) => ({ key: fs.readFileSync(file(key)), cert: fs.readFileSync(file(cert)) });
  fs.writeFileSync(file('names'), 'subjectAltName=IP:127.0.0.1');
  openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=authority', '-days', '1', '-keyout', file('ca.key'), '-out', file('ca.pem'));
  openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=replica', '-keyout', file('key'), '-out', file('request'));
  const sign = (days, name) => openssl('x509', '-req', '-in', file('request'), '-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-set_serial', String(days + 2),
    '-days', String(days), '-extfile', file('names'), '-out', file(name));
  sign(1, 'good');
  sign(-1, 'over');
  openssl('req', '-x509', '-key', file('key'), '-subj', '/CN=replica', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '1', '-out', file('own'));
  return { authority: file('ca.pem'), good: read('key', 'good'), over: read('key', 'over'), own: read('key', 'own') };
}

// How many had begun, and got one error; all others have their answer.
function countLost(results) {
  for (const r of results)
    if (r.errors === 0) assert.equal(r.text, 'a b', r.raw);
    else assert.ok(r.errors === 1 && r.text === 'a ' && !r.end, r.raw);
  return results.filter((r) => r.errors > 0).length;
}

async function askedAgain(t, server, replica) {
  const before = replica.bodies.length, from = performance.now();
  for (let i = 0; replica.bodies.length === before; i++) {
    assert.equal((await events(server, ask(`again ${i}`))).errors, 0);
    assert.ok(performance.now() - from < limit(5000));
  }
  t.diagnostic(`asked again ${(performance.now() - from).toFixed(0)} ms after it was in order`);
}

for (const kind of ['over', 'own'])
  test(`in mid-load, at one of four: a certificate that is ${kind === 'own' ? 'nobody\'s' : 'over'}`, async (t) => {
    const { authority, good, ...bad } = makeCertificates(t);
    const replicas = [await Replica.start(t, unhurried, 0, good), ...await start(t, 3, unhurried)];
    const server = await serve(t, withPool(t, replicas.map((r) => r.url), quick, `, ca_file: ${authority}`));
    let asked = 0;
    const results = await load(300, 16, (i) => {
      if (i === 100) { asked = replicas[0].bodies.length; replicas[0].certify(bad[kind]); replicas[0].cut(); }
      return events(server, ask(`question ${i}`));
    });
    assert.ok(asked > 0);
    const lost = countLost(results);
    t.diagnostic(`${lost} of 300 had begun and got one error`);
    assert.ok(lost <= 8);
    assert.ok(replicas[0].bodies.length <= asked + 1, 'nobody asks it'); // one may have been on its way
    replicas[0].certify(good);
    await askedAgain(t, server, replicas[0]);
  });

// In a namespace of its own the server has its own /etc/hosts, and no resolver.
const ownNames = (hosts, resolver) => ['unshare', '--mount', 'sh', '-c',
  'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/resolv.conf && shift && exec "$@"', hosts, resolver];
const canUnshare = spawnSync('unshare', ['--mount', 'true']).status === 0;
test('in mid-load, at one of four: a name that is gone', { skip: !canUnshare && 'needs root' }, async (t) => {
  const folder = temporaryFolder(t), hosts = path.join(folder, 'hosts'), resolver = path.join(folder, 'resolv.conf');
  const withName = '127.0.0.1 localhost\n127.0.0.1 replica.test\n';
  fs.writeFileSync(hosts, withName);
  fs.writeFileSync(resolver, 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n');
  const replicas = await start(t, 4, unhurried);
  replicas[0].script = async (request, response) => { // so that each request looks the name up, or remembers it
    response.setHeader('Connection', 'close');
    await unhurried(request, response);
  };
  replicas[0].health = (request, response) => { response.setHeader('Connection', 'close'); response.end('{"data": []}'); };
  const urls = [replicas[0].url.replace('127.0.0.1', 'replica.test'), ...replicas.slice(1).map((r) => r.url)];
  const server = await Server.start({ args: ['--config', withPool(t, urls)], within: ownNames(hosts, resolver) });
  t.after(() => server.stop());
  const results = [], began = performance.now();
  let gone = 0, last = 0;
  await Promise.all(Array.from({ length: 6 }, async () => {
    for (let i = 0; performance.now() - began < 9000; i++) {
      if (gone === 0 && performance.now() - began > 1000) {
        gone = performance.now();
        assert.ok(replicas[0].bodies.length > 0);
        fs.writeFileSync(hosts, '127.0.0.1 localhost\n');
      }
      const before = replicas[0].bodies.length;
      results.push(await events(server, ask(`question ${i} ${results.length}`)));
      if (replicas[0].bodies.length > before) last = performance.now();
    }
  }));
  assert.equal(countLost(results), 0);
  t.diagnostic(`none of ${results.length} was lost; the name's server was asked for ${(last - gone).toFixed(0)} ms more`);
  assert.ok(last - gone < 7000 * patience, 'its address is forgotten');
  fs.writeFileSync(hosts, withName);
  await askedAgain(t, server, replicas[0]);
});

test('all are gone: an error after the time to wait; one comes back and answers those that wait', async (t) => {
  const replicas = await start(t, 2, answers());
  const server = await serve(t, withPool(t, replicas.map((r) => r.url), 'health_ms: 100, wait_ms: 1500, slow_start_ms: 0'));
  const ports = replicas.map((r) => r.port);
  await Promise.all(replicas.map((r) => r.close()));
  const { status, body } = await server.json('/v1/chat/completions', ask('x'));
  assert.equal(status, 500);
  assert.match(body.error.message, /server of model 'large'/);
  const waits = events(server, ask('x'));
  await sleep(200);
  await Replica.start(t, answers('back'), ports[0]);
  assert.equal((await waits).text, 'back');
});

// Two seconds at a server are no waiting for one.
test('longer at a server that fails than requests wait for one: the next one answers', async (t) => {
  let failed = 0;
  const script = async (request, response) => {
    if (failed++ > 0) return answers()(request, response);
    await sleep(2000);
    return response.destroy();
  };
  const replicas = await start(t, 2, script);
  const server = await serve(t, withPool(t, replicas.map((r) => r.url), 'health_ms: 0, wait_ms: 1000, slow_start_ms: 0'));
  assert.equal((await events(server, ask('x'))).text, 'well');
  assert.equal(failed, 2);
});

test('a full queue is told at once, and who waited longest goes first', async (t) => {
  const order = [];
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  const replicas = await start(t, 1, async (request, response, body) => {
    order.push(body.messages[0].content);
    await held;
    await answers()(request, response);
  });
  const server = await serve(t, withPool(t, [replicas[0].url], 'limit: 1, queue: 4, health_ms: 0, wait_ms: 20000'));
  const waiting = [];
  for (let i = 0; i < 5; i++) {
    waiting.push(events(server, ask(`${i}`)));
    await until('it came', async () => (await server.running()) === i + 1);
  }
  const { status, headers } = await server.json('/v1/chat/completions', ask('one more'));
  assert.equal(status, 429);
  assert.ok(Number(headers.get('retry-after')) >= 1);
  release();
  for (const r of await Promise.all(waiting)) assert.equal(r.errors, 0);
  assert.deepEqual(order, ['0', '1', '2', '3', '4']);
});

test('SIGHUP: servers come and go, and no stream ends', async (t) => {
  const steady = async (request, response) => {
    streaming(response);
    for (let i = 0; i < 20 && !response.destroyed; i++) { response.write(say(`${i} `)); await sleep(25); }
    response.end(end() + done);
  };
  const replicas = await start(t, 4, steady);
  const file = withPool(t, replicas.slice(0, 2).map((r) => r.url));
  const server = await serve(t, file);
  const first = Array.from({ length: 8 }, (_, i) => events(server, ask(`before ${i}`)));
  await until('all stream', async () => replicas[0].bodies.length + replicas[1].bodies.length === 8);
  const before = replicas[0].bodies.length;
  const text = fs.readFileSync(file, 'utf8');
  fs.writeFileSync(file, text.replace(/  - \{name: large.*\n/, poolOf(replicas.slice(1).map((r) => r.url))));
  server.child.kill('SIGHUP');
  await until('it was read', () => server.log.includes("model 'large': 2 servers came, 1 left, 3 serve it"));
  assert.ok(!server.log.includes("configuration's models changed"));
  const later = await load(24, 8, (i) => events(server, ask(`after ${i}`)));
  for (const r of [...await Promise.all(first), ...later]) assert.deepEqual([r.errors, r.text.split(' ').length], [0, 21]);
  assert.equal(replicas[0].bodies.length, before);
  assert.ok(replicas[2].bodies.length > 0 && replicas[3].bodies.length > 0);
  assert.ok(await metric(server, 'a_io_replica_requests_total', ['model="large"', replicas[2].url]) > 0);
  assert.equal(await metric(server, 'a_io_replica_requests_total', [replicas[0].url]), undefined);
});

test('SIGHUP: another limit counts for servers that are there', async (t) => {
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  const replicas = await start(t, 1, async (request, response) => {
    await held;
    await answers()(request, response);
  });
  const file = withPool(t, [replicas[0].url], 'limit: 1, health_ms: 0, wait_ms: 60000');
  const server = await serve(t, file);
  const waiting = [events(server, ask('0')), events(server, ask('1'))];
  await until('both are there', async () => (await server.running()) === 2);
  await until('the first one was sent', () => replicas[0].bodies.length > 0);
  assert.equal(replicas[0].bodies.length, 1);
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('limit: 1', 'limit: 2'));
  server.child.kill('SIGHUP');
  await until('the second one was sent', () => replicas[0].bodies.length === 2);
  release();
  for (const r of await Promise.all(waiting)) assert.equal(r.errors, 0);
});

test('short requests are sent twice where the first server is slower than nearly all', async (t) => {
  let slow = false;
  const replicas = await start(t, 2, async (request, response) => {
    if (slow) { slow = false; await sleep(3000); }
    await answers()(request, response);
  });
  const server = await serve(t, withPool(t, replicas.map((r) => r.url), `${quick}, hedge_tokens: 50`));
  await earnHedges(replicas, 1, (i) => events(server, ask(`question ${i}`)));
  const hedged = async () => (await Promise.all(
    replicas.map((r) => metric(server, 'a_io_replica_hedged_total', [r.url])))).reduce((a, b) => a + b);
  const before = replicas[0].bodies.length + replicas[1].bodies.length, hedgedBefore = await hedged();
  slow = true;
  const began = performance.now();
  assert.equal((await events(server, ask('now'))).text, 'well');
  assert.ok(performance.now() - began < limit(500));
  const asked = replicas[0].bodies.length + replicas[1].bodies.length - before;
  assert.ok(asked >= 2);
  assert.equal(await hedged() - hedgedBefore, asked - 1);
  slow = true;
  assert.equal((await events(server, ask('long', { max_tokens: 51 }))).text, 'well');
  assert.ok(performance.now() - began > 3000);
  await until('the slow one was let go', () => replicas[0].gone + replicas[1].gone >= 1);
});

test('two pools of one model: a plan with lookup goes where speculation is on, else or where that is gone to the other', async (t) => {
  const [plain, fast] = await start(t, 2, answers());
  const server = await serve(t, withPool(t, [plain.url], quick, `, lookup_replicas: ["${fast.url}"]`));
  await events(server, ask('x', { prompt_lookup_num_tokens: 0 }));
  assert.deepEqual([plain.bodies.length, fast.bodies.length], [1, 0]);
  await events(server, ask('y'));
  assert.deepEqual([plain.bodies.length, fast.bodies.length], [1, 1]);
  await fast.close();
  assert.equal((await events(server, ask('z'))).text, 'well');
  assert.equal(plain.bodies.length, 2);
});

test('what a configuration of a pool cannot mean is refused', (t) => {
  const check = (...args) => {
    const result = run(['serve', '--check', '--config', withPool(t, ...args)]);
    return `${result.status} ${result.stderr}`;
  };
  const url = 'http://127.0.0.1:9/v1';
  assert.match(check([url, url]), /replicas: names one server twice/);
  assert.match(check([url], quick, ', slots: 3'), /slots: is for models with a path/);
  assert.match(check([url], quick, `, url: "${url}"`), /either a path/);
  assert.match(check(['ftp://x/v1']), /replicas: must be http/);
  assert.match(check([url], 'health_path: health'), /health_path/);
  assert.match(check([url], 'wait_ms: 99999999'), /wait_ms/);
});

test('a model alone, at several servers: they come and go, too', async (t) => {
  const [first, second] = await start(t, 2, answers());
  const file = path.join(temporaryFolder(t), 'one.yaml');
  const write = (url) => fs.writeFileSync(file, `version: 1\nmodels:\n  - {name: big, replicas: ["${url}"], pool: {${quick}}}\n`);
  write(first.url);
  const server = await serve(t, file);
  const body = { messages: [{ role: 'user', content: 'x' }] };
  assert.equal((await server.json('/v1/chat/completions', body)).status, 200);
  write(second.url);
  server.child.kill('SIGHUP');
  await until('it was read', () => server.log.includes("model 'big': 1 servers came, 1 left"));
  assert.equal((await server.json('/v1/chat/completions', body)).status, 200);
  assert.deepEqual([first.bodies.length, second.bodies.length], [1, 1]);
});
