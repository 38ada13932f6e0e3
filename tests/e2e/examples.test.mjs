// config/examples: `a-io serve --check` passes on each, with a scripted server where a small model is at one, and what
// runs A-IO in containers names files that are there.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { program, root, temporaryFolder } from './helper.mjs';
import { Replica, done, streaming } from './replica.mjs';

const folder = path.join(root, 'config/examples');
const deployments = ['compose.yaml', 'kubernetes.yaml'];
const examples = fs.readdirSync(folder).filter((name) => name.endsWith('.yaml') && !deployments.includes(name));

// Answers a probe: the kinds that the configuration names, one of them certain.
const probed = (request, response, body) => {
  const top_logprobs = [['code', 0.98], ['qa', 0.01], ['math', 0.01]].map(([token, p]) => ({ token, logprob: Math.log(p) }));
  assert.equal(body.max_tokens, 1);
  streaming(response);
  response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: 'code' },
    logprobs: { content: [{ token: 'code', logprob: -0.02, top_logprobs }] }, finish_reason: 'length' }] })}\n\n`);
  response.end(done);
};

const check = (config) => new Promise((resolve) => {
  const child = spawn(program, ['serve', '--check', '--config', config], { cwd: root, env: { ...process.env, LARGE_KEY: 'k' } });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { said += text; });
  child.on('exit', (status) => resolve({ status, said }));
});

for (const name of examples)
  test(`serve --check of config/examples/${name}`, async (t) => {
    const replica = await Replica.start(t, probed);
    const text = fs.readFileSync(path.join(folder, name), 'utf8')
      .replace(/(name: small\n\s+url: )\S+/, `$1${replica.url}`)
      .replace(/path: \S*\/models\/demo\//g, `path: ${root}/models/demo/`);
    const config = path.join(temporaryFolder(t), name);
    fs.writeFileSync(config, text);
    const { status, said } = await check(config);
    assert.equal(status, 0, said);
    assert.match(said, /in order/);
    assert.match(text, /^# /);
    if (text.includes(replica.url)) assert.ok(replica.bodies.length > 0, 'the small model was asked');
  });

test('compose.yaml and kubernetes.yaml: what they give to A-IO', () => {
  for (const name of deployments) {
    const text = fs.readFileSync(path.join(folder, name), 'utf8');
    assert.match(text, /in-containers\.yaml/);
    assert.match(text, /\[serve, --config, \/etc\/a-io\/config\.yaml, --host, 0\.0\.0\.0\]/);
    assert.match(text, /\[vllm, serve\]/); // whatever the image's own entry point is
    assert.match(text, /\[Qwen\/Qwen2\.5-Coder-7B-Instruct, .*--enable-auto-tool-choice, --tool-call-parser, hermes\]/);
  }
  // podman and docker both find the image by the name that it is built with.
  const compose = fs.readFileSync(path.join(folder, 'compose.yaml'), 'utf8');
  assert.equal(/-t (\S+) \.$/m.exec(compose)[1], /image: (localhost\S+)/.exec(compose)[1]);
  // A Service named vllm is VLLM_PORT in its pods, which vLLM takes for its own port and ends at.
  const pods = fs.readFileSync(path.join(folder, 'kubernetes.yaml'), 'utf8').split('kind: Deployment').slice(1);
  for (const pod of pods) assert.match(pod, /^ {6}enableServiceLinks: false$/m);
  const config = fs.readFileSync(path.join(folder, 'in-containers.yaml'), 'utf8');
  const installed = /path: \/usr\/share\/a-io\/(\S+)/.exec(config)[1];
  assert.ok(fs.existsSync(path.join(root, installed)));
});
