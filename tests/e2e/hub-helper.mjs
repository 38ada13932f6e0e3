// What the tests of the hub share: a hub with repositories, started beside them, and a-io with a cache of the test's own.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after } from 'node:test';

import { Hub } from './hub-server.mjs';
import { program, root, smallModel, temporaryFolder } from './helper.mjs';

export const commit = 'c0ffee00'.repeat(5), next = 'deadbeef'.repeat(5);
export const small = fs.readFileSync(smallModel);
export const golden = (name) => fs.readFileSync(path.join(root, 'tests/golden/data', name));
export const tail = (data, text) => Buffer.concat([data, Buffer.from(text)]);

function repositories() {
  const parts = [0, 1, 2].map((i) => small.subarray(i * 500000, i === 2 ? small.length : (i + 1) * 500000));
  return {
    'demo/pair-GGUF': {
      revisions: { main: commit, 'v1.0': commit, 'refs/pr/1': next },
      commits: {
        [commit]: { 'README.md': Buffer.from('# a pair\n'), 'small-q4_k_m.gguf': small,
          'mmproj-small-Q4_K_M.gguf': golden('qwen2.F16.gguf'), 'small-Q8_0.gguf': golden('pangu.Q8_0.gguf'),
          'small-bf16.gguf': golden('llama.BF16.gguf') },
        [next]: { 'README.md': Buffer.from('# a pair, again\n'), 'small-q4_k_m.gguf': small,
          'small-Q8_0.gguf': golden('qwen3.Q4_0.gguf') },
      },
      small: ['README.md'],
    },
    'demo/parts': {
      revisions: { main: commit },
      commits: { [commit]: Object.fromEntries(parts.map((data, i) => [`Q4_0/big-Q4_0-0000${i + 1}-of-00003.gguf`, data])) },
    },
    'demo/git-only': { revisions: { main: commit }, commits: { [commit]: { 'tiny.gguf': golden('qwen3.Q4_0.gguf') } },
      small: ['tiny.gguf'] },
    'demo/nothing': { revisions: { main: commit }, commits: { [commit]: { 'README.md': Buffer.from('none') } } },
    'demo/gated': { revisions: { main: commit }, commits: { [commit]: { 'a-Q4_0.gguf': golden('qwen3.Q4_0.gguf') } },
      gated: 'manual', tokens: ['hf_member'] },
    'demo/private': { revisions: { main: commit }, commits: { [commit]: { 'a-Q4_0.gguf': golden('qwen3.Q4_0.gguf') } },
      private: true, tokens: ['hf_member'] },
  };
}

export const hub = await Hub.start(repositories());
after(() => hub.stop());

// A hub without faults and requests, and an empty cache of the test's own.
export function fresh(t) {
  hub.forget();
  hub.repositories = repositories();
  const home = path.join(temporaryFolder(t), 'hf');
  return { HF_ENDPOINT: hub.url, HF_HOME: home };
}

function environment(env) {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(HF_|HUGGING|TRANSFORMERS_|.*_proxy$)/i.test(name)));
  return { ...clean, A_IO_LOG: 'info', ...env };
}

export function begin(command, args, env, options = {}) {
  const child = spawn(command, args, { cwd: root, env: environment(env), stdio: ['pipe', 'pipe', 'pipe'], ...options });
  const result = { child, stdout: '', stderr: '' };
  child.stdin.on('error', () => {}); // who refuses its options reads none
  child.stdin.end(options.input ?? '');
  for (const name of ['stdout', 'stderr']) {
    child[name].setEncoding('utf8');
    child[name].on('data', (text) => { result[name] += text; });
  }
  result.ended = new Promise((resolve) => child.on('close', (status, signal) => resolve(Object.assign(result, { status, signal }))));
  return result;
}

const aio = (args, env, options) => begin(program, args, env, options).ended;

export async function works(args, env, options) {
  const r = await aio(args, env, options);
  assert.equal(r.status, 0, `a-io ${args.join(' ')}: ${r.stderr}`);
  return r;
}

export async function fails(status, words, args, env, options) {
  const r = await aio(args, env, options);
  assert.equal(r.status, status, `a-io ${args.join(' ')}: ${r.stdout}${r.stderr}`);
  for (const word of [words].flat()) assert.ok(r.stderr.includes(word), `not "${word}" in: ${r.stderr}`);
  assert.equal(r.stdout, '');
  return r;
}

export const cacheOf = (env) => path.join(env.HF_HOME, 'hub');
export const folderOf = (env, name = 'demo--pair-GGUF') => path.join(cacheOf(env), `models--${name}`);
export const blobs = (env, name) => fs.existsSync(path.join(folderOf(env, name), 'blobs')) ?
  fs.readdirSync(path.join(folderOf(env, name), 'blobs')) : [];
