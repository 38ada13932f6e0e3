// A real coder fills a hole: /infill, with what it is shown of other files, and a completion's suffix.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { Server } from '../e2e/helper.mjs';

const cache = process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
const folder = process.env.A_IO_REAL_MODELS || path.join(cache, 'a-io/real');
const file = path.join(folder, 'qwen2.5-coder-0.5b-instruct-q4_k_m.gguf');
const skip = fs.existsSync(file) ? false : `${file} is not there (make real-models)`;

test('a hole is filled with what stands before it, behind it and in other files', { skip, timeout: 240000 }, async (t) => {
  const server = await Server.start({ args: ['-m', file, '-c', '1024'] });
  t.after(() => server.stop());
  const ask = async (route, body) => {
    const reply = await server.json(route, { temperature: 0, n_predict: 24, stop: ['\n'], ...body });
    assert.equal(reply.status, 200, JSON.stringify(reply.body));
    return reply.body;
  };
  const before = 'def add(a, b):\n    """The sum of a and b."""\n    return ', behind = '\n\nprint(add(1, 2))\n';
  const filled = await ask('/infill', { input_prefix: before, input_suffix: behind });
  assert.equal(filled.content.trim(), 'a + b');
  const { choices } = await ask('/v1/completions', { prompt: before, suffix: behind, n_predict: undefined, max_tokens: 24 });
  assert.equal(choices[0].text, filled.content);

  const hole = { input_prefix: 'from limits import *\n\ndef most():\n    return ', input_suffix: '\n', prompt: 'LARGEST_' };
  const shown = await ask('/infill', { ...hole, input_extra: [{ filename: 'limits.py', text: 'LARGEST_ZEBRA_COUNT = 41\n' }] });
  assert.match(shown.content, /ZEBRA/);
  assert.doesNotMatch((await ask('/infill', hole)).content, /ZEBRA/);
});
