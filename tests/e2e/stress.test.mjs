// A short run of `make stress-http`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSanitized } from './helper.mjs';
import { stressHttp } from './stress-http.mjs';

test('many clients at once: every reply as alone, nothing lost', async (t) => {
  const { counts, failures } = await stressHttp({ requests: isSanitized ? 60 : 300, seed: 1, clients: 16 });
  t.diagnostic(JSON.stringify(counts));
  assert.deepEqual(failures, []);
  assert.ok(counts.aborted > 0 && counts.whole > 0);
});
