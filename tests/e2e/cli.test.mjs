// The command line with bad input: an exit status and a message that says what is wrong and where.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { changedConfig, run, smallModel, temporaryFolder } from './helper.mjs';

function refused(args, status, message, options) {
  const result = run(args, options);
  assert.equal(result.signal, null, `${args.join(' ')}: ended by ${result.signal}`);
  assert.equal(result.status, status, `${args.join(' ')}: ${result.stderr}`);
  assert.match(result.stderr, message);
  assert.ok(result.stderr.trim().split('\n').length <= 2, result.stderr); // the second: try … --help
  assert.equal(result.stdout, '');
}

test('commands and options', () => {
  refused(['frobnicate'], 2, /frobnicate/);
  for (const command of ['run', 'route', 'serve', 'inspect']) {
    refused([command, '--frobnicate'], 2, /--frobnicate/);
    const help = run([command, '--help']);
    assert.equal(help.status, 0);
    assert.match(help.stdout, new RegExp(`usage: a-io ${command}`));
  }
  refused(['serve', '--port'], 2, /--port needs a value/);
  refused(['serve', '--port', '65536'], 2, /--port.*65536.*65535/);
  refused(['serve', '--port', '80x'], 2, /--port.*80x/);
  refused(['serve', '-t', '0'], 2, /--threads/);
  refused(['serve', 'extra'], 2, /extra/);
  refused(['serve', '-m', smallModel, '--policy', 'small'], 2, /--policy/);
  refused(['serve', '--host', '300.1.1.1', '--port', '0'], 6, /300\.1\.1\.1/);
  refused(['run', '-m', smallModel, '--lookup', '17', 'hello'], 2, /--lookup.*17/);
  refused(['run', '-m', smallModel, '--temperature', '-1', 'hello'], 2, /temperature/);
});

test('what cannot be printed was not done', (t) => {
  const full = fs.openSync('/dev/full', 'w');
  t.after(() => fs.closeSync(full));
  for (const args of [['help'], ['--version'], ['tune', '--help'], ['route', 'hello'], ['run', 'hello'],
    ['inspect', smallModel], ['serve', '--check']]) {
    const result = run(args, { stdio: ['ignore', full, 'pipe'] });
    assert.equal(result.status, 6, `${args.join(' ')}: ${result.stderr}`);
    assert.match(result.stderr, /cannot write/);
  }
});

test('the output matrix in fewer bits', () => {
  refused(['run', '-m', smallModel, '--requant', 'q4_0', 'x'], 2, /--requant: "q4_0" is none of head=q8_0/);
  const loud = { env: { ...process.env, A_IO_LOG: 'error' } };
  refused(['run', '-m', smallModel, '--requant', 'head=q4_k', 'x'], 5, /token_embd\.weight': its rows of 128 .* q8_0 and q4_0 can/, loud);
  const result = run(['run', '-m', smallModel, '--requant', 'head=q4_0', '-n', '4', 'x']);
  assert.equal(result.status, 0, result.stderr);
  assert.match(result.stderr, /output matrix is Q4_0 instead of Q8_0: a token reads 0 MB less of 0, its weights are off by \d+\.\d %/);
});

test('configurations', (t) => {
  const check = (change, status, message) =>
    refused(['serve', '--check', '--config', changedConfig(t, change)], status, message);
  check((text) => text.replace('entropy_limit', 'entropi_limit'), 4, /changed\.yaml:\d+: .*entropi_limit/);
  check((text) => text.replace('version: 1', 'version: 2'), 4, /version: 2/);
  check((text) => text.replace('version: 1', ''), 4, /version/);
  check((text) => text.replace('" qa"', '" qa code"'), 4, /' qa code' is 2 tokens/);
  check((text) => text.replace('"{conversation}', '"'), 4, /\{conversation\}/);
  check((text) => text.replace('name: adaptive', 'name: clever'), 4, /clever.*adaptive/);
  check((text) => text.replace('role: large', 'role: large\n    requant: head=q9'), 4, /requant: "head=q9" is none of head=q8_0/);
  check((text) => text.replace('role: large', 'role: huge'), 4, /changed\.yaml:\d+: .*role.*huge/);
  check((text) => text.replace('small.gguf', 'missing.gguf'), 3, /missing\.gguf/);
  check((text) => `${text}\n\t- {`, 4, /changed\.yaml:\d+/);
  refused(['serve', '--check', '--config', '/nonexistent.yaml'], 3, /\/nonexistent\.yaml/);
  const sound = run(['serve', '--check']);
  assert.deepEqual([sound.status, sound.stderr], [0, '']);
  assert.match(sound.stdout, /in order/);
});

test('model files', (t) => {
  const folder = temporaryFolder(t);
  const model = fs.readFileSync(smallModel);
  const broken = (name, bytes, message, status = 5) => {
    const file = path.join(folder, name);
    fs.writeFileSync(file, bytes);
    refused(['inspect', file], status, message);
    refused(['run', '-m', file, 'hello'], status, message);
    refused(['serve', '--port', '0', '-m', file], status, message);
  };
  // The value of a string key, replaced by one of the same length.
  const changed = (key, from, to) => {
    const copy = Buffer.from(model);
    const at = copy.indexOf(from, copy.indexOf(key) + key.length);
    assert.ok(at > 0 && from.length === to.length);
    copy.write(to, at);
    return copy;
  };
  broken('empty.gguf', Buffer.alloc(0), /empty\.gguf/);
  broken('magic.gguf', Buffer.concat([Buffer.from('GGUX'), model.subarray(4)]), /magic/);
  broken('version.gguf', Buffer.concat([model.subarray(0, 4), Buffer.from([9, 0, 0, 0]), model.subarray(8)]), /version 9/);
  for (const part of [10, 100, 5000, model.length / 2, model.length - 1])
    broken(`cut-${Math.floor(part)}.gguf`, model.subarray(0, part), /ends at|end of the file|file ends|truncated/);
  broken('count.gguf', Buffer.concat([model.subarray(0, 8), Buffer.alloc(8, 0xff), model.subarray(16)]), /tensor count/);
  const unknown = (name, bytes, message) => {
    const file = path.join(folder, name);
    fs.writeFileSync(file, bytes);
    refused(['run', '-m', file, 'hello'], 5, message);
  };
  unknown('architecture.gguf', changed('general.architecture', 'qwen2', 'qwen9'), /architecture 'qwen9'/);
  unknown('pre.gguf', changed('tokenizer.ggml.pre', 'qwen2', 'qwen9'), /pre type "qwen9"/);
  const type = Buffer.from(model);
  const entry = type.indexOf('blk.0.attn_q.weight') + 'blk.0.attn_q.weight'.length;
  type.writeUInt32LE(77, entry + 4 + 16); // after the number of dimensions and two of them
  unknown('type.gguf', type, /type 77/);
  refused(['inspect', path.join(folder, 'missing.gguf')], 3, /missing\.gguf/);
  refused(['inspect', folder], 6, /./);
});
