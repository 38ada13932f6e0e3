import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { key, packages, run, v1 } from './check.mjs';

// The agent's own prompt has thousands of tokens: the small model reads it, and only whether it answers is looked at.
const home = fs.mkdtempSync(path.join(packages, 'home-'));
const small = process.env.A_IO_SMALL;
const config = {
  autoupdate: false, share: 'disabled', model: `a-io/${small}`, small_model: `a-io/${small}`, enabled_providers: ['a-io'],
  provider: { 'a-io': { npm: '@ai-sdk/openai-compatible', name: 'A-IO', options: { baseURL: v1, apiKey: key },
    models: { [small]: { name: small, tool_call: true, limit: { context: 32768, output: 256 } } } } },
};

await run({
  'run answers by /v1/chat/completions, with its tools': () => {
    const done = spawnSync(path.join(packages, 'node_modules/.bin/opencode'), ['run', '--model', `a-io/${small}`, '--format', 'json', 'Say hello.'], {
      cwd: home, encoding: 'utf8', timeout: 900000, input: '',
      env: { ...process.env, HOME: home, XDG_CONFIG_HOME: `${home}/config`, XDG_DATA_HOME: `${home}/data`, OPENCODE_DISABLE_MODELS_FETCH: '1', OPENCODE_CONFIG_CONTENT: JSON.stringify(config) },
    });
    const events = done.stdout.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
    fs.rmSync(home, { recursive: true, force: true });
    assert.equal(done.status, 0, `${done.stdout.slice(-800)} ${done.stderr.slice(-800)}`);
    assert.ok(!events.some((one) => one.type === 'error'), done.stdout.slice(-800));
    assert.ok(events.some((one) => one.type === 'text' || one.type === 'tool_use'), done.stdout.slice(-800));
  },
});
