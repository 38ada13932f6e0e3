// `a-io calibrate` on requests of the demo pair that it has not seen, and its refusals.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { changedConfig, isSanitized, root, run, Server, temporaryFolder } from './helper.mjs';

function makeRequests(folder) {
  const made = spawnSync('python3', ['tools/demo/calibration_requests.py', folder], { cwd: root });
  assert.equal(made.status, 0, String(made.stderr));
  return ['calibration', 'unseen-1', 'unseen-2'].map((name) => path.join(folder, `${name}.jsonl`));
}

test('probabilities are truer, the limit holds', { skip: isSanitized && 'takes minutes' }, (t) => {
  const folder = temporaryFolder(t);
  const [calibration, , unseen] = makeRequests(folder);
  const output = path.join(folder, 'found.json');
  const result = run(['calibrate', calibration, '--test', unseen, '--max-misroute', '2%', '--no-machine',
    '--json', '-o', output], { timeout: 600000 });
  assert.equal(result.status, 0, result.stderr);
  const report = JSON.parse(result.stdout);
  assert.equal(report.results.length, 2);
  const [, second] = report.results;
  assert.ok(second.requests >= 2000);
  assert.ok(second.gain_95.nll[0] > 0, 'likelier');
  assert.ok(second.gain_95.brier[0] > 0, 'closer');
  assert.ok(second.after.ece_equal_width <= 0.03 && second.after.ece_equal_mass <= 0.03,
    JSON.stringify(second.after));
  assert.ok(second.before.ece_equal_width > 0.03, 'there was something to gain');
  assert.ok(second.limit.misroute_upper <= 0.03, JSON.stringify(second.limit));
  assert.ok(second.limit.small > 0.1 * second.limit.requests, 'the small model has work');
  const written = JSON.parse(fs.readFileSync(output, 'utf8'));
  assert.equal(written.version, 1);
  assert.equal(written.probe.limit.entropy.toFixed(6), second.limit.entropy.toFixed(6));
  assert.equal(written.machine, undefined);
});

// The limit moves with what is told; the log has the limit of each decision.
async function checkFeedback(t, config, limit) {
  const log = path.join(temporaryFolder(t), 'decisions.jsonl');
  fs.appendFileSync(config, `\ndecisions: {file: ${log}}\n`);
  const shown = run(['serve', '--check', '--config', config]);
  assert.match(shown.stdout, /it moves with what POST \/v1\/feedback tells: by 0\.9 nats for a misroute/);
  const server = await Server.start({ args: ['--config', config] });
  t.after(() => server.stop());
  const call = async (route, body, id) => {
    const answer = await fetch(server.url + route, {
      method: 'POST', body: JSON.stringify(body),
      headers: { 'Content-Type': 'application/json', ...(id && { 'x-request-id': id }) } });
    return { status: answer.status, body: await answer.json() };
  };
  const decide = (id) => call('/v1/route',
    { messages: [{ role: 'user', content: 'Write a Python function that reverses a string.' }] }, id);
  const first = await decide('one');
  assert.deepEqual([first.body.intent.label, first.body.plan.role], ['code', 'small']);
  const tell = (id, label, more = {}) => call('/v1/feedback', { id, label, ...more });
  for (const [answer, status, message] of [
    [await tell('two', 'qa'), 404, /no decision by intent of the id 'two'/],
    [await tell('one', 'cooking'), 400, /'cooking' is not a label; there are code, qa, math/],
    [await tell('one', 'qa', { why: 1 }), 400, /unknown field 'why'/],
    [await tell('one', 1), 400, /'label'/],
    [await call('/v1/feedback', []), 400, /JSON object/],
  ]) {
    assert.equal(answer.status, status, answer.body.error.message);
    assert.match(answer.body.error.message, message);
  }
  const told = await tell('one', 'qa');
  assert.deepEqual([told.status, told.body.said, told.body.misrouted], [200, 'code', true]);
  assert.ok(Math.abs(told.body.entropy_limit - (limit - 0.9 * 0.95)) < 1e-9);
  assert.equal((await tell('one', 'qa')).status, 409);
  const second = await decide('two');
  assert.equal(second.body.plan.role, second.body.intent.entropy <= told.body.entropy_limit ? 'small' : 'large');
  assert.equal((await tell('two', 'code')).body.wrong, false);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  assert.match(metrics, /a_io_feedback_total\{verdict="right"\} 1\n/);
  assert.match(metrics, /a_io_feedback_total\{verdict="misrouted"\} 1\n/);
  assert.match(metrics, /a_io_entropy_limit -?[\d.e-]+\n/);
  const again = run(['replay', '--decisions', log]);
  assert.equal(again.status, 0, again.stderr);
  const limits = fs.readFileSync(log, 'utf8').trim().split('\n').map((text) => JSON.parse(text).facts?.entropy_limit);
  assert.deepEqual(limits.slice(0, 2), [undefined, limit]);
  assert.ok(Math.abs(limits[2] - told.body.entropy_limit) < 1e-9); // the log has all digits
}

test('a configuration names it', { skip: isSanitized && 'takes minutes' }, async (t) => {
  const folder = temporaryFolder(t);
  const [calibration, unseen] = makeRequests(folder);
  const few = path.join(folder, 'few.jsonl');
  fs.writeFileSync(few, fs.readFileSync(calibration, 'utf8').split('\n').slice(0, 600).join('\n'));
  const found = path.join(folder, 'found.json');
  const made = run(['calibrate', few, '--max-misroute', '5%', '--no-machine', '-o', found], { timeout: 600000 });
  assert.equal(made.status, 0, made.stderr);
  const limit = JSON.parse(fs.readFileSync(found, 'utf8')).probe.limit.entropy;

  const withKeys = (change) => changedConfig(t, (text) => change(text)
    .replace('  labels:', `  calibration: ${found}\n  labels:`));
  const noLimit = (text) => text.replace(/ {2}entropy_limit: .*\n/, '');
  const config = withKeys(noLimit);
  const moving = () => withKeys((text) => noLimit(text).replace('  labels:', '  online: {step: 0.9}\n  labels:'));
  await checkFeedback(t, moving(), limit);
  const checked = run(['serve', '--check', '--config', config]);
  assert.equal(checked.status, 0, checked.stderr);
  assert.match(checked.stdout, /calibrated by .*found\.json \(.*fitted on \d+ requests\)/);
  assert.ok(checked.stdout.includes(`its entropy limit: ${limit.toFixed(4)} nats`), checked.stdout);


  const prompt = 'Before that: who founded Nintendo? But really write the Dart function that deals a deck of cards.';
  const decide = (args) => JSON.parse(run(['route', '--json', ...args, prompt]).stdout);
  const raw = decide([]), calibrated = decide(['--config', config]);
  assert.deepEqual([raw.intent.calibrated, calibrated.intent.calibrated], [false, true]);
  assert.ok(calibrated.intent.entropy > raw.intent.entropy, 'less sure of itself');
  assert.equal(calibrated.plan.role === 'small', calibrated.intent.label === 'code' && calibrated.intent.entropy <= limit);

  const byRules = (text) => text.replace(/policy:[^]*?\n\n/, 'policy:\n  name: rules\n  rules:\n' +
    '    - {name: sure, intent: code, certain: true, model: small}\n    - {name: doubt, certain: false, model: large}\n\n');
  const ruled = run(['serve', '--check', '--config', withKeys(byRules)]);
  assert.equal(ruled.status, 0, ruled.stderr);
  assert.match(ruled.stdout, /"name": "sure", "intent": "code", "max_entropy": /);
  const decided = decide(['--config', withKeys(byRules)]);
  assert.equal(decided.plan.rule === 'sure', calibrated.plan.role === 'small');
  assert.equal(decided.plan.rule === 'doubt', calibrated.intent.entropy > limit);
  assert.match(decided.plan.reason, /entropy [\d.]+ (≤|>) [\d.]+ nats/);
  const uncalibrated = run(['serve', '--check', '--config', changedConfig(t, byRules)]);
  assert.equal(uncalibrated.status, 4, uncalibrated.stderr);
  assert.match(uncalibrated.stderr, /policy\.rules\[0\]\.certain: .*probe\.calibration names none/);

  // Replayed: the calibration's limit decides, also where it may move, but not in the ablation that has none, nor for the oracle.
  const trace = path.join(folder, 'trace.jsonl');
  const requests = fs.readFileSync(unseen, 'utf8').split('\n').slice(0, 200).map((line) => JSON.parse(line));
  fs.writeFileSync(trace, requests.map(({ prompt: asked, intent }) => `${JSON.stringify({ prompt: asked, intent, max_tokens: 2 })}\n`).join(''));
  const replayed = run(['replay', trace, '--json', '--policies', 'adaptive,oracle,without-entropy-fallback', '--config', moving()]);
  assert.equal(replayed.status, 0, replayed.stderr);
  const [adaptive, oracle, unlimited] = JSON.parse(replayed.stdout).runs.map((r) => r.items);
  const doubtful = adaptive.flatMap((item, i) => (item.label === 'code' && item.entropy > limit ? [i] : []));
  assert.ok(doubtful.length > 0);
  for (const i of doubtful) assert.deepEqual([adaptive[i].model, unlimited[i].model], ['large', 'small']);
  oracle.forEach((item, i) => assert.equal(item.model, requests[i].intent === 'code' ? 'small' : 'large'));

  const own = run(['serve', '--check', '--config', withKeys((text) => text)]);
  assert.match(own.stdout, /policy\.entropy_limit is given and counts instead/);
  const other = run(['serve', '--check', '--config', withKeys((text) => text.replace(/window_tail: .*/, 'window_tail: 77'))]);
  assert.equal(other.status, 4, other.stderr);
  assert.match(other.stderr, /found\.json: it is for a window of \d+ and \d+ tokens.* \d+ and 77/);
  const none = run(['serve', '--check', '--config', withKeys((text) => text.replace('# engine:', `engine:\n  machine: ${found}\n#`))]);
  assert.equal(none.status, 4, none.stderr);
  assert.match(none.stderr, /no part "machine"/);
});

test('only the model that is asked must be here', (t) => {
  const folder = temporaryFolder(t), file = path.join(folder, 'labelled.jsonl'), output = path.join(folder, 'calibration.json');
  const far = (name) => changedConfig(t, (text) => text.replace(
    new RegExp(`  - name: ${name}\\n.*\\n.*\\n.*\\n`), `  - {name: ${name}, role: ${name}, url: "http://127.0.0.1:9/v1"}\n`));
  fs.writeFileSync(file, Array.from({ length: 45 }, (_, i) => `${JSON.stringify({ prompt: `Request ${i}`, intent: ['code', 'qa', 'math'][i % 3] })}\n`).join(''));
  const made = run(['calibrate', file, '--no-machine', '--config', far('large'), '-o', output]);
  assert.equal(made.status, 0, made.stderr);
  assert.equal(JSON.parse(fs.readFileSync(output, 'utf8')).version, 1);
  const refused = run(['calibrate', file, '--no-machine', '--config', far('small'), '-o', output]);
  assert.equal(refused.status, 5, refused.stderr);
  assert.match(refused.stderr, /small, which is asked .* is at another server/);
});

test('what cannot be calibrated is refused', (t) => {
  const file = path.join(temporaryFolder(t), 'labelled.jsonl');
  const refused = (args, status, message, text) => {
    if (text !== undefined) fs.writeFileSync(file, text);
    const result = run(['calibrate', ...args]);
    assert.equal(result.status, status, `${args.join(' ')}: ${result.stderr}`);
    assert.match(result.stderr, message);
    assert.equal(result.stdout, '');
  };
  const line = (intent, i = 0) => `${JSON.stringify({ prompt: `Request ${i}`, intent })}\n`;
  const lines = (n) => Array.from({ length: n }, (_, i) => line(i % 2 ? 'qa' : 'code', i)).join('');
  refused(['--no-machine'], 2, /nothing to do/);
  refused([file, '--max-misroute', '2'], 2, /--max-misroute: "2" is not a share such as 2%/);
  refused([file, '--max-misroute', '100%'], 2, /100%/);
  refused([file, '--max-misroute', '2%', '--share-large', '40%'], 2, /one target/);
  refused([file, '--success', '--max-wrong', '2%', '--max-loss', '2%'], 2, /not both --max-wrong and --max-loss/);
  refused(['--share-large', '40%'], 2, /labelled requests/);
  refused([file, '--small', 'code'], 2, /--small has no effect/);
  refused([file, '--no-machine', '--small', 'cooking', '--max-misroute', '2%'], 2, /cooking/, lines(40));
  refused(['/nonexistent.jsonl', '--no-machine'], 3, /nonexistent/);
  refused([file, '--no-machine'], 2, /line 2: intent "cooking" is not a label/, line('qa') + line('cooking'));
  refused([file, '--no-machine'], 2, /line 1: "intent"/, '{"prompt": "hello"}\n');
  refused([file, '--no-machine'], 2, /line 1: not JSON/, 'hello\n');
  refused([file, '--no-machine'], 2, /at least 40/, lines(39));
  refused([file, '--no-machine', '--max-misroute', '1%'], 2, /299 are needed/, lines(60));
});
