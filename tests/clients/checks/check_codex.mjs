import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { key, packages, run, v1 } from './check.mjs';

// The agent's own prompt has thousands of tokens: the small model reads it, and only whether it answers is looked at.
// A busy machine may take longer for that than the five minutes which it waits for an event.
const home = fs.mkdtempSync(path.join(packages, 'home-'));
const provider = `{name="a-io", base_url="${v1}", wire_api="responses", env_key="A_IO_KEY", request_max_retries=0, stream_max_retries=0, stream_idle_timeout_ms=880000}`;

await run({
  'exec answers by /v1/responses': () => {
    const done = spawnSync(path.join(packages, 'node_modules/.bin/codex'), ['exec', '--json', '--skip-git-repo-check', '--sandbox', 'read-only',
      '-c', 'model_provider=a-io', '-c', `model_providers.a-io=${provider}`, '-m', process.env.A_IO_SMALL, 'Say hello.'],
    { cwd: home, encoding: 'utf8', timeout: 900000, input: '', env: { ...process.env, HOME: home, CODEX_HOME: home, A_IO_KEY: key } });
    const events = done.stdout.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
    const texts = events.filter((one) => one.item?.type === 'agent_message').map((one) => one.item.text);
    fs.rmSync(home, { recursive: true, force: true });
    assert.equal(done.status, 0, `${done.stdout.slice(-800)} ${done.stderr.slice(-800)}`);
    assert.ok(texts.at(-1)?.length > 0, done.stdout.slice(-800));
  },
});
