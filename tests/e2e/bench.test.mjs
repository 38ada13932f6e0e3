// `a-io bench`: what it refuses, and the object that --json prints.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { isSanitized, run, smallModel, temporaryFolder } from './helper.mjs';

function refused(args, status, message) {
  const result = run(['bench', ...args]);
  assert.equal(result.status, status, result.stderr);
  assert.match(result.stderr, message);
  assert.equal(result.stdout, '');
}

test('options', () => {
  refused([], 2, /no model named/);
  refused(['-m', smallModel, '--kv', 'f16,q9'], 2, /--kv.*q9.*f16, f32, q8_0, q4/);
  refused(['-m', smallModel, '--kv', 'f16,f16'], 2, /f16 is named twice/);
  refused(['-m', smallModel, '--kv', 'f16,'], 2, /--kv/);
  refused(['-m', smallModel, '--tests', 'walk:3'], 2, /walk:3/);
});

test('perplexity', (t) => {
  const text = ['--perplexity', 'README.md', '-m', smallModel];
  refused([...text, '--runs', '2'], 2, /--runs.*not with --perplexity/);
  refused([...text, '--depth', '1'], 2, /--depth/);
  const result = run(['bench', ...text, '-m', smallModel, '--kv', 'f16,q8_0', '--depth', '100', '--json']);
  assert.equal(result.status, 0, result.stderr);
  const rows = JSON.parse(result.stdout).perplexity;
  assert.deepEqual(rows.map((r) => r.kv), ['f16', 'q8_0', 'f16', 'q8_0']);
  for (const r of rows) {
    assert.equal(r.window, 100);
    assert.equal(r.windows, Math.ceil(r.tokens / 99));
    assert.ok(Math.abs(Math.log(r.perplexity) - r.nats) < 1e-5 && r.standard_error > 0);
    assert.ok(r.tokens_per_s > 0);
  }
  assert.equal(rows[0].nats, rows[2].nats);
  assert.notEqual(rows[0].nats, rows[1].nats);

  // Chat markers are letters, or the tokens that they name.
  const chat = path.join(temporaryFolder(t), 'chat.txt');
  fs.writeFileSync(chat, '<|im_start|>user\nWho founded Nintendo?<|im_end|>\n'.repeat(5));
  const tokens = (...more) => {
    const read = run(['bench', '--perplexity', chat, '-m', smallModel, '--json', ...more]);
    assert.equal(read.status, 0, read.stderr);
    return JSON.parse(read.stdout).perplexity[0].tokens;
  };
  assert.ok(tokens() - tokens('--special') >= 5 * 2 * 3);
  refused(['-m', smallModel, '--special'], 2, /--special is for --perplexity/);
});

test('timeline', { skip: isSanitized && 'reading gigabytes takes too long' }, (t) => {
  refused(['--perplexity', 'README.md', '-m', smallModel, '--timeline', 'x'], 2, /--timeline.*not with --perplexity/);
  refused(['-m', smallModel, '--json', '--timeline', '/proc/nowhere/x'], 6, /--timeline.*nowhere/);
  const file = path.join(temporaryFolder(t), 'timeline.json');
  const result = run(['bench', '-m', smallModel, '--runs', '1', '-t', '2', '--tests', 'prefill:1', '--timeline', file],
    { timeout: 600000 });
  assert.equal(result.status, 0, result.stderr);
  const events = JSON.parse(fs.readFileSync(file, 'utf8')).traceEvents.filter((e) => e.ph === 'X');
  for (const thread of [0, 1]) {
    const own = events.filter((e) => e.tid === thread);
    assert.equal(own.filter((e) => e.name === 'logits').length, 4); // tokens
    for (let i = 1; i < own.length; i++) assert.ok(own[i].ts >= own[i - 1].ts + own[i - 1].dur - 0.01);
    assert.ok(own.some((e) => e.name === 'gate and up: prepare' && e.args.layer === 1));
    assert.ok(own.some((e) => e.name === 'attention: wait'));
  }
});

test('one object', { skip: isSanitized && 'reading gigabytes takes too long' }, () => {
  const result = run(['bench', '--json', '-m', smallModel, '--kv', 'f16,q8_0', '--runs', '2', '-t', '1',
    '--tests', 'step:1-2,decode:4'], { timeout: 600000 }); // reads 100 GB, on a machine that may be busy
  assert.equal(result.status, 0, result.stderr);
  const out = JSON.parse(result.stdout);
  assert.ok(out.read_peak_gb_s.before > 0 && out.read_peak_gb_s.after > 0);
  assert.deepEqual(out.results.map((r) => [r.test, r.n, r.kv].join(' ')), ['step 1 f16', 'step 1 q8_0',
    'step 2 f16', 'step 2 q8_0', 'decode 4 f16', 'decode 4 q8_0']);
  for (const r of out.results) {
    assert.equal(r.type, 'Q8_0');
    assert.equal(r.depth, 0);
    assert.equal(r.threads, 1);
    assert.ok(r.ms > 0 && r.tokens_per_s > 0 && r.gb_s > 0 && r.share_of_peak > 0);
    assert.match(r.token_hash, /^[0-9a-f]{16}$/);
    assert.equal(r.runs.length, 2);
    for (const one of r.runs) {
      const peak = Math.max(one.read_peak_gb_s.before, one.read_peak_gb_s.after);
      assert.ok(Math.abs(r.bytes / one.ms / 1e6 / peak / one.share_of_peak - 1) < 1e-4);
    }
    assert.equal(r.ratio_to_one === null, r.test !== 'step');
    assert.equal(r.over_bound === null, r.test !== 'step');
    assert.equal(r.speedup === null, r.kv === 'f16');
  }
  const hash = (kv) => out.results.filter((r) => r.test === 'step' && r.kv === kv).map((r) => r.token_hash);
  assert.equal(new Set(hash('f16')).size, 1);
  assert.equal(new Set(hash('q8_0')).size, 1);
});
