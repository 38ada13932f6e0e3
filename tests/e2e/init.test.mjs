// `a-io init` on the demo pair: what it writes is what serve takes, and what it refuses. And what serve says of a probe
// that does not fit.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { program, changedConfig, isSanitized, root, run, Server, temporaryFolder, until } from './helper.mjs';

const small = path.join(root, 'models/demo/small.gguf'), large = path.join(root, 'models/demo/large.gguf');
const patient = { timeout: 600000 };
const init = (...args) => run(['init', '--no-machine', ...args], patient);

test('a pair gets a configuration that is in order', (t) => {
  const folder = temporaryFolder(t), output = path.join(folder, 'mine.yaml');
  const made = init(small, large, '-o', output);
  assert.equal(made.status, 0, made.stderr);
  assert.match(made.stdout, /They have one vocabulary/);
  assert.match(made.stdout, /^\* +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ {2}\{conversation\}\w.* {2}" code", " qa", " math"$/m);
  assert.match(made.stdout, /^qa +0 of 20 +20 of 20/m);
  assert.match(made.stdout, /a-io serve --config \S*mine\.yaml --check/);
  assert.equal(made.stderr, '');

  const checked = run(['serve', '--check', '--config', output], patient);
  assert.equal(checked.status, 0, checked.stderr);
  assert.equal(checked.stderr, '', 'nothing is warned of');
  assert.match(checked.stdout, /calibrated by \S*mine\.calibration\.json \(.*fitted on 60 requests\)/);
  assert.match(checked.stdout, /of 60 built-in requests \d+ named rightly, to the small model [1-9]\d*, to the large one \d+; the labels hold \d+\.\d % /);

  // The limit that a calibration chooses is the one in force.
  const calibration = output.replace('.yaml', '.calibration.json'), requests = path.join(folder, 'requests.jsonl');
  fs.writeFileSync(requests, Array.from({ length: 150 }, (_, i) => `${JSON.stringify({ prompt: `Write a function that adds ${i} to a number.`, intent: 'code' })}\n`
    + `${JSON.stringify({ prompt: `What is ${i} plus ${i + 7}?`, intent: 'math' })}\n${JSON.stringify({ prompt: `Where is the village number ${i}?`, intent: 'qa' })}\n`).join(''));
  const limited = run(['calibrate', '--no-machine', '--config', output, requests, '--share-large', '90%', '-o', calibration], patient);
  assert.equal(limited.status, 0, limited.stderr);
  const inForce = run(['serve', '--check', '--config', output], patient);
  assert.match(inForce.stdout, /its entropy limit: [\d.]+ nats, /, inForce.stdout + inForce.stderr);
  assert.doesNotMatch(inForce.stdout, /counts instead/);

  const again = init(small, large, '-o', output);
  assert.equal(again.status, 2);
  assert.match(again.stderr, /mine\.yaml is there already; --force writes over it/);
  const forced = init(large, small, '--force', '--json', '-o', output);
  assert.equal(forced.status, 0, forced.stderr);
  const report = JSON.parse(forced.stdout);
  assert.equal(report.swapped, true, 'the smaller one is the small model');
  assert.deepEqual([report.small.name, report.one_vocabulary, report.comparison.requests], ['small', true, 60]);
  assert.match(fs.readFileSync(output, 'utf8'), /role: small\n {4}path: ".*small\.gguf"/);
});

test('who interrupts the measuring of the machine has a configuration that works', async (t) => {
  const output = path.join(temporaryFolder(t), 'mine.yaml');
  // The measuring, of which there are seconds, must not be over before this process has looked.
  const child = spawn('nice', ['-n', '19', program, 'init', small, large, '-o', output], { stdio: ['ignore', 'ignore', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  let said = '';
  child.stderr.on('data', (bytes) => { said += bytes; });
  const ended = once(child, 'exit');
  await until('a configuration is written', () => fs.existsSync(output) || child.exitCode !== null, 300000);
  child.kill('SIGINT');
  const [status, signal] = await ended;
  assert.equal(signal, 'SIGINT', `${status}: ${said}`);
  assert.doesNotMatch(fs.readFileSync(output, 'utf8'), /machine:/);
  const checked = run(['serve', '--check', '--config', output], patient);
  assert.equal(checked.status, 0, checked.stderr);
});

test('the machine is measured: each model, with so many rows', (t) => {
  const output = path.join(temporaryFolder(t), 'mine.yaml');
  const made = run(['init', small, large, '-o', output], patient);
  assert.equal(made.status, 0, made.stderr);
  assert.match(fs.readFileSync(output, 'utf8'), /machine: "mine\.calibration\.json"/);
  const { machine } = JSON.parse(fs.readFileSync(output.replace('.yaml', '.calibration.json'), 'utf8'));
  assert.deepEqual(machine.models.map((one) => one.name), ['small.gguf', 'large.gguf']);
  for (const one of machine.models) {
    assert.equal(one.step_ms.length, 17);
    assert.deepEqual(one.wide_step_ms.map((step) => step.rows), [24, 32, 48, 64]);
    assert.deepEqual(one.probes.map((probe) => probe.tokens).slice(0, 2), [64, 256]); // more, where the context holds them
  }
});

// The demo pair, and one elsewhere: a server that nobody asks while the configuration is made.
test('three models, the last at another server', async (t) => {
  const output = path.join(temporaryFolder(t), 'three.yaml');
  const made = init(small, `middle=${large}`, 'far=http://127.0.0.1:9/v1', '--json', '-o', output);
  assert.equal(made.status, 0, made.stderr);
  const report = JSON.parse(made.stdout);
  assert.deepEqual(report.models.map((one) => one.name), ['small', 'middle', 'far']);
  const text = fs.readFileSync(output, 'utf8');
  assert.match(text, /- name: far\n {4}url: "http:\/\/127\.0\.0\.1:9\/v1"\n/);
  assert.doesNotMatch(text, /role:/);
  const server = await Server.start({ args: ['--config', output] });
  t.after(() => server.stop());
  const { body } = await server.json('/v1/policy');
  assert.deepEqual(body.rules.map((rule) => [rule.name, rule.model]), [['small', 'small'], ['unsure', 'next'], ['rest', 'far']]);
  const code = await server.json('/v1/chat/completions', { messages: [{ role: 'user', content: 'Write a function that adds two numbers.' }], max_tokens: 4 });
  assert.equal(code.headers.get('x-a-io-model'), 'small');

  for (const [args, message] of [
    [['far=http://127.0.0.1:9/v1', small, large], /the first model must be a file/],
    [[small, large, 'http://127.0.0.1:9/v1'], /NAME=URL says what the server calls its model/],
    [[small, large, 'far='], /far=: NAME=FILE or NAME=URL/],
  ]) {
    const refused = init('--force', '-o', path.join(path.dirname(output), 'no.yaml'), ...args);
    assert.equal(refused.status, 2, refused.stdout);
    assert.match(refused.stderr, message);
  }
});

test('labels of one\'s own', (t) => {
  const folder = temporaryFolder(t), output = path.join(folder, 'own.yml'), labelled = path.join(folder, 'own.jsonl');
  const line = (prompt, intent) => `${JSON.stringify({ prompt, intent })}\n`;
  const texts = Array.from({ length: 20 }, (_, i) =>
    line(`Write a function that adds ${i} to a number.`, 'code') + line(`What is ${i} plus ${i + 7}?`, 'math'));
  fs.writeFileSync(labelled, texts.join(''));
  const made = init(small, large, '--labelled', labelled, '--small', 'code,math', '-o', output);
  assert.equal(made.status, 0, made.stderr);
  assert.match(fs.readFileSync(output, 'utf8'), /name: rules\n {2}rules:\n.*\n {6}intents: \["(code", "math|math", "code)"\]/);
  const checked = run(['serve', '--check', '--config', output], patient);
  assert.equal(checked.status, 0, checked.stderr);
  assert.doesNotMatch(checked.stdout, /named rightly/, 'these are not the labels of the built-in requests');

  const candidates = path.join(folder, 'candidates.yaml');
  fs.writeFileSync(candidates, '- {template: "{conversation}Intent:", labels: [" code", " math"]}\n');
  const asked = init(small, large, '--labelled', labelled, '--templates', candidates, '--force', '--json', '-o', output);
  assert.equal(asked.status, 0, asked.stderr);
  assert.equal(JSON.parse(asked.stdout).comparison.compared, 1);

  const strange = path.join(folder, 'strange.jsonl');
  fs.writeFileSync(strange, texts.join('').replaceAll('"math"', '"metamorphosis"'));
  for (const [args, status, message] of [
    [['--labelled', labelled, '--small', 'cooking'], 2, /--small: "cooking" is not a label of the requests/],
    [['--labelled', strange], 4, /no word can stand for a label; .*label 'metamorphosis': none of its words is one token/],
    [['--labelled', path.join(folder, 'nowhere')], 3, /cannot open/],
    [['--labelled', candidates], 2, /candidates\.yaml, line 1: not JSON/],
    [['--templates', candidates], 4, /candidate 1 has words for 2 labels; there are 3/],
  ]) {
    const refused = init(small, large, '--force', '-o', path.join(folder, 'no.yaml'), ...args);
    assert.equal(refused.status, status, refused.stderr);
    assert.match(refused.stderr, message);
  }
  assert.ok(!fs.existsSync(path.join(folder, 'no.yaml')), 'nothing is written');
});

test('what is no pair is refused', (t) => {
  const folder = temporaryFolder(t), output = path.join(folder, 'no.yaml'), copy = path.join(folder, 'copy.gguf');
  const link = path.join(folder, 'link.gguf');
  fs.copyFileSync(small, copy);
  fs.symlinkSync(small, link);
  for (const [args, status, message] of [
    [[small], 2, /two models are needed/],
    [[small, small], 2, /named twice: a pair is two models/],
    [[small, link], 2, /named twice/],
    [[small, copy], 2, /hold the same model/],
    [[small, path.join(folder, 'nowhere.gguf')], 3, /nowhere\.gguf/],
    [[small, path.join(root, 'README.md')], 5, /README\.md/],
    [['--kv', 'f8', small, large], 2, /--kv: "f8" is none of/],
  ]) {
    const refused = init('-o', output, ...args);
    assert.equal(refused.status, status, refused.stderr);
    assert.match(refused.stderr, message);
  }
  const unwritable = init('-o', path.join(folder, 'no/such/folder.yaml'), small, large);
  assert.equal(unwritable.status, 6, unwritable.stderr);
  assert.ok(!fs.existsSync(output));
});

test('templates are compared', (t) => {
  const folder = temporaryFolder(t), labelled = path.join(folder, 'labelled.jsonl');
  const candidates = path.join(folder, 'candidates.jsonl'), output = path.join(folder, 'found.json');
  const line = (prompt, intent) => `${JSON.stringify({ prompt, intent })}\n`;
  fs.writeFileSync(labelled, Array.from({ length: 20 }, (_, i) => line(`Write a function that adds ${i} to a number.`, 'code') +
    line(`What is ${i} plus ${i + 7}?`, 'math') + line(`Who founded the town number ${i}?`, 'qa')).join(''));
  fs.writeFileSync(candidates, '{"template": "{conversation}This is a question about", "labels": [" code", " qa", " math"]}\n' +
    '{"template": "{conversation}Field:", "labels": [" code", " qa", " math"]}\n');
  const args = ['calibrate', labelled, '--templates', candidates, '--no-machine', '-o', output];
  const made = run([...args, '--json'], patient);
  assert.equal(made.status, 0, made.stderr);
  const report = JSON.parse(made.stdout);
  assert.equal(report.comparison.requests, 30, 'the half that is fitted on');
  assert.equal(report.comparison.candidates.length, 2);
  assert.equal(report.probe.template, report.comparison.chosen.template);
  const chosen = report.comparison.chosen.template;
  assert.equal(chosen, '{conversation}Field:');
  assert.ok(run(args, patient).stdout.includes(`probe:\n  template: "${chosen}"\n  labels:\n    - {name: code, token: " code"}`));
  const config = changedConfig(t, (text) => text.replace('{conversation}Intent:', chosen)
    .replace('  labels:', `  calibration: ${output}\n  labels:`));
  assert.equal(run(['serve', '--check', '--config', config], patient).status, 0);
  const alone = run(['calibrate', '--templates', candidates, '-o', output]);
  assert.equal(alone.status, 2);
  assert.match(alone.stderr, /--templates needs a file of labelled requests/);
});

// Words that the demo model would never say; and a limit that nothing is under.
const unfit = (text) => text.replace('{conversation}Intent:', '{conversation}This is a question about');
const unsure = (text) => text.replace(/entropy_limit: .*/, 'entropy_limit: 0.0');

test('what does not fit is warned of', async (t) => {
  const check = (change) => run(['serve', '--check', '--config', changedConfig(t, change)], patient);
  const fits = check((text) => text);
  assert.equal(fits.status, 0);
  assert.equal(fits.stderr, '');
  const mass = check(unfit);
  assert.equal(mass.status, 0);
  assert.match(mass.stderr, /probe: its labels hold 0\.\d % of the probability on 60 built-in requests \(below 10 %\)/);
  const routes = check(unsure);
  assert.match(routes.stderr, /policy adaptive: all 60 built-in requests .* go to the large model.*Mean entropy 0\.\d+ nats, limit 0\.00/);
  const pinned = check((text) => text.replace('name: adaptive', 'name: large').replace(/ {2}(entropy|prompt)_limit.*\n/g, ''));
  assert.equal(pinned.stderr, '', 'who asked for one model gets one');
  assert.doesNotMatch(pinned.stdout, /built-in/);

  const server = await Server.start({ args: ['--config', changedConfig(t, unsure)] });
  t.after(() => server.stop());
  await until('the server has checked its probe', () => /all 60 built-in requests/.test(server.log), 60000);
  assert.match(server.log, /of 60 built-in requests \d+ named rightly, to the small model 0, to the large one 60/);
  const counts = await (await fetch(`${server.url}/v1/policy`)).json();
  assert.equal(JSON.stringify(counts).includes('"probes":0'), true, JSON.stringify(counts.counts ?? counts));
});

test('a server that is told to stop while it checks, stops', { skip: isSanitized && 'nothing new' }, async () => {
  const server = await Server.start();
  await server.stop();
});
