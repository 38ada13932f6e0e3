// A conversation in a real terminal (a pseudo-terminal that python3 holds), and one through pipes.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Server, patience, program, root, run, smallModel, temporaryFolder, until } from './helper.mjs';

const CONTEXT = 640; // of the demo pair's large model, tokens
const INTERRUPT = '\x03';
const END = '\x04';
const UP = '\x1b[A';
const PASTE = (text) => `\x1b[200~${text}\x1b[201~`;

// The ends of a reply, banned: it goes on until its limit or an interrupt.
const endless = () => JSON.parse(run(['inspect', '--json', smallModel]).stdout).tokenizer.ends
  .flatMap((end) => ['--logit-bias', `${end.id}=-100`]);

class Terminal {
  constructor(args = [], env = {}) {
    const hold = 'import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))';
    this.shown = '';
    this.seen = 0;
    this.child = spawn('python3', ['-c', hold, program, 'chat', ...args],
      { cwd: root, env: { ...process.env, TERM: 'xterm', NO_COLOR: undefined, ...env } });
    this.ended = new Promise((resolve) => this.child.on('exit', (status) => resolve(status)));
    this.child.stdout.setEncoding('utf8');
    this.child.stdout.on('data', (text) => { this.shown += text; });
    this.child.stderr.pipe(process.stderr);
  }

  type(text) { this.child.stdin.write(text); }

  // Waits for what is new, and gives what came up to its end. Long: beside other tests 500 tokens take the reference kernel
  // half a minute.
  async sees(pattern, what = pattern) {
    const found = await until(`the terminal shows ${what}`, () => pattern.exec(this.shown.slice(this.seen)), 60000)
      .catch((error) => { throw new Error(`${error.message}; it shows ${JSON.stringify(this.shown.slice(this.seen))}`); });
    const text = this.shown.slice(this.seen, this.seen + found.index + found[0].length);
    this.seen += text.length;
    return { text, found };
  }

  // Until an answer grows while it runs. What comes before the line was taken (the editor's word for that) is its echo.
  async streams() {
    const sizes = new Set();
    const answer = () => this.shown.slice(this.seen).split('\x1b[?2004l')[1];
    await until('the answer streams', () => answer()?.length > 40 && sizes.add(answer().length).size > 4, 20000);
  }

  prompted() { return this.sees(/> $/, 'the prompt'); }

  async says(text) {
    this.type(`${text}\r`);
    const { found } = await this.sees(/\[(\w+); ([^\]]*); prompt (\d+), (\d+) of it cached; (\d+) tokens[^\]]*\]/);
    const [, model, why, prompt, cached, tokens] = found;
    await this.prompted();
    return { model, why, prompt: +prompt, cached: +cached, tokens: +tokens };
  }

  async leaves(key = END) {
    this.type(key);
    await until('it leaves', () => this.child.exitCode !== null || this.child.signalCode !== null, 20000);
    return this.ended;
  }
}

async function opened(t, args, env) {
  const terminal = new Terminal(args, env);
  t.after(() => terminal.child.kill('SIGKILL'));
  await terminal.prompted();
  return terminal;
}

test('a conversation: what was said is kept, and costs little the second time', async (t) => {
  const terminal = await opened(t);
  const first = await terminal.says('What is 12 plus 30?');
  assert.match(terminal.shown, /12\+30=42/);
  assert.match(first.why, /math, entropy 0\.\d\d/);
  const second = await terminal.says('And 5 plus 6?');
  assert.equal(second.model, first.model);
  assert.ok(second.prompt > first.prompt + first.tokens - 3, JSON.stringify([first, second]));
  assert.ok(second.cached >= first.prompt, JSON.stringify([first, second]));
  terminal.type('/reset\r');
  await terminal.prompted();
  const third = await terminal.says('What is 12 plus 30?');
  assert.equal(third.prompt, first.prompt);
  assert.equal(await terminal.leaves(), 0);
  assert.match(terminal.shown, /\x1b\[2m\[/); // dim
});

test('commands', async (t) => {
  const terminal = await opened(t, ['--model', 'large'], { NO_COLOR: '1' });
  assert.equal((await terminal.says('Hello')).model, 'large');
  terminal.type('/model small\r');
  await terminal.prompted();
  const plain = await terminal.says('Hello');
  assert.equal(plain.model, 'small');
  terminal.type('/model\r');
  await terminal.sees(/small answers; there are: auto, small, large/);
  terminal.type('/model huge\r');
  await terminal.sees(/no model "huge"; there are: auto, small, large/);
  terminal.type('/reset\r/system Answer in one word, and never in two of them.\r');
  await terminal.sees(/two of them[^>]*> $/);
  const told = await terminal.says('Hello');
  terminal.type('/system\r/reset\r');
  await terminal.sees(/reset[^>]*> $/);
  const untold = await terminal.says('Hello');
  assert.ok(told.prompt > untold.prompt + 8, JSON.stringify([told, untold]));
  terminal.type('/nonsense\r');
  await terminal.sees(/no command \/nonsense; \/help lists them/);
  terminal.type('/help\r');
  await terminal.sees(/\/model NAME\|auto .*\/exit/s);
  assert.equal(await terminal.leaves('/exit\r'), 0);
  assert.doesNotMatch(terminal.shown, /\x1b\[2m/);
});

test('Ctrl-C stops the answer only; its beginning stays said', async (t) => {
  // With the fast kernels an answer may be over before anybody can stop it.
  const terminal = await opened(t, ['--model', 'large', '--lookup', 'off', '-n', '500', ...endless()], { A_IO_KERNEL: 'reference' });
  terminal.type('Tell me a story.\r');
  await terminal.streams();
  terminal.type(INTERRUPT);
  const { text } = await terminal.sees(/stopped/);
  await terminal.prompted();
  assert.ok(text.length > 40, text);
  const next = await terminal.says('Go on.');
  terminal.type('/reset\r');
  await terminal.prompted();
  const alone = await terminal.says('Go on.');
  assert.ok(next.prompt > alone.prompt + 15, JSON.stringify([next, alone]));
  assert.equal(next.tokens, Math.min(500, CONTEXT - next.prompt)); // a stopped answer may have been long
  terminal.type(INTERRUPT);
  await terminal.sees(/Ctrl-D or \/exit leaves/);
  terminal.type('not to be sent');
  await terminal.sees(/not to be sent/);
  terminal.type(INTERRUPT);
  assert.doesNotMatch((await terminal.prompted()).text, /leaves/);
  terminal.type('Go on.\r');
  await terminal.streams();
  process.kill(childOf(terminal.child.pid), 'SIGTERM');
  assert.equal(await terminal.ended, 8);
});

// The program is the only child of the python3 that holds its terminal.
function childOf(pid) {
  return Number(fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim());
}

test('several lines are one message; earlier messages come back', async (t) => {
  const terminal = await opened(t);
  const one = await terminal.says('one');
  terminal.type('/reset\r');
  await terminal.prompted();
  terminal.type(PASTE('What is\r5 plus 6?'));
  await terminal.sees(/6\?/);
  const pasted = await terminal.says('');
  assert.match(terminal.shown, /5\+6=11/);
  terminal.type('/reset\r');
  await terminal.prompted();
  terminal.type('What is\\\r');
  await terminal.sees(/ {2}$/, 'the prompt of a continued line');
  const continued = await terminal.says('5 plus 6?');
  assert.deepEqual([continued.prompt, continued.tokens], [pasted.prompt, pasted.tokens]);
  assert.ok(pasted.prompt > one.prompt);
  terminal.type('/reset\r');
  await terminal.prompted();
  terminal.type(`${UP}${UP}`); // /reset, and the message before it
  const recalled = await terminal.says('');
  assert.equal(recalled.prompt, pasted.prompt);
  await terminal.says('Grüße, 世界 🙂');
  assert.match(terminal.shown, /Grüße, 世界 🙂/);
  assert.equal(await terminal.leaves(), 0);
});

test('a history file is kept when it is asked for', async (t) => {
  const file = path.join(temporaryFolder(t), 'history');
  const first = await opened(t, ['--history', file]);
  await first.says('What is 5 plus 6?');
  assert.equal(await first.leaves(), 0);
  const second = await opened(t, ['--history', file]);
  second.type(UP);
  await second.sees(/5 plus 6\?/);
  await second.says('');
  assert.equal(await second.leaves(), 0);
  fs.writeFileSync(file, 'something else\n');
  const refused = new Terminal(['--history', file]);
  await refused.sees(/not a history/);
  assert.equal(await refused.ended, 5);
  assert.equal(fs.readFileSync(file, 'utf8'), 'something else\n');
});

test('a terminal is shown text, not what it would obey', async (t) => {
  const escape = JSON.parse(run(['tokenize', '--json', smallModel], { input: '["\\u001b"]' }).stdout)[0][0];
  const args = ['-m', smallModel, '-n', '4', '--logit-bias', `${escape}=100`];
  const terminal = await opened(t, args);
  await terminal.says('Hello');
  assert.match(terminal.shown, /\?\?\?\?/);
  assert.equal(await terminal.leaves(), 0);
  assert.equal(run(['chat', ...args], { input: 'Hello\n' }).stdout, '\x1b\x1b\x1b\x1b\n');
});

test('through pipes: one message a line, the answers the server would give', async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const messages = [];
  let expected = '';
  for (const content of ['What is 12 plus 30?', 'And\n5 plus 6?', 'Who wrote it?']) {
    messages.push({ role: 'user', content });
    const { body } = await server.json('/v1/chat/completions', { model: 'large', temperature: 0, messages });
    messages.push(body.choices[0].message);
    expected += `${body.choices[0].message.content}\n`;
  }
  const result = run(['chat', '--model', 'large'], { input: 'What is 12 plus 30?\nAnd\\\n5 plus 6?\n\nWho wrote it?' });
  assert.deepEqual(result, { status: 0, signal: null, stdout: expected, stderr: '' });
  const commands = run(['chat', '-m', smallModel], { input: '/model gpt\n/x\n//x\n/exit\nnot read\n' });
  assert.equal(commands.status, 1);
  assert.equal(commands.stdout.split('\n').length, 2);
  assert.match(commands.stderr, /^a-io chat: no model "gpt".*\na-io chat: no command \/x;.*\n$/);
  const long = run(['chat', '--model', 'small'], { input: `${'word '.repeat(2000)}\nHello\n` });
  assert.equal(long.status, 1);
  assert.match(long.stderr, /^a-io chat: the prompt has \d+ tokens[^\n]*\n$/);
  assert.ok(long.stdout.length > 1);
});

test('words that people know from elsewhere for /exit and /reset', () => {
  for (const leave of ['/exit', '/quit'])
    assert.deepEqual(run(['chat', '-m', smallModel], { input: `/clear\n/reset\n${leave}\nnot read\n` }),
      { status: 0, signal: null, stdout: '', stderr: '' });
});

test('an interrupt ends a conversation through pipes', async (t) => {
  const child = spawn(program, ['chat', '--model', 'large', '--lookup', 'off', ...endless()], { cwd: root });
  t.after(() => child.kill('SIGKILL'));
  const ended = new Promise((resolve) => child.on('exit', (status) => resolve(status)));
  let text = '';
  child.stdout.on('data', (data) => { text += data; });
  child.stdin.write('Tell me a story.\n');
  await until('the answer streams', () => text.length > 20, 20000 * patience);
  child.kill('SIGINT');
  assert.equal(await ended, 8);
});

test('what it refuses', () => {
  const refused = (args, status, message) => {
    const result = run(['chat', ...args], { input: 'Hello\n' });
    assert.equal(result.status, status, result.stderr);
    assert.match(result.stderr, message);
    assert.equal(result.stdout, '');
  };
  refused(['Hello'], 2, /messages come from standard input/);
  refused(['--json'], 2, /--json is not an option/);
  refused(['--model', 'gpt'], 3, /no model "gpt"; there are: auto, small, large/);
  refused(['-m', smallModel, '--model', 'small'], 2, /--model has no effect/);
  refused(['-m', 'tests/golden/data/llama.BF16.gguf'], 2, /no chat template; name one with --chat-template/);
  refused(['--temperature', '-1'], 2, /temperature/);
});
