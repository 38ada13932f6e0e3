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
    { timeout: 600000 });
  assert.equal(made.status, 0, made.stderr);
  const config = asking('    - {name: sure, intent: code, certain: true, model: small}\n    - {name: unsure, certain: false, model: next}\n    - {name: rest, model: middle}');
  const checked = run(['serve', '--check', '--config', config]);
  assert.equal(checked.status, 0, checked.stderr);
  assert.match(checked.stdout, /to small \d+, to middle \d+, to top \d+/);
  fs.writeFileSync(config, fs.readFileSync(config, 'utf8').replace('model: middle\n  calibration', 'model: small\n  calibration'));
  assert.match(run(['serve', '--check', '--config', config]).stderr, /it is for the model large\.gguf/);
});

const lines = (file) => fs.readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
const good = (args) => {
  const result = run(args, { timeout: 600000 });
  assert.equal(result.status, 0, result.stderr);
  return result.stdout;
};
const refused = (args, status, message) => {
  const result = run(args);
  assert.equal(result.status, status, result.stderr);
  assert.match(result.stderr, message);
};
// The demo's tasks, the middle model the one that has its KV in eight bits: another model with other answers.
const three = (t, more) => changedConfig(t, (text) => text.replace(/models:\n[^]*?\n\n/, `${models}\n`)
  .replace(/policy:\n[^]*?\n\n/, `policy: {name: adaptive}\n\n`).replace(/$/, more ?? ''));

test('all three answer: labelled, replayed, tuned', (t) => {
  const folder = temporaryFolder(t), at = (name) => path.join(folder, name);
  const config = three(t), requests = at('requests.jsonl');
  const given = lines(path.join(demo, 'requests.jsonl')).filter((r) => r.task !== 'long').slice(0, 6);
  given.push({ intent: 'qa', prompt: qa, max_tokens: 3 });
  fs.writeFileSync(requests, given.map((r) => `${JSON.stringify(r)}\n`).join(''));
  const label = (output, ...more) => good(['label', '--config', config, '-o', output, requests, ...more]);

  const figures = JSON.parse(label(at('all.jsonl'), '--json', '--read')).kinds.at(-1);
  assert.deepEqual(Object.keys(figures.models), ['small', 'middle', 'top']);
  const made = lines(at('all.jsonl'));
  for (const name of ['small', 'middle', 'top']) {
    const share = made.filter((line) => line.models[name].right).length / figures.graded;
    assert.ok(Math.abs(figures.models[name].right - 100 * share) < 1e-6);
  }
  for (const line of made) {
    assert.ok(!('small' in line) && !('reading' in line) && !('agree' in line));
    assert.ok(line.models.small.reading.tokens > 0 && line.models.middle.reading.tokens > 0);
    assert.ok(!('reading' in line.models.top) && !('agree' in line.models.top));
    assert.equal('agree' in line.models.middle, !line.check);
  }
  assert.match(label(at('table.jsonl')), /^all +7 +none of them[^]*\n +small [^]*\n +middle [^]*\n +top /m);
  label(at('one.jsonl'), '--only', 'middle');
  assert.deepEqual(lines(at('one.jsonl')).map((line) => Object.keys(line.models)), made.map(() => ['middle']));
  assert.deepEqual(lines(at('one.jsonl')).map((line) => line.models.middle.answer), made.map((line) => line.models.middle.answer));
  // Answers that are there already, of the middle model, too.
  const said = { answer: 'It is so.', tokens: 4, prompt_tokens: 5 };
  fs.writeFileSync(at('known.jsonl'), `${JSON.stringify({ id: made[0].id, models: { middle: said } })}\n`);
  label(at('again.jsonl'), '--answers', at('known.jsonl'));
  assert.equal(lines(at('again.jsonl'))[0].models.middle.answer, said.answer);
  refused(['label', '--config', config, '-o', at('x'), '--only', 'huge', requests], 2, /"huge" is neither small, large nor the name/);
  refused(['label', '--config', config, '-o', at('x'), '--only', 'top', '--read', requests], 2, /top reads the others' answers/);

  // A labelled file is a trace; every model is an arm, and what is best alone is looked for among all.
  const replayed = JSON.parse(good(['replay', '--config', config, at('all.jsonl'), '--json'])).runs;
  assert.deepEqual(replayed.map((r) => r.policy), ['small', 'middle', 'large', 'adaptive']);
  assert.deepEqual(replayed[1].items.map((item) => item.right), made.map((line) => line.models.middle.right));
  assert.deepEqual(replayed[1].models, { middle: given.length });
  good(['replay', '--config', config, at('all.jsonl'), '--output', at('results.json'), '--policies',
    'small,small-lookup,middle,middle-lookup,best-single,top,top-lookup,adaptive,random']);
  const { runs } = JSON.parse(fs.readFileSync(at('results.json'), 'utf8'));
  assert.match(runs.find((r) => r.policy === 'best-single').chosen, /^(small|middle)$/);
  assert.match(good(['report', at('results.json')]), /\| middle-lookup \|/);
  good(['report', at('results.json'), '--svg', at('points.svg')]);
  assert.match(fs.readFileSync(at('points.svg'), 'utf8'), /<title>middle: /);
  refused(['replay', '--config', config, at('all.jsonl'), '--policies', 'paper'], 4, /two models; there are 3/);
  refused(['replay', '--config', config, at('all.jsonl'), '--policies', 'huge'], 3, /no policy "huge"; there are: .*small, middle, top, or all/);

  good(['tune', '--config', config, at('results.json'), '--least', '1', '--output', at('tuned.yaml')]);
  const rules = fs.readFileSync(at('tuned.yaml'), 'utf8');
  assert.match(rules, /# +middle lookup auto +\d+ requests/);
  assert.match(good(['serve', '--check', '--config', at('tuned.yaml')]), /in order/);
  // What the rules were found with is named there, wherever the result lies.
  const calibrated = path.join(path.dirname(config), 'calibrated.yaml');
  const text = fs.readFileSync(config, 'utf8');
  assert.match(text, /^probe:/m);
  fs.writeFileSync(calibrated, `${text.replace(/^probe:\n/m, 'probe:\n  calibration: found.json\n')}engine:\n  machine: found.json\n`);
  fs.writeFileSync(path.join(path.dirname(config), 'found.json'), '{}');
  const kept = good(['tune', '--config', calibrated, at('results.json'), '--least', '1']);
  for (const key of ['calibration', 'machine']) assert.ok(kept.includes(`\n  ${key}: "${path.dirname(config)}/found.json"\n`), kept);
  fs.writeFileSync(at('two.json'), JSON.stringify({ runs: runs.filter((r) => !r.policy.startsWith('middle')) }));
  refused(['tune', '--config', config, at('two.json')], 2, /none of middle: replay with --policies small,small-lookup,middle,middle-lookup,top,/);
});

// Made grades: the first model is right where nothing is to be reckoned, the second of every other sum, too.
test('a limit for each step, chosen, served and decided by', async (t) => {
  const folder = temporaryFolder(t), at = (name) => path.join(folder, name);
  const config = three(t), graded = at('graded.jsonl'), found = at('found.json');
  const base = lines(path.join(demo, 'requests.jsonl')).filter((r) => r.task !== 'long');
  fs.writeFileSync(graded, Array.from({ length: 12 }, (_, i) => base.map((r, k) => {
    const isSum = r.intent === 'math', prompt = `${r.prompt} (${i})`;
    const right = { small: { right: !isSum }, middle: { right: !isSum || (i + k) % 2 === 0 }, top: { right: true } };
    return `${JSON.stringify({ id: `${i}.${k}`, intent: r.intent, prompt, models: right })}\n`;
  })).flat().join(''));
  const calibrate = (...more) => ['calibrate', '--config', config, graded, '--no-machine', ...more];
  refused(calibrate('--kind', 'none', '--success', '--max-loss', '10%,20%,30%'), 2, /3 shares are for 4 models, .* the configuration has 3/);
  refused(calibrate('--kind', 'none', '--success', '--max-loss', '20%,10%'), 2, /each is at least the one before/);
  refused(['calibrate', graded, '--no-machine', '--max-misroute', '10%,20%'], 2, /2 shares are for 3 models/);
  const said = JSON.parse(good(calibrate('--success', '--max-loss', '5%,15%', '--max-misroute', '10%,40%', '--json', '-o', found)));
  const [first, second] = said.success.results[0].limit;
  assert.ok(first.success > second.success && second.success > 0, JSON.stringify([first, second]));
  assert.ok(first.misroute_upper <= 0.05 && second.misroute_upper <= 0.15);
  assert.ok(second.small > first.small && second.misrouted >= first.misrouted);
  const written = JSON.parse(fs.readFileSync(found, 'utf8'));
  assert.equal(written.success.limits_above.length, 1);
  assert.ok(Math.abs(written.success.limits_above[0].success - second.success) < 1e-9);
  assert.ok(written.probe.limits_above[0].entropy >= written.probe.limit.entropy);
  assert.match(good(calibrate('--kind', 'none', '--success', '--max-loss', '5%,15%')),
    /small answers \d+ of \d+[^]*small and those up to middle answer \d+ of \d+/);

  const served = changedConfig(t, (text) => text.replace(/models:\n[^]*?\n\n/, `${models}\n`)
    .replace(/^probe:\n/m, `success: {calibration: ${found}}\n\nprobe:\n  calibration: ${found}\n`)
    .replace(/policy:\n[^]*?\n\n/, `policy:\n  name: rules\n  rules:
    - {name: easy, likely: true, model: small}
    - {name: medium, likely: true, model: middle}
    - {name: hard, likely: false, model: top}\n\n`)
    .replace(/\n# decisions:[^]*$/, `\ndecisions: {file: ${at('decisions.jsonl')}}\n`));
  const shown = good(['serve', '--check', '--config', served]);
  assert.match(shown, /its limit up to small: 0\.\d+, [^\n]*5 %[^]*its limit up to middle: 0\.\d+, [^\n]*15 %/);
  const server = await Server.start({ args: ['--config', served] });
  t.after(() => server.stop());
  const limits = [first.success, second.success], models_ = ['small', 'middle', 'top'];
  const seen = new Set();
  for (const r of base) {
    const { body } = await server.json('/v1/chat/completions', ask(r.prompt, { max_tokens: 1 }));
    const { success, role } = body.a_io.plan;
    assert.equal(role, models_[limits.filter((limit) => success < limit).length], String(success));
    seen.add(role);
  }
  assert.ok(seen.has('small') && seen.size > 1, [...seen].join());
  await server.idle();
  good(['replay', '--decisions', at('decisions.jsonl')]);

  // adaptive has the entropy limits of the same file, one a step; a limit that moves is one alone.
  const adaptive = (more) => changedConfig(t, (text) => text.replace(/models:\n[^]*?\n\n/, `${models}\n`)
    .replace(/^probe:\n/m, `probe:\n  calibration: ${found}\n${more}`).replace(/policy:\n[^]*?\n\n/, 'policy: {name: adaptive}\n\n'));
  const table = good(['serve', '--check', '--config', adaptive('')]);
  assert.match(table, /"model": "small"[^]*"model": "middle"[^]*"model": "top"/);
  assert.match(table, /its entropy limit up to middle: \d\.\d+ nats/);
  refused(['serve', '--check', '--config', adaptive('  online: {step: 0.01}\n')], 4, /it moves one limit, and .* has 2/);
});

// The third one's figures have a place of their own, and a configuration of the three can name the file.
test('three models are measured', (t) => {
  const found = path.join(temporaryFolder(t), 'machine.json');
  const config = configured(t);
  const made = run(['calibrate', '--config', config, '-o', found], { timeout: 600000 });
  assert.equal(made.status, 0, made.stderr);
  const { machine } = JSON.parse(fs.readFileSync(found, 'utf8'));
  assert.deepEqual(machine.models.map((model) => [model.name, model.kv]), [['small.gguf', 'f16'], ['large.gguf', 'f16'], ['large.gguf', 'f32']]);
  for (const { step_ms: steps, prefill_row_ms: row } of machine.models)
    assert.ok(row > 0 && Object.values(steps).flat(2).every((ms) => ms > 0), JSON.stringify(machine.models));
  fs.writeFileSync(config, fs.readFileSync(config, 'utf8').replace(/^# engine:/m, `engine:\n  machine: ${found}\n#`));
  const checked = run(['serve', '--check', '--config', config]);
  assert.equal(checked.status, 0, checked.stderr);
  assert.doesNotMatch(checked.stderr, /measured now/, 'every model has its figures there');
});
