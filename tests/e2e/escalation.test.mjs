// Three models: requests by name and by rule, conversations that go up one at a time, counts, and the log decided again.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { changedConfig, root, run, Server, temporaryFolder } from './helper.mjs';

const demo = path.join(root, 'models/demo');
const models = `models:
  - {name: small, path: ${demo}/small.gguf, slots: 4}
  - {name: middle, path: ${demo}/large.gguf, slots: 4}
  - {name: top, path: ${demo}/large.gguf, slots: 4, kv: f32}
`;
const policy = `policy:
  name: rules
  rules:
    - {name: later, above_turn: 1, model: next}
    - {name: sure, intent: code, max_entropy: 0.45, model: small}
    - {name: busy, load: [{model: middle, above_waiting: 50}], model: top}
    - {name: rest, model: middle}
`;
const configured = (t, more = '') => changedConfig(t, (text) => text
  .replace(/models:\n[^]*?\n\n/, `${models}\n`).replace(/policy:\n[^]*?\n\n/, `${policy}\n`)
  .replace(/\n# decisions:[^]*$/, `\n${more}`));

const code = 'Write a function add_numbers(a, b) that returns the sum.';
const qa = 'Who wrote Faust?';
const ask = (content, more) => ({ messages: [{ role: 'user', content }], max_tokens: 6, temperature: 0, ...more });
const turns = (...contents) => contents.flatMap((content, i) =>
  (i ? [{ role: 'assistant', content: 'Yes.' }, { role: 'user', content }] : [{ role: 'user', content }]));

test('three models', async (t) => {
  const file = path.join(temporaryFolder(t), 'decisions.jsonl');
  const config = configured(t, `decisions: {file: ${file}}\n`);
  const server = await Server.start({ args: ['--config', config] });
  t.after(() => server.stop());
  const chat = (body, headers) => server.json('/v1/chat/completions', body, headers);
  const said = async (body, headers) => {
    const { body: reply, headers: told } = await chat(body, headers);
    return [told.get('x-a-io-model'), reply.a_io.plan.rule, reply.a_io.plan.role];
  };

  assert.deepEqual((await server.json('/v1/models')).body.data.map((one) => one.id), ['auto', 'small', 'middle', 'top']);
  assert.deepEqual(await said(ask(qa)), ['middle', 'rest', 'middle']);
  for (const model of ['small', 'middle', 'top'])
    assert.deepEqual(await said(ask(qa, { model })), [model, 'pinned', model]);
  assert.match((await chat(ask(qa, { model: 'huge' }))).body.error.message, /huge/);

  // One conversation, three turns, three models; then it stays, and is not asked about any more.
  const talk = async (...contents) => said({ ...ask(''), messages: turns(...contents) }, { 'x-session-id': 'climb' });
  assert.deepEqual(await talk(code), ['small', 'sure', 'small']);
  assert.deepEqual(await talk(code, qa), ['middle', 'later', 'middle']);
  assert.deepEqual(await talk(code, qa, qa), ['top', 'later', 'top']);
  assert.deepEqual(await talk(code, qa, qa, code), ['top', 'session', 'top']);

  const { counts, rules } = (await server.json('/v1/policy')).body;
  assert.deepEqual(counts.models, { small: 2, middle: 3, top: 3 });
  assert.deepEqual(rules.map((rule) => rule.model), ['next', 'small', 'top', 'middle']);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  for (const model of ['small', 'middle', 'top'])
    assert.match(metrics, new RegExp(`a_io_decisions_total\\{model="${model}"`));

  await server.idle();
  const replayed = run(['replay', '--decisions', file]);
  assert.equal(replayed.status, 0, replayed.stderr);
  const lines = fs.readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  assert.deepEqual(lines[0].policy.models.map((model) => model.name), ['small', 'middle', 'top']);
  assert.ok(lines.slice(1).filter((line) => line.facts).every((line) => 'top' in line.facts.load));
});

test('the example of three models is in order', () => {
  const checked = run(['serve', '--check', '--config', 'config/examples/three-models.yaml']);
  assert.equal(checked.status, 0, checked.stderr);
  assert.match(checked.stdout, /"cheapest_within_ms": 2000/);
  assert.match(checked.stdout, /to small \d+, to middle \d+, to largest \d+/);
});

// The middle model is asked: its calibration is its own, and what it is unsure of goes above it.
test('the probe asked of the model in the middle, calibrated', (t) => {
  const folder = temporaryFolder(t);
  const labelled = path.join(folder, 'labelled.jsonl'), found = path.join(folder, 'found.json');
  const lines = fs.readFileSync(path.join(demo, 'requests.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  fs.writeFileSync(labelled, [1, 2, 3].flatMap((i) => lines.map(({ id, intent, prompt }) =>
    `${JSON.stringify({ id: `${id}.${i}`, intent, prompt: prompt.replace('Python', `Python ${i}`).replace(/\?$/, `? ${i}`) })}\n`)).join(''));
  const asking = (more) => changedConfig(t, (text) => text
    .replace(/models:\n[^]*?\n\n/, `${models}\n`)
    .replace(/policy:\n[^]*?\n\n/, `policy:\n  name: rules\n  rules:\n${more}\n\n`)
    .replace(/^probe:\n/m, `probe:\n  model: middle\n${more.includes('certain') ? `  calibration: ${found}\n` : ''}`));
  const made = run(['calibrate', '--config', asking('    - {name: a, model: top}'), labelled, '--max-misroute', '50%', '--no-machine', '-o', found],
    { timeout: 300000 });
  assert.equal(made.status, 0, made.stderr);
  const config = asking('    - {name: sure, intent: code, certain: true, model: small}\n    - {name: unsure, certain: false, model: next}\n    - {name: rest, model: middle}');
  const checked = run(['serve', '--check', '--config', config]);
  assert.equal(checked.status, 0, checked.stderr);
  assert.match(checked.stdout, /to small \d+, to middle \d+, to top \d+/);
  fs.writeFileSync(config, fs.readFileSync(config, 'utf8').replace('model: middle\n  calibration', 'model: small\n  calibration'));
  assert.match(run(['serve', '--check', '--config', config]).stderr, /it is for the model large\.gguf/);
});
