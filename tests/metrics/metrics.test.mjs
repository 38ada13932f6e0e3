// /metrics as Prometheus reads it, and every query of the dashboard: `make test-metrics`.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { root, Server, sleep, temporaryFolder, until } from '../e2e/helper.mjs';

const QUESTIONS = ['What is 3 plus 4?', 'Write a function that adds two numbers.', 'What is the capital of France?', 'Repeat this list: a b c d e f a b c d e f.'];
let server;

before(async () => { server = await Server.start(); });
after(async () => { await server?.stop(); });

async function ask(text) {
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content: text }], max_tokens: 40, prompt_lookup_num_tokens: 4 }),
  });
  assert.equal(response.status, 200);
}

const metrics = async () => (await fetch(`${server.url}/metrics`)).text();

test('promtool finds nothing but the colons of the names that others gave', async () => {
  for (const text of QUESTIONS) await ask(text);
  const { stdout, stderr, error } = spawnSync('promtool', ['check', 'metrics'], { input: await metrics(), encoding: 'utf8' });
  assert.equal(error, undefined);
  const found = `${stdout}${stderr}`.split('\n').filter((line) => line !== '' && !/^(vllm|llamacpp):\w+ metric names should not contain ':'$/.test(line));
  assert.deepEqual(found, []);
});

test('buckets grow to the count, and agree with the counters', async () => {
  const samples = [...(await metrics()).matchAll(/^([\w:]+)_(bucket|count)(?:\{(.*)\})? (\d+)$/gm)];
  const histograms = new Map();
  for (const [, name, kind, labels = '', value] of samples) {
    const series = `${name} ${labels.replace(/,?le="[^"]*"/, '')}`;
    const one = histograms.get(series) ?? { buckets: [] };
    histograms.set(series, one);
    if (kind === 'bucket') one.buckets.push(Number(value));
    else one.count = Number(value);
  }
  const full = [...histograms.values()].filter((one) => one.buckets.length > 0);
  assert.ok(full.length > 20);
  for (const { buckets, count } of full) {
    assert.deepEqual(buckets, [...buckets].sort((a, b) => a - b));
    assert.equal(buckets.at(-1), count);
  }
  assert.ok(full.some((one) => one.count >= QUESTIONS.length));
});

test("a real Prometheus finds something for every query of docs/grafana.json", async (t) => {
  const folder = temporaryFolder(t);
  const port = 19000 + (process.pid % 1000);
  fs.writeFileSync(path.join(folder, 'prometheus.yml'),
    `global: {scrape_interval: 1s}\nscrape_configs:\n  - job_name: a-io\n    static_configs: [{targets: ["${new URL(server.url).host}"]}]\n`);
  const prometheus = spawn('prometheus', [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data`, `--web.listen-address=127.0.0.1:${port}`], { stdio: 'ignore' });
  t.after(() => prometheus.kill('SIGKILL'));
  const query = async (expression) => {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(expression)}`);
    const body = await response.json();
    assert.equal(body.status, 'success', `${expression}: ${body.error}`);
    return body.data.result;
  };
  await until('Prometheus is up', async () => { try { return (await query('up')).some((one) => one.value[1] === '1'); } catch { return false; } }, 30000);
  for (let i = 0; i < 12; i++) {
    await ask(QUESTIONS[i % QUESTIONS.length]);
    await sleep(500);
  }
  const { panels } = JSON.parse(fs.readFileSync(path.join(root, 'docs/grafana.json'), 'utf8'));
  assert.ok(panels.length >= 12);
  for (const { title, targets } of panels)
    for (const { expr } of targets) {
      const result = await query(expr.replaceAll('$__rate_interval', '1m'));
      assert.ok(result.length > 0, `${title}: nothing for ${expr}`);
      assert.ok(result.some((one) => Number.isFinite(Number(one.value[1]))), `${title}: no number for ${expr}`);
    }
});
