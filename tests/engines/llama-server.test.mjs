// Models at llama.cpp's own server (the Python package xllamacpp): the large one with the small one here, both, with the
// probe there too, two of them as one model of which one is killed, and prices with the delays that it really has.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Server, root, until } from '../e2e/helper.mjs';
import { Engine, ask, config, folder, lacks, largeFile, remote, rules, smallFile, streamed } from './engine.mjs';
import { pairTests } from './pair.mjs';

const skip = lacks(smallFile, largeFile);
const start = (file, port) => Engine.start(
  (at) => [path.join(folder, 'bin/python'), [path.join(root, 'tests/engines/llama_server.py'), file, String(at)], {}],
  async (engine) => JSON.parse(await engine.text('/slots')).filter((slot) => slot.is_processing).length, port);

let small, large;
before(async () => { if (!skip) [small, large] = await Promise.all([start(smallFile), start(largeFile)]); });
after(() => [small, large].forEach((engine) => engine?.kill()));

pairTests('llama.cpp\'s server', { skip, engines: () => ({ small, large }), parsesCalls: false });

const metrics = async (server) => (await fetch(`${server.url}/metrics`)).text();
const metric = (text, name, label) => Number(text.split('\n').find((line) => line.startsWith(`${name}{`) && line.includes(label))?.split(' ').at(-1));

test('two llama.cpp servers are one model: one is killed in mid-load, and comes back', { skip }, async (t) => {
  const replicas = await Promise.all([start(smallFile), start(smallFile)]);
  t.after(() => replicas.forEach((engine) => engine.kill()));
  const urls = replicas.map((engine) => `"${engine.url}/v1"`).join(', ');
  const server = await Server.start({ args: ['--config', config(
    `  - {name: large, replicas: [${urls}], context: 4096, pool: {health_ms: 300, health_path: /health, wait_ms: 120000}}`)] });
  t.after(() => server.stop());
  const results = [];
  let next = 0;
  await Promise.all(Array.from({ length: 4 }, async () => {
    while (next < 32) {
      const i = next++;
      if (i === 12) replicas[1].kill();
      results.push(await streamed(server, ask(`Say something about the number ${i}.`, { max_tokens: 16 })));
    }
  }));
  const failed = results.filter((r) => r.errors > 0);
  for (const r of results) {
    if (r.errors === 0) assert.ok(r.isWhole && r.events.at(-1).usage.completion_tokens > 0, r.raw);
    else assert.ok(r.status === 200 && r.errors === 1 && r.text !== '' && !r.isWhole, r.raw); // it had begun
  }
  assert.ok(failed.length <= 4, `${failed.length}`);
  const text = await metrics(server);
  const counts = replicas.map((engine) => metric(text, 'a_io_replica_requests_total', engine.url));
  assert.ok(counts.every((n) => n > 0), `${counts}`);

  const again = await start(smallFile, replicas[1].port);
  t.after(() => again.kill());
  const from = performance.now();
  for (let i = 0; metric(await metrics(server), 'a_io_replica_requests_total', again.url) === counts[1]; i++) {
    assert.equal((await streamed(server, ask(`Again ${i}.`, { max_tokens: 2 }))).errors, 0);
    assert.ok(i < 200);
  }
  t.diagnostic(`${failed.length} of ${results.length} had begun and got one error; ` +
    `asked again ${(performance.now() - from).toFixed(0)} ms after it was back`);
});

test('prices, and the cheapest that is soon there, by what the engines really take', { skip }, async (t) => {
  const priced = (line, price) => line.replace(/\}$/, `, price: ${price}}`);
  const within = (ms) => rules.replace('{name: code, intent: code, model: small}', `{name: soon, cheapest_within_ms: ${ms}}`);
  const models = [priced(remote('small', small), '{input: 1, output: 2}'), priced(remote('large', large), '{input: 10, output: 20}')];
  const file = config(...models, within(600000));
  const server = await Server.start({ args: ['--config', file] });
  t.after(() => server.stop());
  const plan = async () => {
    const { status, body, headers } = await server.json('/v1/chat/completions', ask('What is the capital of France?', { max_tokens: 4 }));
    assert.equal(status, 200, JSON.stringify(body));
    const times = body.a_io.plan.model === 'small' ? 1 : 10;
    const cost = times * (body.usage.prompt_tokens + 2 * body.usage.completion_tokens) / 1e6;
    for (const told of [body.a_io.receipt.cost, Number(headers.get('x-a-io-cost'))]) assert.ok(Math.abs(told - cost) < 1e-9, `${told} ${cost}`);
    return [body.a_io.plan.model, body.a_io.plan.rule];
  };
  assert.deepEqual(await plan(), ['small', 'soon']);
  const told = await metrics(server);
  assert.ok(metric(told, 'a_io_expected_delay_seconds', 'model="small"') > 0.001);
  assert.ok(metric(told, 'a_io_cost_total', 'model="small"') > 0);

  // A millisecond is less than the small one has taken; the large one was never asked. Then neither is soon there.
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('600000', '1'));
  server.child.kill('SIGHUP');
  await until('the rules were read', async () => (await server.json('/v1/policy')).body.rules[0].cheapest_within_ms === 1);
  assert.deepEqual(await plan(), ['large', 'soon']);
  assert.deepEqual(await plan(), ['large', 'rest']);
});
