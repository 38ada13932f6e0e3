// The built-in tasks are what their script makes: nobody wrote into the file by hand.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { root, run, temporaryFolder } from './helper.mjs';

test('models/demo/tasks.jsonl is what make_tasks.py writes, byte for byte', (t) => {
  const out = path.join(temporaryFolder(t), 'tasks.jsonl');
  const made = spawnSync('python3', ['tools/demo_models/make_tasks.py', out], { cwd: root, encoding: 'utf8' });
  assert.equal(made.status, 0, made.stderr);
  assert.ok(fs.readFileSync(out).equals(fs.readFileSync(path.join(root, 'models/demo/tasks.jsonl'))));
});

test('more than there are is refused, by kind', () => {
  const { status, stderr } = run(['replay', '--scenario', 'A', '--requests', '5000']);
  assert.equal(status, 2);
  assert.match(stderr, /scenario A: the scenario needs 3500 tasks of the kind code; there are 1400/);
});
