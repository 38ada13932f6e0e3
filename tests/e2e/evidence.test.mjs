// `make evidence-real`'s arithmetic, on labels whose figures can be told by hand.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { program, root, temporaryFolder } from './helper.mjs';

// Four requests: both right, the large one alone, the small one alone, none.
const small = [true, false, true, false], large = [true, true, false, false];
const success = [0.9, 0.2, 0.8, 0.1];

function folder(t) {
  const made = temporaryFolder(t);
  const write = (name, values) => fs.writeFileSync(path.join(made, name), values.map((v) => `${JSON.stringify(v)}\n`).join(''));
  const side = (right, tokens) => ({ right, answer: 'x', prompt_tokens: 10, tokens });
  write('labelled-judge.jsonl', small.map((right, i) => ({
    id: `${i}`, task: 'humaneval', intent: 'code', check: {}, small: side(right, 20), large: side(large[i], 40),
  })));
  // What each makes of the other's answers (of two and of four tokens), and one that the large model went on with.
  write('scores-large-of-small-judge.jsonl', small.map((right, i) => (
    { id: `${i}`, tokens: ['a', 'b'], logprob: [-0.1, right ? -0.1 : -5], rank: [0, 0] })));
  write('scores-small-of-large-judge.jsonl', small.map((right, i) => (
    { id: `${i}`, tokens: ['a', 'b', 'c', 'd'], logprob: [0, 0, 0, 0], rank: [0, 0, 1, 0] })));
  write('labelled-relay.jsonl', [{ id: '1@0.01', large: side(true, 30) }]);
  write('decisions-success.jsonl', success.map((p) => ({
    intent: { label: 'code', entropy: 0.1 }, plan: { role: p >= 0.5 ? 'small' : 'large', success: p },
  })));
  const result = (model, testName, n, ms) => ({ model, test: testName, n, ms });
  fs.writeFileSync(path.join(made, 'steps.json'), JSON.stringify({
    models: [{ model: 's', weight_bytes: 1e6 }, { model: 'l', weight_bytes: 4e6 }],
    results: [result('s', 'prefill', 100, 100), result('s', 'step', 1, 5), result('s', 'step', 8, 8),
      result('l', 'prefill', 100, 400), result('l', 'step', 1, 10), result('l', 'step', 8, 40)],
  }));
  return made;
}

test('areas, curves, costs', (t) => {
  const made = folder(t), results = path.join(made, 'out.json'), svg = path.join(made, 'out.svg');
  const run = spawnSync('python3', [path.join(root, 'tools/real/evidence_report.py'), made, '--steps',
    path.join(made, 'steps.json'), '--results', results, '--svg', svg], { encoding: 'utf8' });
  assert.equal(run.status, 0, run.stderr);
  const report = JSON.parse(fs.readFileSync(results, 'utf8'));
  assert.match(fs.readFileSync(svg, 'utf8'), /^<svg[^]*<\/svg>\n$/);
  const own = report.own.at(-1);
  assert.deepEqual([own.small[0], own.large[0], own.either[0]], [50, 50, 75]);
  const area = (name) => report.areas.find((a) => a.predictor.startsWith(name)).all[0];
  assert.equal(area('success head'), 1);
  assert.equal(area('prompt length'), 0.5);
  assert.equal(area("the large model's reading"), 1);
  const [made1] = report.frontiers;
  const way = (name) => made1.checked[0].rows.find((r) => r.way === name);
  const near = (value, wanted) => assert.ok(Math.abs(value - wanted) < 1e-9, `${value}, not ${wanted}`);
  // The wrong ones are rejected: small and the reading of 12 rows for all, 40 tokens of the large one for two.
  const again = way('again, least token under 0.01');
  assert.deepEqual([again.right, again.rejected], [75, 50]);
  near(again.times_large, (4 * 440) / (4 * (110 + 12 * 4) + 2 * 400));
  // Four tokens with the third refused: two rounds of two drafts; a step of three rows lies between 10 and 40 ms.
  const exact = way('exact');
  assert.deepEqual([exact.right, exact.agreed, exact.block], [50, 75, 2]);
  near(exact.times_large, 440 / (50 + 2 * (2 * 5 + 10 + (2 * 30) / 7)));
  const relay = way('relay, token under 0.01');
  assert.deepEqual([relay.requests, relay.right, relay.kept, relay.block], [1, 100, 50, 2]);
  near(relay.times_large, 440 / (50 + 2 * 5 + 10 + 30 / 7 + 30 * 10));
  const policy = (name) => made1.policies.find((p) => p.policy === name);
  // 10 prompt rows and the steps: small 10 + 20 · 5, large 40 + 40 · 10; eight at once a step is shared by eight.
  assert.equal(policy('small')['1'].ms_per_answer, 110);
  assert.equal(policy('large')['1'].ms_per_answer, 440);
  assert.equal(policy('small')['8'].ms_per_answer, 30);
  assert.equal(policy('large')['8'].ms_per_answer, 240);
  assert.equal(policy('large')['1'].bytes_per_answer, 41 * 4e6);
  assert.equal(policy('random, half')['1'].ms_per_answer, 275);
  // The small one has 0 and 2; the large one's answers to 1 and 3 come after the small one read their prompts.
  assert.deepEqual([policy('success rule').accuracy, policy('success rule').small_share], [75, 0.5]);
  assert.equal(policy('success rule')['1'].ms_per_answer, (110 + 440 + 10) / 2);
  // The oracle: small where it is right or the large one is not.
  assert.deepEqual([policy('oracle').accuracy, policy('oracle').small_share], [75, 0.75]);
});

test("RouteLLM's terms", (t) => {
  const code = `
import sys; sys.path.insert(0, ${JSON.stringify(path.join(root, 'tools/real'))}); sys.dont_write_bytecode = True
import evidence_statistics as s
perfect = s.gap_recovered(s.recovered_curve([0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1]))
assert s.area(perfect) == 0.75 and s.calls_for(perfect, 0.5) == 0.25 and s.calls_for(perfect, 0.8) == 0.4, perfect
blind = s.gap_recovered(s.recovered_curve([1, 1, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1]))
assert s.area(blind) == 0.5 and s.calls_for(blind, 0.5) == 0.5 and s.calls_for(blind, 0.8) == 0.8, blind
assert s.gap_recovered(s.recovered_curve([1, 2], [1, 1], [1, 0])) is None
assert s.auc([1, 2, 2, 3], [0, 1, 0, 1]) == 0.875 and s.auc([1, 2], [1, 1]) is None
low, high = s.wilson(0, 10)[1:]
assert abs(low) < 1e-9 and 27 < high < 28.5
`;
  const run = spawnSync('python3', ['-c', code], { encoding: 'utf8' });
  assert.equal(run.status, 0, run.stderr);
});

test("what one model makes of the other's answers, and how it goes on from them", (t) => {
  const file = path.join(temporaryFolder(t), 'lines.jsonl');
  const code = `
import pathlib, sys; sys.path.insert(0, ${JSON.stringify(path.join(root, 'tools/real'))}); sys.dont_write_bytecode = True
import evidence_serve as serve
line = {"id": "1", "messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 6, "kept": 1, "beginning": "It",
        "small_answer": "It is 4.", "small": {"prompt_tokens": 3}, "large": {"answer": "Four", "tokens": 2}}
with serve.serving(${JSON.stringify(program)}, ${JSON.stringify(path.join(root, 'config/demo.yaml'))}) as server:
    make = lambda one: {"score": serve.scored(server, "large", one, "It is 4."), "relay": serve.relayed(server, "large", one)}
    made = serve.each(pathlib.Path(${JSON.stringify(file)}), [line], make)["1"]
    assert serve.relayed(server, "large", line | {"beginning": ""}) == {"prompt_tokens": 3, "answer": "Four", "tokens": 2}
assert "".join(made["score"]["tokens"]) == "It is 4." and all(p < 0 for p in made["score"]["logprob"]), made
assert made["relay"]["answer"].startswith("It") and 0 < made["relay"]["tokens"] <= 5, made
assert serve.each(pathlib.Path(${JSON.stringify(file)}), [line], None) == {"1": made}  # nothing is asked again
`;
  const run = spawnSync('python3', ['-c', code], { encoding: 'utf8', timeout: 60000 });
  assert.equal(run.status, 0, run.stderr);
});
