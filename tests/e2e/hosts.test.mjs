// A model at four hosts: network namespaces with a cable each, which loses packets, and answers that take their time. A
// cable is pulled and put back, a process is killed (kill -9). Needs root; else it is skipped.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Server, changedConfig, limit, temporaryFolder, until } from './helper.mjs';

const hosts = [1, 2, 3, 4];
const name = (i) => `aio-pool-${i}`, cable = (i) => `aiopool${i}`, address = (i) => `10.213.${i}.2`;
const command = (text) => spawnSync('sh', ['-c', text], { encoding: 'utf8' });
const must = (text) => { const r = command(text); assert.equal(r.status, 0, `${text}: ${r.stderr}`); };

function build(t) {
  t.after(() => hosts.forEach((i) => command(`ip netns del ${name(i)}; ip link del ${cable(i)}`)));
  for (const i of hosts) {
    command(`ip netns del ${name(i)}; ip link del ${cable(i)}`);
    must(`ip netns add ${name(i)} && ip link add ${cable(i)} type veth peer name eth0 netns ${name(i)} &&
      ip addr add 10.213.${i}.1/24 dev ${cable(i)} && ip link set ${cable(i)} up &&
      ip netns exec ${name(i)} sh -c 'ip addr add ${address(i)}/24 dev eth0; ip link set eth0 up; ip link set lo up'`);
    must(`ip netns exec ${name(i)} iptables -A INPUT -m statistic --mode random --probability 0.01 -j DROP`);
  }
}

// Each piece of an answer comes 15 ms late: this kernel cannot hold packets back (no netem), so the host does.
const program = `import http from 'node:http';
  const late = () => new Promise((resolve) => setTimeout(resolve, 15));
  const chunk = (delta, finish = null) => 'data: ' + JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] }) + '\\n\\n';
  http.createServer(async (request, response) => {
    if (request.method === 'GET') { await late(); return response.end('{"data": []}'); }
    for await (const piece of request) ;
    await late();
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    for (const text of ['a ', 'b ', 'c']) { response.write(chunk({ content: text })); await late(); }
    response.end(chunk({}, 'stop') + 'data: [DONE]\\n\\n');
    console.log('asked');
  }).listen(8000, '0.0.0.0', () => console.log('ready'));`;

async function launch(t, file, i) {
  const child = spawn('ip', ['netns', 'exec', name(i), process.execPath, file], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const host = { child, asked: 0, ready: false };
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (text) => { host.asked += text.split('asked').length - 1; host.ready ||= text.includes('ready'); });
  await until('the host listens', () => host.ready);
  return host;
}

async function ask(server, content) {
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ model: 'large', messages: [{ role: 'user', content }], stream: true, max_tokens: 9 }),
  });
  const raw = await response.text();
  const list = raw.split('\n\n').filter((e) => e.startsWith('data: {')).map((e) => JSON.parse(e.slice(6)));
  return { raw, text: list.map((e) => e.choices?.[0]?.delta?.content ?? '').join(''), errors: list.filter((e) => e.error).length + (response.status !== 200) };
}

async function load(server, n, width, at, happen) {
  const results = [];
  let next = 0;
  await Promise.all(Array.from({ length: width }, async () => {
    while (next < n) {
      const i = next++;
      if (i === at) happen();
      results[i] = await ask(server, `question ${at} ${i}`);
    }
  }));
  return results;
}

// Whoever had no text gets an answer; whoever had some gets the rest, to its end, or one error.
function check(results) {
  for (const r of results)
    if (r.errors === 0) assert.equal(r.text, 'a b c', r.raw);
    else assert.ok(r.errors === 1 && 'a b c'.startsWith(r.text) && r.text !== '', r.raw);
  return results.filter((r) => r.errors > 0).length;
}

const isAble = process.getuid() === 0 && command(`ip netns add ${name(0)} && ip netns del ${name(0)} && command -v iptables`).status === 0;

test('hosts apart: lost packets, a cable pulled and put back, a process killed', { skip: !isAble && 'needs root, ip netns and iptables' }, async (t) => {
  build(t);
  const file = path.join(temporaryFolder(t), 'host.mjs');
  fs.writeFileSync(file, program);
  const all = await Promise.all(hosts.map((i) => launch(t, file, i)));
  const urls = hosts.map((i) => `"http://${address(i)}:8000/v1"`).join(', ');
  const config = changedConfig(t, (text) => text.replace(/  - name: large\n.*\n.*\n.*\n/,
    `  - {name: large, replicas: [${urls}], connect_ms: 1000, idle_ms: 2000, pool: {health_ms: 300, slow_start_ms: 300, wait_ms: 20000}}\n`));
  const server = await Server.start({ args: ['--config', config] });
  t.after(() => server.stop());
  assert.equal(check(await load(server, 200, 16)), 0);
  for (const h of all) assert.ok(h.asked > 20);
  const pulled = check(await load(server, 300, 16, 100, () => must(`ip netns exec ${name(2)} iptables -I INPUT -j DROP`)));
  must(`ip netns exec ${name(2)} iptables -D INPUT -j DROP`);
  const before = all[1].asked, from = performance.now();
  for (let i = 0; all[1].asked === before; i++) {
    assert.equal((await ask(server, `back ${i}`)).errors, 0);
    assert.ok(performance.now() - from < limit(5000));
  }
  t.diagnostic(`cable pulled: ${pulled} of 300 had begun and got one error; asked again ${(performance.now() - from).toFixed(0)} ms after it was put back`);
  const killed = check(await load(server, 300, 16, 100, () => all[2].child.kill('SIGKILL')));
  t.diagnostic(`kill -9: ${killed} of 300 had begun and got one error`);
});
