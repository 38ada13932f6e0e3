// What a client and an operator see of decisions: conversations, headers, limits, counters, the log.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { changedConfig, program, root, run, Server, smallModel, temporaryFolder } from './helper.mjs';

const rules = `policy:
  name: rules
  rules:
    - {name: nightly, headers: [{name: x-job, value: nightly}], model: small, max_tokens: 3, sampling: {temperature: 0}}
    - {name: even, above_entropy: 0.45, model: large}
    - {name: sure, intents: [code], model: small}
    - {name: narrow, max_margin: 0.2, model: large}
`;

const ask = (content, more) => ({ messages: [{ role: 'user', content }], max_tokens: 8, temperature: 0, ...more });
const code = 'Write a function add_numbers(a, b) that returns the sum.';

test('rules, conversations and the log', async (t) => {
  const file = path.join(temporaryFolder(t), 'decisions.jsonl');
  const config = changedConfig(t, (text) => `${text.replace(/policy:[^]*?\n\n/, `${rules}\n`)
    .replace(/\n# decisions:[^]*$/, '\n')}decisions:\n  file: ${file}\n`);
  const server = await Server.start({ args: ['--config', config] });
  t.after(() => server.stop());
  const chat = (body, headers) => server.json('/v1/chat/completions', body, headers);

  const nightly = await chat(ask('Who wrote Faust?', { temperature: undefined }), { 'X-Job': 'nightly', 'x-session-id': 'n' });
  assert.equal(nightly.headers.get('x-a-io-reason'), 'nightly');
  assert.equal(nightly.headers.get('x-a-io-intent'), null); // no probe
  assert.ok(nightly.body.usage.completion_tokens <= 3);
  assert.deepEqual(nightly.body.a_io.plan.sampling, { temperature: 0 });

  const first = await chat(ask(code), { 'x-session-id': 'one' });
  assert.equal(first.headers.get('x-a-io-model'), 'small');
  assert.ok(first.body.timings.cache_n >= first.body.usage.prompt_tokens - 1); // the probe's prefill
  const second = await chat(ask('Who wrote Faust?'), { 'x-session-id': 'one' });
  assert.equal(second.headers.get('x-a-io-model'), 'large');
  const third = await chat(ask(code), { 'x-session-id': 'one' });
  assert.deepEqual([third.headers.get('x-a-io-model'), third.headers.get('x-a-io-reason')], ['large', 'session']);
  const pinned = await chat(ask(code, { model: 'small' }));
  assert.equal(pinned.headers.get('x-a-io-fallback'), 'pinned');
  const two = await chat(ask(code, { model: 'small', n: 2 })); // one decision, two replies
  assert.equal(two.body.choices.length, 2);
  const streamed = await fetch(`${server.url}/v1/chat/completions`,
    { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(ask(code, { stream: true })) });
  const events = (await streamed.text()).split('\n\n').filter((line) => line.startsWith('data: {')).map((line) => JSON.parse(line.slice(6)));
  assert.equal(events.at(-1).a_io.plan.rule, 'sure');

  for (const bad of ['', 'x'.repeat(257)]) {
    const refused = await chat(ask(code), { 'x-session-id': bad });
    assert.equal(refused.status, 400);
    assert.equal(refused.body.error.param, 'x-session-id');
  }
  const policy = (await server.json('/v1/policy')).body;
  assert.deepEqual(policy.rules.map((rule) => rule.name), ['nightly', 'even', 'sure', 'narrow', 'no_rule']);
  assert.ok(!('pinned' in policy.counts.fallbacks)); // who names a model falls back from nothing
  assert.equal(policy.counts.kept, 1);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  assert.doesNotMatch(metrics, /reason="pinned"/);
  assert.match(metrics, /a_io_fallbacks_total\{reason="probe_timeout"\} 0\n/);
  await server.stop();

  const lines = fs.readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  assert.equal(lines[0].type, 'policy');
  assert.deepEqual(lines.slice(1).map((line) => line.plan.rule), ['nightly', 'sure', 'no_rule', 'session', 'pinned', 'pinned', 'sure']);
  assert.doesNotMatch(server.log, /lines are lost/);
  assert.deepEqual(lines[1].facts.headers, { 'x-job': 'nightly' });
  assert.ok(lines.slice(1).every((line) => line.outcome.state === 'finished' && !('text' in line.prompt)));
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
});

test('the log keeps what was asked, in each of its forms, and kept intents are told', async (t) => {
  const file = path.join(temporaryFolder(t), 'decisions.jsonl');
  const config = changedConfig(t, (text) => `${text.replace('probe:\n', 'probe:\n  cache: 8\n')
    .replace(/\n# decisions:[^]*$/, '\n')}decisions:\n  file: ${file}\n  prompts: text\n`);
  const server = await Server.start({ args: ['--config', config] });
  t.after(() => server.stop());
  const more = { max_tokens: 2, temperature: 0 };
  for (let i = 0; i < 2; i++) assert.equal((await server.json('/v1/chat/completions', ask(code, more))).status, 200);
  const { tokens } = (await server.json('/tokenize', { model: 'small', content: 'The sea' })).body;
  for (const prompt of ['The sea', tokens])
    assert.equal((await server.json('/v1/completions', { model: 'small', prompt, ...more })).status, 200);
  await server.stop();
  const lines = fs.readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line)).slice(1);
  assert.deepEqual(lines.slice(0, 2).map((line) => line.facts.intent.cached), [false, true]);
  assert.deepEqual(lines[0].prompt.text, [{ role: 'user', content: code }]);
  assert.deepEqual([lines[2].prompt.raw, lines[3].prompt.ids], ['The sea', tokens]);
  assert.equal(new Set(lines.map((line) => line.prompt.sha256)).size, 3);
});

test('--check warns of rules that nothing reaches, and prints the table', (t) => {
  const config = changedConfig(t, (text) => text.replace(/policy:[^]*?\n\n/,
    'policy:\n  name: rules\n  rules:\n    - {name: all, model: large}\n    - {name: late, intent: code, model: small}\n\n'));
  const checked = run(['serve', '--check', '--config', config]);
  assert.equal(checked.status, 0, checked.stderr);
  assert.match(checked.stderr, /policy\.rules\[1\] \(late\) takes no request/);
  assert.match(checked.stdout, /- {"name": "all", "model": "large", "lookup": "auto"}/);
});

test('a rule may let the small model draft, where the vocabularies are the same', (t) => {
  const drafting = (large) => run(['serve', '--check', '--config', changedConfig(t, (text) => text
    .replace(/path: .*large.gguf/, large)
    .replace(/policy:[^]*?\n\n/, 'policy:\n  name: rules\n  rules:\n    - {name: all, model: large, lookup: draft}\n\n'))]);
  const sound = drafting('$&');
  assert.equal(sound.status, 0, sound.stderr);
  assert.match(sound.stdout, /- {"name": "all", "model": "large", "lookup": "draft"}/);
  const other = path.join(root, 'tests/golden/data/qwen2.F16.gguf');
  const differing = drafting(`path: ${other}\n    chat_template: chatml`);
  assert.equal(differing.status, 4, differing.stderr);
  assert.match(differing.stderr, /policy\.rules\[0\] \(all\)\.lookup: draft: a vocabulary of \d+ tokens cannot draft/);
  // As many tokens, one of them another.
  const changed = path.join(temporaryFolder(t), 'changed.gguf');
  const bytes = fs.readFileSync(path.join(root, 'models/demo/large.gguf'));
  bytes.write('<|endofpage|>', bytes.indexOf('<|endoftext|>'));
  fs.writeFileSync(changed, bytes);
  const one = drafting(`path: ${changed}`);
  assert.equal(one.status, 4, one.stderr);
  assert.match(one.stderr, /lookup: draft: the vocabularies differ at token \d+ \("<\|endoftext\|>" and "<\|endofpage\|>"\)/);
});

test('the answer is the same whether it takes over what the probe prefilled or not', async (t) => {
  const answers = [];
  for (const reuse of [true, false]) {
    const config = changedConfig(t, (text) => text.replace('probe:\n', `probe:\n  reuse: ${reuse}\n`));
    const server = await Server.start({ args: ['--config', config] });
    const { body } = await server.json('/v1/chat/completions', ask(code, { max_tokens: 60, temperature: 0.7, seed: 3 }));
    assert.equal(body.a_io.plan.role, 'small');
    assert.equal(body.timings.cache_n >= body.usage.prompt_tokens - 1, reuse);
    assert.equal(body.timings.cache_n === 0, !reuse);
    answers.push([body.choices[0].message.content, body.a_io.intent.probabilities]);
    await server.stop();
  }
  assert.deepEqual(answers[0], answers[1]);
});

test('a file at its size limit is a failed write, not the end of the process', (t) => {
  const file = path.join(temporaryFolder(t), 'out.json');
  const limited = `ulimit -f 1; exec '${program}' inspect --json --keys '${smallModel}' > '${file}'`;
  const result = spawnSync('bash', ['-c', limited], { encoding: 'utf8' });
  assert.equal(result.signal, null);
  assert.equal(result.status, 6);
  assert.match(result.stderr, /cannot write/);
});
