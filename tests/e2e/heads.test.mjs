// `a-io calibrate --kind learned --success` on the demo pair, what a configuration makes of the file, and refusals.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { changedConfig, isSanitized, root, run, Server, temporaryFolder } from './helper.mjs';

// Labelled requests with made grades: the small model is right where nothing is to be reckoned, and now and then elsewhere.
function makeGraded(folder, name, from, to) {
  const file = path.join(folder, 'calibration.jsonl');
  if (!fs.existsSync(file)) {
    const made = spawnSync('python3', ['tools/demo/calibration_requests.py', folder], { cwd: root });
    assert.equal(made.status, 0, String(made.stderr));
  }
  const lines = fs.readFileSync(file, 'utf8').trim().split('\n').slice(from, to).map((text, i) => {
    const { intent, prompt } = JSON.parse(text);
    const right = intent !== 'math' || i % 9 === 0;
    return `${JSON.stringify({ intent, prompt, small: { right }, large: { right: i % 3 !== 0 } })}\n`;
  });
  const graded = path.join(folder, name);
  fs.writeFileSync(graded, lines.join(''));
  return graded;
}

test('heads from labelled requests', { skip: isSanitized && 'takes minutes' }, async (t) => {
  const folder = temporaryFolder(t);
  const graded = makeGraded(folder, 'graded.jsonl', 0, 500), unseen = makeGraded(folder, 'unseen.jsonl', 500, 700);
  const found = path.join(folder, 'found.json'), again = path.join(folder, 'again.json');
  const calibrate = (output, ...more) => run(['calibrate', graded, '--kind', 'learned', '--success', '--max-misroute', '10%',
    '--max-wrong', '10%', '--test', unseen, '--no-machine', '-o', output, ...more], { timeout: 600000 });
  const result = calibrate(found, '--json');
  assert.equal(result.status, 0, result.stderr);
  const { kind, success, probe } = JSON.parse(result.stdout);
  assert.equal(probe, undefined);
  assert.ok(kind.results[1].requests >= 190 && kind.results[1].accuracy > 0.75, JSON.stringify(kind.results[1]));
  assert.ok(success.results[1].roc.area_95[0] > 0.75, JSON.stringify(success.results[1].roc));
  assert.ok(success.results[1].roc_by_intent.math.requests > 30);
  assert.equal(success.results[1].roc_by_intent.code.area, null); // none of them was wrong
  assert.ok(success.results[0].limit.misroute_upper <= 0.1 && success.results[0].limit.small > 50, JSON.stringify(success.results[0].limit));
  assert.equal(calibrate(again, '-t', '1').status, 0);
  assert.equal(fs.readFileSync(again, 'utf8'), fs.readFileSync(found, 'utf8'), 'the same bits, however many threads');

  const whole = run(['calibrate', graded, '--kind', 'learned', '--success', '--fit-all', '--test', unseen, '--no-machine', '--json'],
    { timeout: 600000 });
  assert.equal(whole.status, 0, whole.stderr);
  const all = JSON.parse(whole.stdout);
  assert.equal(all.success.found.fitted_on, success.found.fitted_on + success.results[0].requests); // both halves
  assert.deepEqual(all.success.results.map((r) => r.name), [unseen]);

  const written = JSON.parse(fs.readFileSync(found, 'utf8'));
  assert.deepEqual(Object.keys(written).sort(), ['kind', 'success', 'version']);
  const limit = written.success.limit.success;
  const log = path.join(folder, 'decisions.jsonl');
  const config = changedConfig(t, (text) => `${text
    .replace(/probe:[^]*?\n\n/, `probe:\n  kind: learned\n  calibration: ${found}\n\nsuccess: {calibration: ${found}, online: {step: 1}}\n\n`)
    .replace(/policy:[^]*?\n\n/, 'policy:\n  name: rules\n  rules:\n    - {name: likely, likely: true, model: small}\n' +
      '    - {name: rest, likely: false, model: large}\n\n')}\ndecisions: {file: ${log}}\n`);
  const shown = run(['serve', '--check', '--config', config]);
  assert.equal(shown.status, 0, shown.stderr);
  assert.match(shown.stdout, /probe: learned, .*found\.json \(layer \d+; fitted on 2\d\d requests\)/);
  assert.ok(shown.stdout.includes(`its limit: ${limit.toFixed(4)}, for wrong answers by the small model of at most 10 %`), shown.stdout);
  const spoken = run(['route', '--config', config, 'What is the capital of France?']);
  assert.match(spoken.stdout, /success {2}0\.\d+, that the small model's answer is right\n/);

  const server = await Server.start({ args: ['--config', config] });
  t.after(() => server.stop());
  const call = async (route, body, id) => {
    const answer = await fetch(server.url + route, {
      method: 'POST', body: JSON.stringify(body), headers: { 'Content-Type': 'application/json', ...(id && { 'x-request-id': id }) } });
    return { status: answer.status, headers: answer.headers, body: await answer.json() };
  };
  const content = 'Write a Python function that reverses a string.';
  const reply = await call('/v1/chat/completions', { model: 'auto', max_tokens: 2, messages: [{ role: 'user', content }] }, 'one');
  const { plan, intent, receipt } = reply.body.a_io;
  assert.deepEqual([plan.rule, plan.role, intent.label, intent.calibrated], ['likely', 'small', 'code', true]);
  assert.ok(plan.success >= limit);
  assert.match(plan.reason, /success [\d.]+ ≥ [\d.]+/);
  assert.equal(reply.headers.get('x-a-io-success'), plan.success.toFixed(4));
  assert.equal(receipt.reply.cached_tokens, receipt.reply.prompt_tokens - 1, 'the answer takes over the pass');
  const told = await call('/v1/feedback', { id: 'one', right: false });
  assert.deepEqual([told.status, told.body.right, told.body.misrouted], [200, false, true]);
  assert.ok(Math.abs(told.body.success_limit - (limit + 0.9)) < 1e-9);
  for (const [body, status, message] of [
    [{ id: 'one', right: true }, 409, /told before/],
    [{ id: 'two', right: true }, 404, /no decision/],
    [{ id: 'one', label: 'qa' }, 409, /probe\.online is not configured/],
    [{ id: 'one', label: 'qa', right: true }, 400, /exactly one/],
    [{ id: 'one' }, 400, /exactly one/],
    [{ id: 'one', right: 'yes' }, 400, /true or false/],
  ]) {
    const answer = await call('/v1/feedback', body);
    assert.deepEqual([answer.status, message.test(answer.body.error.message)], [status, true], JSON.stringify(answer.body));
  }
  const second = await call('/v1/route', { messages: [{ role: 'user', content }] }, 'two');
  assert.deepEqual([second.body.plan.rule, second.body.plan.fallback, second.body.plan.success], ['rest', 'success', plan.success]);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  assert.match(metrics, /a_io_success_sum 1\.\d+\na_io_success_count 2\n/);
  assert.match(metrics, /a_io_answer_feedback_total\{verdict="misrouted"\} 1\n/);
  assert.match(metrics, /a_io_success_limit 1\.\d+\n/);
  assert.match(metrics, /a_io_fallbacks_total\{reason="success"\} 1\n/);
  await server.stop();
  const replayed = run(['replay', '--decisions', log]);
  assert.equal(replayed.status, 0, replayed.stderr + replayed.stdout);
  const facts = fs.readFileSync(log, 'utf8').trim().split('\n').map((text) => JSON.parse(text).facts).filter(Boolean);
  assert.deepEqual(facts.map((f) => f.success), [plan.success, plan.success].map(() => facts[0].success));
});

test('heads that cannot be had', (t) => {
  const file = path.join(temporaryFolder(t), 'labelled.jsonl');
  const refused = (args, status, message, text) => {
    if (text !== undefined) fs.writeFileSync(file, text);
    const result = run(['calibrate', ...args, '--no-machine']);
    assert.equal(result.status, status, `${args.join(' ')}: ${result.stderr}`);
    assert.match(result.stderr, message);
    assert.equal(result.stdout, '');
  };
  const line = (i, more) => `${JSON.stringify({ prompt: `Request ${i}`, ...more })}\n`;
  const lines = (n, more) => Array.from({ length: n }, (_, i) => line(i, more(i))).join('');
  refused([file, '--kind', 'learnt'], 2, /tokens, learned, none/);
  refused([file, '--kind', 'none'], 2, /--kind none is for --success/);
  refused([file, '--max-wrong', '2%'], 2, /are of --success/);
  refused([file, '--success', '--kind', 'none', '--max-misroute', '2%'], 2, /--kind none finds none/);
  refused([file, '--success', '--max-wrong', '2%', '--max-loss', '2%'], 2, /one target/);
  refused([file, '--fit-all'], 2, /--fit-all is for --kind learned or none without a target/);
  refused([file, '--success', '--kind', 'none', '--fit-all', '--max-wrong', '2%'], 2, /without a target/);
  refused(['--success'], 2, /--success needs a file/);
  refused([file, '--kind', 'learned'], 2, /line 1: "intent"/, lines(3, () => ({ small: { right: true } })));
  refused([file, '--kind', 'none', '--success'], 2, /0 requests have a grade of the small model's answer/,
    lines(3, () => ({ intent: 'qa' })));
  refused([file, '--kind', 'learned'], 2, /kind: all 20 samples have the same label/, lines(40, () => ({ intent: 'qa' })));
  refused([file, '--kind', 'none', '--success', '--max-loss', '50%'], 2, /--max-loss needs the large model's grade/,
    lines(40, (i) => ({ small: { right: i % 2 === 0 } })));
});
