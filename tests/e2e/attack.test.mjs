// A short run of `make attack-http`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSanitized } from './helper.mjs';
import { attackHttp } from './attack-http.mjs';

test('hostile clients beside good ones, whose bytes are as before, memory and descriptors flat', async (t) => {
  const { counts, goodReplies, failures } = await attackHttp({ requests: isSanitized ? 200 : 2000, seed: 1, clients: 16 });
  t.diagnostic(`${JSON.stringify(counts)}, good replies: ${goodReplies}`);
  assert.deepEqual(failures, []);
  assert.ok(goodReplies > 0);
});
