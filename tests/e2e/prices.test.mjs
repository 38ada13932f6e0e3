// Prices: what answers cost in every place that tells it, the cheapest model that is soon there, and a key's budget.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { changedConfig, run, Server, temporaryFolder, until } from './helper.mjs';

const priced = (text) => text.replace(/(name: small\n)/, '$1    price: {input: 10, output: 20}\n')
  .replace(/(name: large\n)/, '$1    price: {input: 1000, output: 2000}\n');
const withRules = (rules) => (text) => priced(text).replace(/policy:\n[^]*?\n\n/, `policy:\n  name: rules\n  rules:\n${rules}\n\n`);
const ask = (content, more) => ({ messages: [{ role: 'user', content }], max_tokens: 5, temperature: 0, ...more });
const near = (a, b) => Math.abs(a - b) <= 1e-6 * Math.abs(b);

test('what an answer costs is told everywhere', async (t) => {
  const file = path.join(temporaryFolder(t), 'decisions.jsonl');
  const config = changedConfig(t, (text) => `${priced(text).replace(/\n# decisions:[^]*$/, '\n')}decisions:\n  file: ${file}\n`);
  const server = await Server.start({ args: ['--config', config] });
  t.after(() => server.stop());

  const { headers, body } = await server.json('/v1/chat/completions', ask('Who wrote Faust?', { model: 'large' }));
  const wanted = (usage) => (1000 * usage.prompt_tokens + 2000 * usage.completion_tokens) / 1e6;
  assert.ok(near(body.a_io.receipt.cost, wanted(body.usage)), JSON.stringify(body.a_io.receipt));
  assert.ok(near(Number(headers.get('x-a-io-cost')), wanted(body.usage)));

  // Routed: the probe's tokens are the small model's, and are paid for as well.
  const routed = (await server.json('/v1/chat/completions', ask('Who wrote Faust?'))).body;
  assert.equal(routed.a_io.plan.model, 'large');
  const probe = 10 * routed.a_io.receipt.probe.prompt_tokens / 1e6;
  assert.ok(probe > 0 && near(routed.a_io.receipt.cost, wanted(routed.usage) + probe));

  // Two replies to one prompt: it is paid for once.
  const two = await server.json('/v1/chat/completions', ask('Who wrote Faust?', { model: 'large', n: 2 }));
  assert.ok(near(Number(two.headers.get('x-a-io-cost')), wanted(two.body.usage)));

  const streamed = await fetch(`${server.url}/v1/chat/completions`, { method: 'POST',
    headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(ask('Who wrote Faust?', { model: 'large', stream: true })) });
  const events = (await streamed.text()).split('\n\n').filter((line) => line.startsWith('data: {')).map((line) => JSON.parse(line.slice(6)));
  assert.ok(near(events.at(-1).a_io.receipt.cost, body.a_io.receipt.cost));

  await server.idle();
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  const spent = Number(/a_io_cost_total\{model="large"\} (\S+)/.exec(metrics)[1]);
  const all = [body.a_io.receipt.cost, routed.a_io.receipt.cost, Number(two.headers.get('x-a-io-cost')), body.a_io.receipt.cost];
  assert.ok(near(spent, all.reduce((a, b) => a + b)), `${spent} of ${all}`);
  assert.match(metrics, /a_io_expected_delay_seconds\{model="large"\} 0\.\d+/);
  const lines = fs.readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  assert.ok(near(lines[1].receipt.cost, body.a_io.receipt.cost));
  assert.ok(lines[2].facts.load.large.delay_ms > 0); // the first answer was measured
  assert.equal(run(['replay', '--decisions', file]).status, 0);
});

test('without prices nothing is said of costs', async (t) => {
  const server = await Server.start({ args: ['--config', changedConfig(t, (text) => text)] });
  t.after(() => server.stop());
  const { headers, body } = await server.json('/v1/chat/completions', ask('Who wrote Faust?'));
  assert.equal(headers.get('x-a-io-cost'), null);
  assert.ok(!('cost' in body.a_io.receipt));
});

test('SIGHUP reads prices again', async (t) => {
  const config = changedConfig(t, priced);
  const server = await Server.start({ args: ['--config', config] });
  t.after(() => server.stop());
  const cost = async () => (await server.json('/v1/chat/completions', ask('Who wrote Faust?', { model: 'large' }))).body.a_io.receipt.cost;
  const before = await cost();
  fs.writeFileSync(config, fs.readFileSync(config, 'utf8').replace('{input: 1000, output: 2000}', '{input: 2000, output: 4000}'));
  server.child.kill('SIGHUP');
  await until('the new price counts', async () => near(await cost(), 2 * before));
});

test('the cheapest that is soon there', async (t) => {
  const config = changedConfig(t, withRules('    - {name: soon, cheapest_within_ms: 60000}\n    - {name: rest, model: large}'));
  const server = await Server.start({ args: ['--config', config] });
  t.after(() => server.stop());
  const { body } = await server.json('/v1/chat/completions', ask('Who wrote Faust?'));
  assert.deepEqual([body.a_io.plan.model, body.a_io.plan.rule], ['small', 'soon']);
  const rules = (await server.json('/v1/policy')).body.rules;
  assert.equal(rules[0].cheapest_within_ms, 60000);
  assert.ok(!('model' in rules[0]));
});

test('a budget that is spent', async (t) => {
  const keys = path.join(temporaryFolder(t), 'keys');
  fs.writeFileSync(keys, 'ann a-key budget=0.02/month\nbob b-key\n', { mode: 0o600 });
  const config = changedConfig(t, (text) => priced(text).replace(/^server:\n/m, `server:\n  keys_file: ${keys}\n`));
  const server = await Server.start({ args: ['--config', config] });
  t.after(() => server.stop());
  const chat = (key) => server.json('/v1/chat/completions', ask('Who wrote Faust?', { model: 'large' }), { Authorization: `Bearer ${key}` });
  const first = await chat('a-key');
  assert.equal(first.status, 200);
  assert.ok(first.body.a_io.receipt.cost > 0.02); // what a request costs is known at its end
  const refused = await chat('a-key');
  assert.equal(refused.status, 429);
  assert.deepEqual([refused.body.error.type, refused.body.error.code], ['insufficient_quota', 'insufficient_quota']);
  assert.match(refused.body.error.message, /'ann' has spent its budget of 0\.02 a month/);
  assert.ok(Number(refused.headers.get('retry-after')) > 0);
  assert.equal(refused.headers.get('x-should-retry'), 'false');
  const claude = await server.json('/v1/messages', { model: 'large', max_tokens: 4, messages: [{ role: 'user', content: 'Hi' }] }, { 'x-api-key': 'a-key' });
  assert.deepEqual([claude.status, claude.body.error.type], [429, 'rate_limit_error']);
  assert.equal((await chat('b-key')).status, 200);
  // Another key for the same name has spent as much; a larger budget has room again.
  fs.writeFileSync(keys, 'ann c-key budget=0.02/month\n');
  server.child.kill('SIGHUP');
  await until('the other key counts', async () => (await chat('c-key')).status === 429);
  fs.writeFileSync(keys, 'ann c-key budget=5/month\n');
  server.child.kill('SIGHUP');
  await until('there is room', async () => (await chat('c-key')).status === 200);
});

test('what was spent is kept over a restart, and over kill -9', async (t) => {
  const folder = temporaryFolder(t), keys = path.join(folder, 'keys'), spent = path.join(folder, 'spent.json');
  fs.writeFileSync(keys, 'ann a-key budget=0.02/month\nbob b-key budget=0.02/month\n', { mode: 0o600 });
  const config = changedConfig(t, (text) => priced(text).replace(/^server:\n/m, `server:\n  keys_file: ${keys}\n  budget_file: ${spent}\n`));
  const chat = (server, key) => server.json('/v1/chat/completions', ask('Who wrote Faust?', { model: 'large' }), { Authorization: `Bearer ${key}` });
  const kept = (name) => JSON.parse(fs.readFileSync(spent, 'utf8')).spent[name].amount;
  let server = await Server.start({ args: ['--config', config] });
  assert.equal((await chat(server, 'a-key')).status, 200);
  await server.stop();
  assert.ok(kept('ann') > 0.02 && kept('bob') === 0);

  server = await Server.start({ args: ['--config', config] });
  assert.equal((await chat(server, 'a-key')).status, 429);
  assert.equal((await chat(server, 'b-key')).status, 200);
  await until('it is kept', () => kept('bob') > 0.02);
  server.child.kill('SIGKILL');
  await server.ended;
  server = await Server.start({ args: ['--config', config] });
  assert.equal((await chat(server, 'b-key')).status, 429);
  await server.stop();
  fs.writeFileSync(spent, '{"spent": 3}');
  const end = run(['serve', '--port', '0', '--config', config]);
  assert.equal(end.status, 4);
  assert.match(end.stderr, /spent\.json: it does not say what keys have spent/);
});

test('budgets need prices', (t) => {
  const keys = path.join(temporaryFolder(t), 'keys');
  fs.writeFileSync(keys, 'ann a-key budget=1/day\n', { mode: 0o600 });
  const config = changedConfig(t, (text) => text.replace(/^server:\n/m, `server:\n  keys_file: ${keys}\n`));
  const end = run(['serve', '--port', '0', '--config', config]);
  assert.equal(end.status, 4);
  assert.match(end.stderr, /no model has a price/);
  fs.writeFileSync(keys, 'ann a-key budget=1/week\n');
  assert.match(run(['serve', '--port', '0', '--config', config]).stderr, /line 1: .*budget=AMOUNT\/hour/);
});
