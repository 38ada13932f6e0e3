// What every end-to-end test needs: a server of its own, raw sockets, and waiting without guessing.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const program = process.env.A_IO_PROGRAM ?? path.join(root, 'build/a-io');
export const smallModel = path.join(root, 'models/demo/small.gguf');

// A sanitizer makes the engine ten to fifty times slower, counting what is reached some times: less work, more patience.
export const isSanitized = /sanitize|coverage/.test(program);
export const patience = isSanitized ? 20 : 1;

// Milliseconds that only a fault takes: what is done in `ms` alone may take some times that where others work, too.
export const limit = (ms) => 5 * ms * patience;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Polls until `probe` gives something true, for limit(timeoutMs); the message says what did not happen. A machine that
// stood still between two polls had no time to make it happen.
export async function until(what, probe, timeoutMs = 5000) {
  for (let left = limit(timeoutMs); ;) {
    const began = performance.now(), value = await probe();
    if (value) return value;
    if (left < 0) throw new Error(`not within ${limit(timeoutMs)} ms: ${what}`);
    await sleep(10);
    left -= Math.min(performance.now() - began, 1000);
  }
}

// The demo's configuration with changes made to its text, in a folder that is removed after the test.
export function changedConfig(t, change) {
  const file = path.join(temporaryFolder(t), 'changed.yaml');
  const text = fs.readFileSync(path.join(root, 'config/demo.yaml'), 'utf8');
  fs.writeFileSync(file, change(text.replaceAll('../models/', `${root}/models/`)));
  return file;
}

export function temporaryFolder(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'a-io-e2e-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

// Runs a command to its end.
export function run(args, { timeout = 60000, ...options } = {}) {
  const result = spawnSync(program, args, {
    cwd: root, encoding: 'utf8', timeout: timeout * patience, input: '', ...options,
  });
  if (result.error) throw new Error(`a-io ${args.join(' ')}: ${result.error.message}`);
  return { status: result.status, signal: result.signal, stdout: result.stdout, stderr: result.stderr };
}

// Nothing stays when a test breaks off.
const children = new Set();
process.once('exit', () => children.forEach((child) => child.kill('SIGKILL')));

export class Server {
  // Starts `a-io serve` on a free port; resolves when it says that it listens. `within`: a command that runs it.
  static async start({ args = [], env = {}, within = [] } = {}) {
    const server = new Server();
    server.log = '';
    const [command, ...rest] = [...within, program, 'serve', '--port', '0', ...args];
    const child = spawn(command, rest, {
      cwd: root, env: { ...process.env, A_IO_API_KEY: '', ...env }, stdio: ['ignore', 'ignore', 'pipe'],
    });
    server.child = child;
    server.ended = new Promise((resolve) =>
      child.on('exit', (status, signal) => resolve({ status, signal })));
    child.on('exit', (status, signal) => { server.exit = { status, signal }; });
    children.add(child);
    child.on('exit', () => children.delete(child));
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (text) => { server.log += text; });
    await until('the server listens', () => {
      if (server.exit) throw new Error(`the server ended at start-up:\n${server.log}`);
      return server.log.includes('\ntry: ');
    }, 30000);
    server.url = /listening on (\S+)/.exec(server.log)[1];
    server.port = Number(new URL(server.url).port);
    return server;
  }

  // SIGTERM, and the proof that nothing but a clean end came of it, and soon.
  async stop() {
    if (!this.exit) this.child.kill('SIGTERM');
    const late = setTimeout(() => this.child.kill('SIGKILL'), limit(20000));
    const end = await this.ended;
    clearTimeout(late);
    if (end.status !== 0) throw new Error(`the server ended with ${JSON.stringify(end)}:\n${this.log}`);
  }

  async json(route, body, headers = {}) {
    const response = await fetch(this.url + route, body === undefined ? { headers } : {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    return { status: response.status, headers: response.headers, body: await response.json() };
  }

  async running() {
    return (await this.json('/health')).body.running;
  }

  idle(timeoutMs) {
    return until('no run is alive', async () => (await this.running()) === 0, timeoutMs);
  }

  // The log line of the request with this x-request-id, once it is there.
  logLine(id, timeoutMs) {
    return until(`a log line of ${id}`, () =>
      this.log.split('\n').find((line) => line.includes(` ${id} `)), timeoutMs);
  }

  // A connection of our own: `text()` is what came so far, `closed` resolves with all of it.
  connect() {
    const socket = net.connect(this.port, '127.0.0.1');
    let received = '';
    socket.setEncoding('utf8');
    socket.on('data', (data) => { received += data; });
    socket.on('error', () => {});
    const closed = new Promise((resolve) => socket.on('close', () => resolve(received)));
    return { socket, closed, text: () => received };
  }

  residentMb() {
    const status = fs.readFileSync(`/proc/${this.child.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) / 1024;
  }

  descriptors() {
    return fs.readdirSync(`/proc/${this.child.pid}/fd`).length;
  }

  // How often its threads have gone to sleep so far: a count, which no other work on the machine changes.
  wakings() {
    let n = 0;
    for (const task of fs.readdirSync(`/proc/${this.child.pid}/task`)) {
      const status = fs.readFileSync(`/proc/${this.child.pid}/task/${task}/status`, 'utf8');
      n += Number(/\nvoluntary_ctxt_switches:\s+(\d+)/.exec(status)[1]);
    }
    return n;
  }

  // Milliseconds of processor time so far (Linux: clock ticks of 10 ms).
  cpuMs() {
    const stat = fs.readFileSync(`/proc/${this.child.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return 10 * (Number(fields[11]) + Number(fields[12]));
  }

  // Whether it takes less than `cpuMs` of processor time in the next `ms`.
  async sleeps(ms, cpuMs) {
    const before = this.cpuMs();
    await sleep(ms);
    return this.cpuMs() - before < cpuMs;
  }
}

// mulberry32: the same seed, the same numbers in [0, 1).
export function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}
export const pick = (random, list) => list[Math.floor(random() * list.length)];

export function post(route, body, headers = {}) {
  const text = JSON.stringify(body);
  const lines = Object.entries({
    Host: 'localhost', 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text), ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST ${route} HTTP/1.1\r\n${lines.join('')}\r\n${text}`;
}

// A body that keeps a model busy, whatever it would like to say: the biases ban the tokens that end a reply, and
// without lookup a reply that repeats itself is not cut short either. It takes some tenths of a second.
let endBiases;
export function longRequest(more = {}) {
  endBiases ??= Object.fromEntries(
    JSON.parse(run(['inspect', '--json', smallModel]).stdout).tokenizer.ends.map((end) => [end.id, -100]));
  return {
    messages: [{ role: 'user', content: 'Write a function add_numbers(a, b) that returns the sum.' }],
    model: 'large', temperature: 0, seed: 1, max_tokens: isSanitized ? 60 : 500, logit_bias: endBiases,
    prompt_lookup_num_tokens: 0, ...more,
  };
}

export const mixedPrompts = [
  'Write a Python function add_numbers(a, b) that returns the sum of a and b.',
  'Who wrote the first book of the northern library?',
  'Tom has 5 apples and buys 7 more. He gives 3 to Ann. How many apples does Tom have?',
  'What is the capital of France?',
  'Write a function that reverses a list.',
  'A train travels 60 km in 2 hours. How far does it travel in 5 hours?',
  'Tell me about the sea.',
  '用 Python 写一个函数，返回两个数的和。',
];
