// `a-io replay`: results that add up, the same again from the same seed, and going on after an interruption.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { changedConfig, mixedPrompts, program, root, run, Server, temporaryFolder, until } from './helper.mjs';

const keys = ['scenario', 'policy', 'requests', 'accuracy', 'tokens_per_s', 'mean_rate', 'ttft_ms', 'latency_ms',
  'overhead_ms', 'bytes_read', 'fallbacks'];

function replay(...args) {
  const result = run(['replay', ...args], { timeout: 600000 });
  assert.equal(result.status, 0, result.stderr);
  return result.stdout;
}

// Without times and the counters that follow from them.
function lasting(results) {
  return results.runs.map((r) => ({
    scenario: r.scenario, policy: r.policy, requests: r.requests, answered: r.answered, accuracy: r.accuracy,
    by_kind: r.by_kind, tokens: r.tokens, intents: r.intents, models: r.models, rules: r.rules, fallbacks: r.fallbacks,
    items: (r.items ?? []).map(({ ms, work, ...rest }) => rest),
  }));
}

test('scenarios: what runs say, and the same from the same seed', () => {
  const args = ['--scenario', 'A,C', '--policies', 'all', '--requests', '6', '--seed', '5', '--json'];
  const results = JSON.parse(replay(...args));
  assert.equal(results.runs.length, 28);
  for (const r of results.runs) {
    for (const key of keys) assert.ok(key in r, `${r.policy}: ${key}`);
    assert.ok(r.accuracy >= 0 && r.accuracy <= 100);
    if (r.policy === 'best-single') continue;
    assert.equal(r.items.length, 6);
    assert.equal(r.tokens, r.items.reduce((sum, i) => sum + i.tokens, 0));
    assert.ok(r.tokens_per_s > 0 && Math.abs(r.tokens_per_s - r.tokens / r.seconds) < 1e-3 * r.tokens_per_s);
  }
  const find = (scenario, policy) => results.runs.find((r) => r.scenario === scenario && r.policy === policy);
  // Nothing changes an answer but the model that gives it.
  const digests = (r) => r.items.map((i) => `${i.model} ${i.digest}`);
  assert.deepEqual(digests(find('A', 'small')), digests(find('A', 'small-lookup')));
  assert.deepEqual(digests(find('A', 'large')), digests(find('A', 'large-lookup')));
  assert.deepEqual(digests(find('A', 'adaptive')), digests(find('A', 'without-lookup-switch')));
  assert.deepEqual(digests(find('A', 'adaptive')), digests(find('A', 'without-probe-reuse')));
  assert.deepEqual(find('A', 'without-routing').models, { large: 6 });
  assert.ok(find('A', 'without-routing').overhead_ms.prefill > 0);
  assert.equal(find('A', 'oracle').overhead_ms.prefill, 0);
  assert.equal(find('A', 'large').drafted, 0);
  assert.ok(find('A', 'adaptive').items.every((i) => i.label === null || i.work.cached_tokens > 0 || i.model === 'large'));
  assert.ok(find('A', 'without-probe-reuse').items.every((i) => i.work.cached_tokens === 0));
  // Long prompts: too long for the small model.
  assert.equal(find('C', 'small').answered, 3);
  assert.equal(find('C', 'adaptive').fallbacks, 3);
  assert.deepEqual(find('C', 'adaptive').models, { large: 6 });
  const again = JSON.parse(replay('--scenario', 'A', '--policies', 'random,adaptive', '--requests', '6', '--seed', '5', '--json'));
  assert.deepEqual(lasting(again), lasting({ runs: [find('A', 'random'), find('A', 'adaptive')] }));
});

// T(n) of a machine that there is none of, for both demo models; `ms` is the cost of a row beyond the first. A refusal
// tells the fingerprints.
function stepCosts(folder, ms) {
  const models = [];
  const record = () => ({
    version: 1, machine: { cpu: 'another', kernel: 'another', threads: 99, read_peak_gb_s: 1.5, models },
  });
  const file = path.join(folder, `steps-${ms}.json`);
  const args = ['replay', '--scenario', 'A', '--requests', '1', '--step-cost', file];
  for (let fingerprint = 'ffffffffffffffff'; fingerprint;) {
    models.push({ fingerprint, name: 'm', kv: 'f16', step_ms: Array.from({ length: 17 }, (_, n) => 2.5 + n * ms),
      prefill_row_ms: 0.05, probes: [] });
    if (models[0].fingerprint === 'ffffffffffffffff' && models.length > 1) models.shift();
    fs.writeFileSync(file, JSON.stringify(record()));
    fingerprint = /has no figures for it \((\w{16})\)/.exec(run(args).stderr)?.[1];
  }
  assert.equal(models.length, 2);
  return file;
}

// Without times.
function timeless(results) {
  return results.runs.map((r) => {
    const { seconds, tokens_per_s, mean_rate, requests_per_s, goodput_per_s, good_percent, ttft_ms, between_ms, latency_ms,
      overhead_ms, ...rest } = r;
    return { ...rest, items: (r.items ?? []).map(({ ms, ...item }) => item) };
  });
}

test('step costs from a file: two replays differ in times alone', (t) => {
  const folder = temporaryFolder(t);
  const args = ['--scenario', 'A,C', '--requests', '8', '--seed', '5', '--policies', 'adaptive,always-lookup,without-routing',
    '--json', '--step-cost'];
  const cheap = stepCosts(folder, 0.01);
  const first = timeless(JSON.parse(replay(...args, cheap)));
  const second = timeless(JSON.parse(replay(...args, cheap)));
  assert.deepEqual(second, first);
  assert.ok(first[0].items.every((i) => i.work.steps > 0) && first[0].drafted > 0);
  // Where a row costs as much as a step, nothing is drafted: it is the file that decides.
  const dear = timeless(JSON.parse(replay(...args, stepCosts(folder, 50))));
  assert.equal(dear[0].drafted, 0);
  assert.ok(dear[0].steps > first[0].steps);
  assert.deepEqual(dear[0].items.map((i) => i.digest), first[0].items.map((i) => i.digest));
});

// A configuration with figures as if measured on this machine: T(1) is 1 ms, T(n > 1) `factor`.
function asThisMachine(t, factor) {
  const file = stepCosts(temporaryFolder(t), 1);
  const record = JSON.parse(fs.readFileSync(file, 'utf8'));
  const config = changedConfig(t, (text) => text.replace('# engine:', `engine:\n  machine: ${file}\n#`));
  const { stderr } = run(['serve', '--check', '--config', config]);
  const [, cpu, kernel, threads] = /this one: (.*), kernel (\w+), (\d+) threads\)/.exec(stderr);
  Object.assign(record.machine, { cpu, kernel, threads: Number(threads) });
  for (const model of record.machine.models) {
    model.step_ms = model.step_ms.map((_, n) => (n === 0 ? 1 : factor));
    model.wide_step_ms = [24, 32, 48, 64].map((rows) => ({ rows, ms: factor }));
  }
  fs.writeFileSync(file, JSON.stringify(record));
  const again = run(['serve', '--check', '--config', config]);
  assert.equal(again.status, 0, again.stderr);
  assert.doesNotMatch(again.stderr, /another machine|no figures/);
  return config;
}

// A static-graph accelerator rebuilds its graph for every new number of rows.
test('engine: machine: whose steps of more than one row jump: auto drafts nothing', (t) => {
  const drafts = (factor) => JSON.parse(replay('--config', asThisMachine(t, factor), '--scenario', 'A',
    '--requests', '8', '--seed', '5', '--policies', 'adaptive', '--json')).runs[0];
  const jumping = drafts(500), flat = drafts(1.05);
  assert.equal(jumping.drafted, 0);
  assert.ok(jumping.steps > 0);
  assert.ok(flat.drafted > 0);
  assert.deepEqual(jumping.items.map((i) => i.digest), flat.items.map((i) => i.digest));
});

test('load: several at once and as they arrive give the same answers', () => {
  const args = ['--scenario', 'B', '--policies', 'adaptive', '--requests', '10', '--json'];
  const single = lasting(JSON.parse(replay(...args)));
  assert.deepEqual(lasting(JSON.parse(replay(...args, '--in-flight', '4'))), single);
  assert.deepEqual(lasting(JSON.parse(replay(...args, '--rate', '50'))), single);
  assert.deepEqual(lasting(JSON.parse(replay(...args, '--rounds', '3'))), single);
});

test('traces', (t) => {
  const folder = temporaryFolder(t);
  const trace = path.join(folder, 'trace.jsonl');
  fs.writeFileSync(trace, [
    { id: 'one', domain: 'qa', prompt: 'Hello', answer: 'nothing that it would say', arrival_ms: 0 },
    { id: 'two', domain: 'math', prompt: 'Ada has 2 bags with 11 cups each and already had 12 cups. How many cups does Ada have in total?', answer: '34', arrival_ms: 30 },
    { id: 'three', domain: 'qa', prompt: 'Hello?', arrival_ms: 40 },
  ].map((line) => JSON.stringify(line)).join('\n'));
  const { runs: [r] } = JSON.parse(replay(trace, '--policies', 'large', '--arrivals', '--json'));
  assert.deepEqual([r.scenario, r.requests, r.checked, r.items[0].right, r.items[2].right], ['trace', 3, 2, false, null]);
  assert.ok(r.seconds >= 0.03);
  assert.match(replay('models/demo/requests.jsonl', '--policies', 'adaptive'), /scenario trace, 20 requests[^]*adaptive/);
});

test('a decision log as a trace', async (t) => {
  const folder = temporaryFolder(t);
  const logs = {};
  for (const prompts of ['text', 'hash']) {
    logs[prompts] = path.join(folder, `${prompts}.jsonl`);
    const config = changedConfig(t, (text) => `${text.replace(/\n# decisions:[^]*$/, '\n')}decisions:\n  file: ${logs[prompts]}\n  prompts: ${prompts}\n`);
    const server = await Server.start({ args: ['--config', config] });
    for (const content of mixedPrompts.slice(0, 4))
      await server.json('/v1/chat/completions', { messages: [{ role: 'user', content }], temperature: 0, max_tokens: 5 });
    await server.stop();
  }
  const { runs: [r] } = JSON.parse(replay(logs.text, '--policies', 'adaptive', '--arrivals', '--json'));
  assert.deepEqual([r.requests, r.answered, r.checked, r.intents], [4, 4, 0, {}]);
  assert.ok(r.items.every((i) => i.tokens <= 5 && i.intent === null && ['code', 'qa', 'math'].includes(i.kind)));
  // The same decisions as the server's.
  const logged = fs.readFileSync(logs.text, 'utf8').trim().split('\n').slice(1).map((line) => JSON.parse(line));
  assert.deepEqual(r.items.map((i) => [i.model, i.label]), logged.map((l) => [l.plan.role, l.facts.intent?.label ?? null]));
  const redacted = run(['replay', logs.hash]);
  assert.equal(redacted.status, 5);
  assert.match(redacted.stderr, /hash\.jsonl:2: .*prompts: text/);
  assert.equal(run(['replay', logs.text, '--policies', 'oracle']).status, 2);
});

test('halves share nothing', () => {
  const ids = (half) => JSON.parse(replay('--scenario', 'A', '--policies', 'small', '--requests', '20', '--half', half,
    '-n', '1', '--json')).runs[0].items.map((i) => i.id);
  const [first, second] = [ids('1'), ids('2')];
  assert.deepEqual([first.length, second.length], [20, 20]);
  assert.ok(first.every((id) => !second.includes(id)));
});

test('an interrupted replay goes on', async (t) => {
  const output = path.join(temporaryFolder(t), 'results.json');
  const args = ['replay', '--scenario', 'A', '--policies', 'small,large,adaptive', '--requests', '30', '--rounds', '5',
    '--output', output];
  const child = spawn(program, args, { cwd: root, stdio: 'ignore' });
  const ended = new Promise((resolve) => child.on('exit', (status) => resolve(status)));
  const journal = `${output}.partial`;
  const lines = () => (fs.existsSync(journal) ? fs.readFileSync(journal, 'utf8').split('\n').length - 1 : 0);
  await until('two blocks are done', () => lines() >= 3, 60000);
  child.kill('SIGINT');
  const status = await ended;
  if (status === 0) return; // it was faster
  assert.equal(status, 8);
  fs.appendFileSync(journal, '{"A/large/4": {"items": [{'); // the machine went down while it wrote
  const other = run([...args.slice(0, -2), '--seed', '2', '--output', output]);
  assert.equal(other.status, 2);
  assert.match(other.stderr, /another replay/);
  const before = lines();
  assert.equal(run(args, { timeout: 600000 }).status, 0);
  assert.ok(before >= 3 && !fs.existsSync(journal));
  const whole = JSON.parse(replay(...args.slice(1, -2), '--json'));
  assert.deepEqual(lasting(JSON.parse(fs.readFileSync(output, 'utf8'))), lasting(whole));
});

test('simulated: no engines, the published beside the derived', () => {
  const text = replay('--simulate', 'config/paper-910b.yaml');
  assert.match(text, /Table 4, scenario A[^]*static 1B +67\.41 +67\.41 += +67\.41 +21\.28/);
  assert.match(text, /A-IO +87\.32 +88\.33 +\+1\.01 +not given +13\.40 +not given/);
  const { runs } = JSON.parse(replay('--simulate', 'config/paper-910b.yaml', '--policies', 'small,paper', '--json'));
  assert.deepEqual(runs.map((r) => `${r.scenario} ${r.policy}`), ['A small', 'A paper', 'B small', 'B paper', 'C small', 'C paper']);
  assert.equal(runs[4].mean_rate, null);
  assert.equal(runs[1].published.accuracy, 70.85);
});

test('what is refused', (t) => {
  const refused = (args, status, message) => {
    const result = run(['replay', ...args]);
    assert.equal(result.status, status, result.stderr);
    assert.match(result.stderr, message);
  };
  const bad = path.join(temporaryFolder(t), 'bad.jsonl');
  fs.writeFileSync(bad, '{"domain": "qa", "prompt": "x", "answr": "y"}\n');
  refused([], 2, /what to replay/);
  refused(['--scenario', 'D'], 3, /"D".*A, B, C/);
  refused(['--scenario', 'A', '--policies', 'clever'], 3, /clever.*adaptive.*oracle/);
  refused(['--scenario', 'A', '--policies', 'small,small'], 2, /twice/);
  refused(['--scenario', 'A', '--policies', 'best-single'], 2, /needs small or large/);
  refused(['--scenario', 'A', '--policies', 'rules'], 4, /rules/);
  refused(['--scenario', 'A', '--rate', '5', '--in-flight', '2'], 2, /exclude/);
  refused(['--scenario', 'A', '--arrivals'], 2, /--arrivals/);
  refused(['--scenario', 'A', 'models/demo/requests.jsonl', '--requests', '50'], 2, /needs 35 tasks of the kind code; there are 7/);
  refused(['--simulate', 'config/paper-910b.yaml', '--scenario', 'A'], 2, /--simulate/);
  refused(['--simulate', 'config/paper-910b.yaml', '--requests', '7'], 2, /--simulate/);
  refused(['--decisions', 'x', '--requant', 'head=q4_0'], 2, /--decisions/);
  refused(['--server', 'http://127.0.0.1:9', '--scenario', 'A', '--requant', 'head=q4_0'], 2, /--requant/);
  refused(['--simulate', 'config/demo.yaml'], 4, /config\/demo\.yaml/);
  refused(['--scenario', 'A', '--step-cost', '/nonexistent.json'], 3, /nonexistent/);
  refused(['--scenario', 'A', '--step-cost', 'x', '--in-flight', '2'], 2, /--step-cost.*one at a time/);
  refused(['--simulate', 'config/paper-910b.yaml', '--step-cost', 'x'], 2, /no step runs/);
  refused(['/nonexistent.jsonl'], 3, /nonexistent/);
  refused([bad], 5, /bad\.jsonl:1: unknown field "answr"/);
  refused(['models/demo/requests.jsonl', '--half', '1'], 2, /--half/);
});
