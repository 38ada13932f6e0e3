// What one start measured spares the next one the work, and changes nothing that it says.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { run, temporaryFolder } from './helper.mjs';

test('answers of the probe and costs of steps are kept', (t) => {
  const cache = temporaryFolder(t);
  const env = { ...process.env, XDG_CACHE_HOME: cache, A_IO_LOG: 'error' };
  const check = (...more) => {
    const result = run(['serve', '--check', ...more], { env });
    assert.equal(result.status, 0, result.stderr);
    return result.stdout;
  };
  const first = check();
  const folder = path.join(cache, 'a-io', 'measured');
  const files = fs.readdirSync(folder).sort().map((name) => path.join(folder, name));
  assert.deepEqual(files.map((file) => path.basename(file).split('-')[0]), ['probe', 'steps', 'steps']);
  assert.equal(fs.statSync(files[0]).mode & 0o777, 0o600);
  assert.equal(check(), first, 'what was kept says the same');

  const text = fs.readFileSync(files[0], 'utf8');
  const kept = JSON.parse(text);
  for (const answer of kept.value)
    answer.logits = [9, 0, 0]; // all are code
  fs.writeFileSync(files[0], JSON.stringify(kept));
  assert.match(check(), /of 60 built-in requests 20 named rightly/, 'it is what was kept that is said');
  assert.equal(check('--measure'), first);
  assert.equal(fs.readFileSync(files[0], 'utf8'), text, 'and put in its place');

  for (const file of files)
    fs.writeFileSync(file, '{"value": [');
  assert.equal(check(), first, 'what cannot be read is measured again');
  assert.equal(fs.readFileSync(files[0], 'utf8'), text);
});
