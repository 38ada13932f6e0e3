// Another engine's process, and what tests ask of it directly and through `a-io serve`.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { until } from '../e2e/helper.mjs';

const cache = process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
const models = process.env.A_IO_REAL_MODELS || path.join(cache, 'a-io/real');
export const [smallFile, largeFile] = ['0.5b', '1.5b'].map((size) => path.join(models, `qwen2.5-coder-${size}-instruct-q4_k_m.gguf`));

// The engine's folder, as run.sh laid it.
export const folder = process.env.A_IO_ENGINE ?? '';
export const lacks = (...files) => [path.join(folder, '.installed'), ...files].filter((file) => !fs.existsSync(file))
  .map((file) => `no ${file}`)[0] ?? false;

export const freePort = () => new Promise((resolve) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => process.exit(1)); // with the engines

export const postJson = (url, body) => fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

export class Engine {
  // `command(port)` starts it; `busy(engine)` says how many requests it works on.
  static async start(command, busy, port) {
    const engine = new Engine();
    port ??= await freePort();
    engine.port = port;
    engine.url = `http://127.0.0.1:${port}`;
    engine.busy = () => busy(engine);
    const [program, args, env] = command(port);
    // A group of its own: vLLM's processes end together.
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, env: { ...process.env, ...env } });
    let log = '';
    for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (text) => { log = (log + text).slice(-4000); });
    engine.child = child;
    process.once('exit', () => engine.kill());
    await until(`${program} answers`, () => {
      if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}:\n${log}`);
      return fetch(`${engine.url}/health`).then((r) => r.ok, () => false);
    }, 600000);
    return engine;
  }

  kill() {
    try { process.kill(-this.child.pid, 'SIGKILL'); } catch { /* it is gone */ }
  }

  async text(route) {
    return (await fetch(this.url + route)).text();
  }

  async chat(body) {
    return (await postJson(`${this.url}/v1/chat/completions`, body)).json();
  }
}

export const local = `  - {name: small, path: "${smallFile}", context: 4096, slots: 2}`;
export const remote = (name, engine) => `  - {name: ${name}, url: "${engine.url}/v1", context: 4096}`;
export const probe = (template, space) => `probe:
  timeout_ms: 240000
  template: "${template}"
  labels:
    - {name: code, token: "${space}code"}
    - {name: qa, token: "${space}question"}
    - {name: math, token: "${space}math"}`;
export const rules = `policy:
  name: rules
  rules:
    - {name: code, intent: code, model: small}
    - {name: rest, model: large}`;

export function config(...parts) {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'a-io-engines-')), 'engines.yaml');
  fs.writeFileSync(file, `version: 1\nmodels:\n${parts.join('\n')}\n`);
  process.once('exit', () => fs.rmSync(path.dirname(file), { recursive: true, force: true }));
  return file;
}

export const ask = (content, more = {}) => ({ messages: [{ role: 'user', content }], temperature: 0, max_tokens: 24, ...more });

// What comes of a stream: its events, or what stood in their place.
export async function streamed(server, body) {
  const response = await postJson(`${server.url}/v1/chat/completions`, { ...body, stream: true, stream_options: { include_usage: true } });
  const raw = await response.text();
  const events = raw.split('\n\n').filter((event) => event.startsWith('data: {')).map((event) => JSON.parse(event.slice(6)));
  return {
    status: response.status, headers: response.headers, events, raw, isWhole: raw.endsWith('data: [DONE]\n\n'),
    text: events.map((event) => event.choices?.[0]?.delta?.content ?? '').join(''),
    errors: events.filter((event) => event.error).length + (response.status === 200 ? 0 : 1),
  };
}
