// Every command on every real model file that is there (make real-models).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { Server, root, run, temporaryFolder } from '../e2e/helper.mjs';

const cache = process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
const folder = process.env.A_IO_REAL_MODELS || path.join(cache, 'a-io/real');
const pair = ['qwen2.5-coder-0.5b-instruct-q4_k_m.gguf', 'qwen2.5-coder-1.5b-instruct-q4_k_m.gguf'].map((f) => path.join(folder, f));

// `template`: for a base model, which has none.
const models = [
  { file: 'SmolLM2-135M-Instruct.Q4_1.gguf', reference: 'smollm2-135m-instruct-q4_1' },
  { file: 'gemma-3-270m-q4_k_m.gguf', reference: 'gemma-3-270m-q4_k_m', template: 'chatml' },
  { file: path.basename(pair[0]), reference: 'qwen2.5-coder-0.5b-instruct-q4_k_m' },
  { file: path.basename(pair[1]), reference: 'qwen2.5-coder-1.5b-instruct-q4_k_m' },
];
const QUESTION = 'What is the capital of France? Answer in one word.';
const commandOptions = { timeout: 240000 };

// A greedy answer of a command that must succeed.
function answered(args, options = {}) {
  const result = run(args, { ...commandOptions, ...options });
  assert.equal(result.status, 0, `${args.join(' ')}: ${result.stderr}`);
  return result.stdout;
}

for (const { file, reference, template } of models) {
  const model = path.join(folder, file);
  const withTemplate = template ? ['--chat-template', template] : [];
  const options = { skip: !fs.existsSync(model) && `no ${model}` };

  test(`inspect ${file}`, options, () => {
    const shown = JSON.parse(answered(['inspect', '--json', '-m', model]));
    assert.equal(shown.file_bytes, fs.statSync(model).size);
    assert.ok(shown.weight_bytes_per_token > 1e7 && shown.weight_bytes_per_token < shown.file_bytes);
    assert.ok(shown.tokenizer.ends.length > 0);
  });

  const known = path.join(root, `../shared/real/${reference}.json`);
  test(`tokenize ${file}`, { skip: options.skip || (!fs.existsSync(known) && `no ${known}`) }, () => {
    const { text, tokens } = JSON.parse(fs.readFileSync(known));
    const [ids] = JSON.parse(answered(['tokenize', '-m', model, '--json'], { input: JSON.stringify([text]) }));
    assert.deepEqual(ids, tokens.slice(tokens.length - ids.length));
    assert.ok(tokens.length - ids.length <= 1); // a <bos>, which tokenize does not add
    const [back] = JSON.parse(answered(['tokenize', '-m', model, '--json', '--decode'], { input: JSON.stringify([ids]) }));
    assert.equal(back, text);
  });

  test(`run ${file}`, options, () => {
    const answer = (more) => JSON.parse(answered(['run', '--json', '-m', model, '-c', '512', '-n', '12', ...more, QUESTION]));
    const first = answer([]);
    assert.ok(first.text.trim().length > 0, JSON.stringify(first));
    assert.deepEqual(answer(['--lookup', '4', '-t', '1']).tokens, first.tokens);
    if (!template) assert.match(first.text, /Paris/);
  });

  test(`serve ${file}`, options, async (t) => {
    const server = await Server.start({ args: ['-m', model, '-c', '512', ...withTemplate] });
    t.after(() => server.stop());
    const { status, body } = await server.json('/v1/chat/completions',
      { max_tokens: 8, temperature: 0, messages: [{ role: 'user', content: QUESTION }] });
    assert.equal(status, 200, JSON.stringify(body));
    assert.ok(body.choices[0].message.content.length > 0);
  });

  test(`route with ${file}`, options, (t) => {
    const config = path.join(temporaryFolder(t), 'pair.yaml');
    const same = { path: model, context: 512, slots: 2, ...(template ? { chat_template: template } : {}) };
    fs.writeFileSync(config, JSON.stringify({
      version: 1,
      models: [{ name: 'small', role: 'small', ...same }, { name: 'large', role: 'large', ...same }],
      probe: { template: '{conversation}Task category:', labels: [
        { name: 'code', token: ' code' }, { name: 'qa', token: ' question' }, { name: 'math', token: ' math' }] },
    }));
    const decision = JSON.parse(answered(['route', '--config', config, '--json', QUESTION]));
    const sum = Object.values(decision.intent.probabilities).reduce((a, b) => a + b);
    assert.ok(Math.abs(sum - 1) < 1e-6 && decision.intent.outside < 1, JSON.stringify(decision));
    const { text, plan } = JSON.parse(answered(['run', '--config', config, '--json', '-n', '4', QUESTION]));
    assert.equal(plan.model, decision.plan.model);
    assert.ok(text.length > 0);
  });
}

test('the pair decides by kind and answers', { skip: !pair.every((file) => fs.existsSync(file)) && 'not both files' }, (t) => {
  const config = path.join(temporaryFolder(t), 'pair.yaml');
  let text = fs.readFileSync(path.join(root, 'config/qwen2.5-coder.yaml'), 'utf8');
  for (const file of pair) text = text.replace(new RegExp(`path: .*${path.basename(file)}`), `path: ${file}`);
  fs.writeFileSync(config, text);
  const requests = fs.readFileSync(path.join(root, 'tools/demo/real_requests.jsonl'), 'utf8').trim().split('\n').map(JSON.parse);
  const lines = answered(['route', '--config', config, '--jsonl'], { input: requests.map((r) => `${JSON.stringify(r)}\n`).join('') });
  const decisions = lines.trim().split('\n').map(JSON.parse);
  const right = decisions.filter((d, i) => d.intent.label === requests[i].intent).length;
  assert.ok(right >= requests.length - 1, `${right} of ${requests.length} labelled right`);
  const models = new Set(decisions.map((d) => d.plan.model));
  assert.equal(models.size, 2, 'both models have something to answer');
});
