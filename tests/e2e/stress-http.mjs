// Many OpenAI clients at once against `a-io serve`: both models and `auto`, streamed and whole, with every kind of
// lookup, batch among interactive, deadlines, and clients that go away at random. Every reply must be the one that
// the same request has alone; what was cut short, a beginning of it. The server's resident memory must stay flat, every
// request must have its line in the log, and at the end the server must answer as before.
//
// As a program: node stress-http.mjs [REQUESTS [SEED [CLIENTS]]], which is `make stress-http`.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';
import { generator, isSanitized, mixedPrompts, patience, pick, root, Server, sleep } from './helper.mjs';

const askedAgain = 8; // times a question is asked, on average
const endsWithinMs = 60000 * patience; // of a request that its client waits for
const refusedPauseMs = 20;
const growthMb = 6; // from a tenth of the requests to the end: malloc's holes, and KV up to its limit
const judgedFrom = 1000; // requests; with fewer, a tenth is not yet all that the server ever touches

// Small memory and few places, so that replies are parked and give up their KV.
const config = `version: 1
models:
  - {name: small, role: small, path: ${root}/models/demo/small.gguf, slots: 3}
  - {name: large, role: large, path: ${root}/models/demo/large.gguf, slots: 3}
probe:
  template: "{conversation}Intent:"
  window_head: 96
  window_tail: 160
  labels: [{name: code, token: " code"}, {name: qa, token: " qa"}, {name: math, token: " math"}]
policy: {name: adaptive, entropy_limit: 0.45, prompt_limit: 2048}
engine: {queue_limit: 5, memory_limit_mb: 17}
server: {host: 127.0.0.1, port: 8098}
`;

// ---- questions: all that a reply may depend on ---------------------------------------------------------------------

const longPrompts = fs.readFileSync(path.join(root, 'models/demo/requests.jsonl'), 'utf8').trim().split('\n')
  .map(JSON.parse).filter(({ task }) => task === 'long').map(({ prompt }) => prompt);

function makeQuestion(random, before) {
  const isLong = random() < 0.05;
  const question = {
    model: isLong ? 'large' : pick(random, ['auto', 'auto', 'small', 'large']),
    messages: [{ role: 'user', content: pick(random, isLong ? longPrompts : mixedPrompts) }],
    max_tokens: 1 + Math.floor(random() * (isSanitized ? 8 : 40)),
    temperature: random() < 0.5 ? 0 : 0.8,
    seed: Math.floor(random() * 1000),
  };
  if (random() < 0.2) Object.assign(question, { top_p: 0.9, frequency_penalty: 0.3, repetition_penalty: 1.1 });
  if (random() < 0.1) question.stop = [' the', '\n'];
  if (before && random() < 0.3 && before.messages.length < 3 && before.model !== 'auto' && !isLong) {
    question.model = before.model;
    const said = before.solo[before.model].text;
    question.messages = [...before.messages, { role: 'assistant', content: said }, ...question.messages];
  }
  return question;
}

const replyOf = (data) => ({
  text: data.choices[0].message.content, finish: data.choices[0].finish_reason, tokens: data.usage.completion_tokens,
});

// For `auto` the replies of both models: which of them answers is the probe's business.
async function answerAlone(client, question) {
  const solo = {};
  for (const model of question.model === 'auto' ? ['small', 'large'] : [question.model])
    solo[model] = replyOf(await client.chat.completions.create({ ...question, model, prompt_lookup_num_tokens: 0 }));
  return solo;
}

async function makeQuestions(random, n) {
  const server = await Server.start({ args: ['-t', '1'] });
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'unused', maxRetries: 0 });
  const questions = [];
  for (let i = 0; i < n; i++) {
    const question = makeQuestion(random, questions.at(-1));
    questions.push({ ...question, solo: await answerAlone(client, question) });
  }
  await server.stop();
  return questions;
}

// ---- asking --------------------------------------------------------------------------------------------------------

// How a question is asked: none of it may show in the reply.
function makeManner(random) {
  const manner = { body: { stream: random() < 0.6 }, abort: undefined };
  const lookup = random();
  if (lookup < 0.6) manner.body.prompt_lookup_num_tokens = lookup < 0.2 ? 0 : 1 + Math.floor(random() * 16);
  if (manner.body.stream) manner.body.stream_options = { include_usage: true };
  if (random() < 0.4) manner.body.priority = 'batch';
  if (random() < 0.08) manner.body.deadline_ms = 1 + Math.floor(random() * 60);
  const abort = random();
  if (abort < 0.12) manner.abort = { afterMs: random() * 40 };
  else if (abort < 0.24 && manner.body.stream) manner.abort = { afterChunks: 1 + Math.floor(random() * 10) };
  return manner;
}

async function readStream(stream, manner, got, giveUp) {
  let chunks = 0;
  for await (const chunk of stream) {
    got.model = chunk.model;
    got.text += chunk.choices[0]?.delta.content ?? '';
    got.finish = chunk.choices[0]?.finish_reason ?? got.finish;
    got.tokens = chunk.usage?.completion_tokens ?? got.tokens;
    if (++chunks === manner.abort?.afterChunks) giveUp();
  }
}

// fetch may never settle once it was aborted while data waits to be read (Node 20, undici issue 4089; Node's own server
// shows it too): who goes away does not wait for it. Anybody else must be answered.
async function untilGoneOr(reading, signal) {
  const gone = new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  let timer;
  const overdue = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no end within ${endsWithinMs} ms`)), endsWithinMs);
  });
  await Promise.race([reading, gone, overdue]).finally(() => clearTimeout(timer));
}

// What came, and how it ended: `whole`, `aborted`, `late` or `refused`; anything else is thrown.
async function ask(client, { solo, ...question }, manner, id) {
  const got = { model: question.model, text: '', end: 'whole' };
  const abort = new AbortController();
  const giveUp = () => { got.end = 'aborted'; abort.abort(); };
  const timer = manner.abort?.afterMs === undefined ? undefined : setTimeout(giveUp, manner.abort.afterMs);
  const read = async () => {
    const options = { signal: abort.signal, headers: { 'x-request-id': id } };
    const reply = await client.chat.completions.create({ ...question, ...manner.body }, options);
    if (manner.body.stream) await readStream(reply, manner, got, giveUp);
    else Object.assign(got, { model: reply.model, ...replyOf(reply) });
  };
  try {
    await untilGoneOr(read(), abort.signal);
  } catch (error) {
    if (manner.body.deadline_ms && isLate(error)) got.end = 'late';
    else if (error.status === 429 || error.status === 503) got.end = 'refused';
    else if (got.end !== 'aborted') throw error;
  }
  clearTimeout(timer);
  return got;
}

// In a stream that has begun the error is its last event.
const isLate = (error) => error.status === 504 || error.type === 'timeout_error';

function judge(question, got) {
  const expected = question.solo[got.model];
  if (got.end === 'whole')
    assert.deepEqual({ text: got.text, finish: got.finish, tokens: got.tokens }, expected);
  else if (got.text !== '')
    assert.ok(expected.text.startsWith(got.text), `"${got.text}" does not begin "${expected.text}"`);
}

// ---- the whole -----------------------------------------------------------------------------------------------------

class Company {
  constructor(server, questions, options) {
    Object.assign(this, { server, questions, ...options });
    this.asked = 0;
    this.ids = []; // of what must be in the log
    this.counts = { whole: 0, aborted: 0, late: 0, refused: 0 };
    this.failures = [];
    this.resident = [server.residentMb()];
  }

  // One client: the next request when the one before has ended, until there are no more.
  async run() {
    const client = new OpenAI({ baseURL: `${this.server.url}/v1`, apiKey: 'unused', maxRetries: 0 });
    while (this.asked < this.requests) {
      const number = this.asked++;
      if (number === Math.floor(this.requests / 10)) this.resident.push(this.server.residentMb());
      const random = generator(this.seed * 1000003 + number);
      await this.answer(client, pick(random, this.questions), makeManner(random), `s${number}`);
      if (random() < 0.3) await sleep(random() * 10);
    }
  }

  async answer(client, question, manner, id) {
    try {
      let got;
      for (let again = 0; (got = await ask(client, question, manner, `${id}-${again}`)).end === 'refused'; again++) {
        assert.ok(again < endsWithinMs / refusedPauseMs, 'refused again and again');
        this.counts.refused++;
        await sleep(refusedPauseMs);
      }
      this.counts[got.end]++;
      if (got.end !== 'aborted') this.ids.push(id); // others may never have reached the server
      judge(question, got);
    } catch (error) {
      const { solo, ...body } = question;
      this.failures.push(`request ${id}: ${error.message}\n  ${JSON.stringify({ ...body, ...manner.body })}`);
    }
  }

  check(what, holds) {
    if (!holds) this.failures.push(what);
  }

  // When all have gone: nothing is lost, nothing has grown, and it answers.
  async checkServer() {
    await this.server.idle(10000).catch((error) => this.failures.push(error.message));
    this.resident.push(this.server.residentMb());
    const [, tenth, end] = this.resident;
    this.check(`resident memory has grown from ${tenth.toFixed(1)} to ${end.toFixed(1)} MB`,
      isSanitized || this.requests < judgedFrom || end <= tenth + growthMb);
    const client = new OpenAI({ baseURL: `${this.server.url}/v1`, apiKey: 'unused', maxRetries: 2 });
    await this.answer(client, this.questions[0], { body: {} }, 'last');
    await this.server.logLine('last-0').catch((error) => this.failures.push(error.message));
    const logged = new Set([...this.server.log.matchAll(/ ((?:s\d+|last)-\d+) /g)].map((match) => match[1].split('-')[0]));
    const lost = this.ids.filter((id) => !logged.has(id));
    this.check(`requests without a line in the log: ${lost.join(' ')}`, lost.length === 0);
    await this.server.stop().catch((error) => this.failures.push(error.message));
  }
}

export async function stressHttp({ requests, seed, clients, say = () => {} }) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'a-io-stress-'));
  const file = path.join(folder, 'stress.yaml');
  fs.writeFileSync(file, config);
  const questions = await makeQuestions(generator(seed), Math.ceil(requests / askedAgain) + 4);
  const company = new Company(await Server.start({ args: ['--config', file] }), questions, { requests, seed });
  const timer = setInterval(() => say(company.asked), 200);
  await Promise.all(Array.from({ length: clients }, () => company.run()));
  clearInterval(timer);
  await company.checkServer();
  fs.rmSync(folder, { recursive: true });
  return company;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [requests = 2000, seed = 1, clients = 16] = process.argv.slice(2).map(Number);
  const start = Date.now();
  const say = (n) => process.stderr.isTTY && process.stderr.write(`\r${n} of ${requests}\x1b[K`);
  const { counts, resident, failures } = await stressHttp({ requests, seed, clients, say });
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  for (const failure of failures.slice(0, 10)) console.log(`FAILED (seed ${seed}): ${failure}`);
  console.log(`${requests} requests of ${clients} clients in ${((Date.now() - start) / 1000).toFixed(1)} s: ` +
    Object.entries(counts).map(([name, n]) => `${n} ${name}`).join(', '));
  console.log(`resident memory of the server: ${resident.map((mb) => mb.toFixed(1)).join(', ')} MB ` +
    '(at the start, after a tenth, at the end)');
  console.log(`${requests - failures.length} passed, ${failures.length} failed`);
  process.exitCode = failures.length === 0 ? 0 : 1;
}
