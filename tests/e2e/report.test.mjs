// `a-io report` and `a-io tune`: from a replay's results to a page, and to rules that can be served.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { changedConfig, root, run, Server, temporaryFolder } from './helper.mjs';

test('results become a page and rules', (t) => {
  const folder = temporaryFolder(t);
  const at = (name) => path.join(folder, name);
  const good = (args) => {
    const result = run(args, { timeout: 300000 });
    assert.equal(result.status, 0, result.stderr);
    return result.stdout;
  };
  good(['replay', '--scenario', 'C', '--requests', '12', '--policies', 'small,small-lookup,large,large-lookup,adaptive',
    '--output', at('results.json')]);

  good(['report', at('results.json'), '--html', at('page.html'), '--markdown', at('page.md'), '--svg', at('page.svg')]);
  const page = fs.readFileSync(at('page.html'), 'utf8');
  assert.match(page, /^<!doctype html>[^]*<\/html>\s*$/);
  assert.equal(page.match(/<svg/g).length, page.match(/<\/svg>/g).length);
  assert.doesNotMatch(page.replaceAll('http://www.w3.org/2000/svg', ''), /https?:|<script|<link|nan|inf\b/);
  assert.match(fs.readFileSync(at('page.svg'), 'utf8'), /^<svg xmlns[^]*prefers-color-scheme:dark[^]*<\/svg>\n$/);
  // A renderer that knows no variables takes the plain colour before each.
  assert.doesNotMatch(fs.readFileSync(at('page.svg'), 'utf8'), /(?<!#\w+;)(fill|stroke):var|"var/);
  const { runs } = JSON.parse(fs.readFileSync(at('results.json'), 'utf8'));
  const markdown = fs.readFileSync(at('page.md'), 'utf8');
  for (const r of runs) assert.match(markdown, new RegExp(`\\| ${r.policy} \\| ${r.accuracy.toFixed(2)} \\|`));
  assert.equal(good(['report', at('results.json')]), markdown);

  // Names are texts of somebody's: they stay texts.
  const hostile = { runs: [{ ...runs[0], items: [], policy: '<script>', scenario: '"&' }] };
  fs.writeFileSync(at('hostile.json'), JSON.stringify(hostile));
  good(['report', at('hostile.json'), '--html', at('hostile.html')]);
  assert.doesNotMatch(fs.readFileSync(at('hostile.html'), 'utf8'), /<script>/);

  // Points that coincide share a label; one that finds no place beside its point is led to it.
  const drawn = (speeds) => {
    const points = Object.entries(speeds).map(([policy, tokens_per_s]) => ({ scenario: 'A', policy, accuracy: 50, tokens_per_s, items: [] }));
    fs.writeFileSync(at('points.json'), JSON.stringify({ runs: points }));
    good(['report', at('points.json'), '--svg', at('points.svg')]);
    const svg = fs.readFileSync(at('points.svg'), 'utf8');
    const labels = [...svg.matchAll(/<text class="halo"[^>]*>(.*?)<\/text>/g)].map((m) => m[1].replace(/<[^>]*>/g, ''));
    return { labels: labels.sort(), leaders: svg.split('<path class="leader"').length - 1 };
  };
  assert.deepEqual(drawn({ small: 10, large: 100, oracle: 100, adaptive: 101 }), { labels: ['large, oracle, adaptive', 'small'], leaders: 0 });
  assert.deepEqual(drawn({ small: 100, adaptive: 105, large: 110 }), { labels: ['adaptive', 'large', 'small'], leaders: 1 });

  good(['tune', at('results.json'), '--least', '2', '--output', at('tuned.yaml')]);
  const rules = fs.readFileSync(at('tuned.yaml'), 'utf8');
  assert.match(rules, /name: long\n +above_prompt_tokens: \d+\n +model: large/); // the small one refused them
  assert.match(rules, /# +large lookup auto +6 requests, +[\d.]+ % right \([\d.]+ … [\d.]+\)/);
  assert.match(good(['serve', '--check', '--config', at('tuned.yaml')]), /in order/);
  assert.match(good(['replay', '--config', at('tuned.yaml'), '--scenario', 'C', '--requests', '4', '--policies', 'rules']), /rules/);

  // A learned probe reads no template and no tokens.
  const learned = changedConfig(t, (text) => text.replace(/^probe:\n[^]*?\n\n/m,
    'probe:\n  kind: learned\n  calibration: none.json\n  labels: [{name: code}, {name: qa}, {name: math}]\n\n'));
  const own = good(['tune', at('results.json'), '--least', '2', '--config', learned]);
  assert.match(own, /kind: learned/);
  assert.doesNotMatch(own, /template:|token:/);

  // What nobody graded says nothing of two models' difference.
  const paired = (text) => text.match(/paired with the most accurate.*/g);
  const results = JSON.parse(fs.readFileSync(at('results.json'), 'utf8'));
  for (const r of results.runs) r.items.push(...r.items.map((i) => ({ ...i, id: `${i.id} again`, right: null })));
  fs.writeFileSync(at('ungraded.json'), JSON.stringify(results));
  assert.deepEqual(paired(good(['tune', at('ungraded.json'), '--least', '2', '--tolerance', '100'])),
    paired(good(['tune', at('results.json'), '--least', '2', '--tolerance', '100'])));

  const refused = (args, status, message) => {
    const result = run(args);
    assert.equal(result.status, status, result.stderr);
    assert.match(result.stderr, message);
  };
  refused(['report'], 2, /RESULTS/);
  refused(['report', '/nonexistent.json'], 3, /nonexistent/);
  fs.writeFileSync(at('other.json'), '{"version": 1}');
  refused(['report', at('other.json')], 5, /"runs" is missing/);
  refused(['tune', at('results.json'), '--least', '1000'], 2, /no label has 1000 requests/);
  fs.writeFileSync(at('one.json'), JSON.stringify({ runs: [runs[2]] }));
  refused(['tune', at('one.json')], 2, /every model .* none of small: replay with --policies small,small-lookup,large,large-lookup,adaptive/);
  refused(['tune', at('results.json'), '--tolerance', '-1'], 2, /--tolerance/);
});

// A calibrated limit is some request's own entropy: nine digits of it would decide that request otherwise.
test('a limit of seventeen digits, and a request right at it', async (t) => {
  const decide = async (limit = 0.45) => {
    const log = path.join(temporaryFolder(t), 'decisions.jsonl');
    const config = changedConfig(t, (text) => `${text.replace('entropy_limit: 0.45', `entropy_limit: ${limit}`)}\ndecisions: {file: ${log}}\n`);
    const server = await Server.start({ args: ['--config', config] });
    for (let i = 0; i < 20; i++)
      await server.json('/v1/route', { messages: [{ role: 'user', content: `Write a function that adds ${i} numbers.` }] });
    await server.stop();
    const found = run(['replay', '--decisions', log]);
    assert.equal(found.status, 0, found.stdout);
    return fs.readFileSync(log, 'utf8').trim().split('\n').map((line) => JSON.parse(line)).filter((line) => line.facts);
  };
  const entropies = (await decide()).map(({ facts }) => facts.intent.entropy);
  const limit = entropies.find((e) => Number(e.toPrecision(9)) < e);
  const at = (await decide(limit)).find(({ facts }) => facts.intent.entropy === limit);
  assert.equal(at.plan.role, 'small');
});

test('a log of a thousand decisions is decided again', async (t) => {
  const log = path.join(temporaryFolder(t), 'decisions.jsonl');
  const config = changedConfig(t, (text) => `${text}\ndecisions: {file: ${log}, prompts: hash, max_mb: 64, keep: 1}\n`);
  const server = await Server.start({ args: ['--config', config] });
  const prompts = fs.readFileSync(path.join(root, 'models/demo/requests.jsonl'), 'utf8').trim().split('\n').map((l) => JSON.parse(l).prompt);
  const ask = async (i) => {
    const words = i % 3 === 0 ? prompts[i % prompts.length] : `${prompts[i % prompts.length].slice(0, 20 + (i % 60))} ${i}`;
    const model = i % 50 === 7 ? 'large' : 'auto';
    const response = await fetch(`${server.url}/v1/route`, { method: 'POST', headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages: [{ role: 'user', content: words }] }) });
    assert.equal(response.status, 200, await response.text());
  };
  for (let i = 0; i < 1040; i += 8) await Promise.all(Array.from({ length: 8 }, (_, k) => ask(i + k)));
  await server.stop();
  const again = run(['replay', '--decisions', log, '--json']);
  assert.equal(again.status, 0, again.stdout + again.stderr);
  const { decisions, same, pinned } = JSON.parse(again.stdout);
  assert.equal(decisions + pinned, 1040);
  assert.ok(decisions >= 1000 && same === decisions);

  // One fact changed by hand: the plan in the log is no longer what the rules say.
  const lines = fs.readFileSync(log, 'utf8').trim().split('\n');
  const at = lines.findIndex((line) => JSON.parse(line).facts?.intent?.label === 'code');
  const changed = JSON.parse(lines[at]);
  changed.facts.intent.entropy = 1;
  lines[at] = JSON.stringify(changed);
  fs.writeFileSync(log, lines.join('\n'));
  const other = run(['replay', '--decisions', log]);
  assert.equal(other.status, 1, other.stderr);
  assert.match(other.stdout, new RegExp(`${decisions - 1} of ${decisions} decisions[^]*the first that differs`));
  fs.writeFileSync(log, lines.slice(1).join('\n'));
  const none = run(['replay', '--decisions', log]);
  assert.equal(none.status, 1, none.stderr);
  assert.match(none.stdout, /^0 of 0 .*\n\d+ decisions stand before any policy line and cannot be decided/);
});
