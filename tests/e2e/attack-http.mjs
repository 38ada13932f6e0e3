// Hostile clients against `a-io serve` while good ones ask the same questions again and again: every reply that they get
// must be, byte for byte, what it was before the attack; whatever the others are told is whole and is no 500; the server's
// memory and descriptors stay flat, and it ends when asked to.
//
// As a program: node attack-http.mjs [REQUESTS [SEED [CLIENTS]]], which is `make attack-http`.
import assert from 'node:assert/strict';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import { generator, isSanitized, longRequest, mixedPrompts, pick, post, Server, sleep, until } from './helper.mjs';

const growthMb = 4; // from a tenth of the requests to the end
const judgedFrom = 2000; // requests; with fewer, a tenth is not yet all that the server ever touches
const goodAddress = '127.0.0.2'; // an address has its bound of connections; good clients have another one than attackers
const patienceMs = 200000; // a busy machine is no failure

// ---- sockets -------------------------------------------------------------------------------------------------------

// Sends what `speak` writes and gives what came back when the connection is over.
function converse(server, speak, { localAddress } = {}) {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port: server.port, host: '127.0.0.1', localAddress });
    const pieces = [];
    const timer = setTimeout(() => { socket.destroy(); reject(new Error('no end of the connection')); }, patienceMs);
    socket.on('data', (data) => pieces.push(data));
    socket.on('error', () => {}); // a reset is an answer, too
    socket.on('close', () => { clearTimeout(timer); resolve(Buffer.concat(pieces).toString('latin1')); });
    socket.on('connect', () => speak(socket));
  });
}

// ---- the good clients ----------------------------------------------------------------------------------------------

const questions = mixedPrompts.slice(0, 6).map((content, i) => ({
  model: pick(() => i / 6, ['small', 'large', 'auto']), messages: [{ role: 'user', content }],
  max_tokens: isSanitized ? 4 : 16, temperature: i % 2 === 0 ? 0 : 0.8, seed: i, stream: i % 3 === 0,
}));

// Head and chunk sizes hold ids and times: what is compared is all that the model said, in order.
function spoken(reply) {
  assert.match(reply, /^HTTP\/1\.1 200 /, reply.slice(0, 300));
  const texts = [...reply.matchAll(/"content":("(?:[^"\\]|\\.)*")/g)].map((match) => JSON.parse(match[1]));
  return { model: reply.match(/"model":"(\w+)"/)[1], text: texts.join('') + reply.match(/"finish_reason":"\w+"/)[0] };
}

const askWell = async (server, question) =>
  spoken(await converse(server, (socket) => socket.write(post('/v1/chat/completions', question, { Connection: 'close' })),
    { localAddress: goodAddress }));

// By model: where the probe had no time, an `auto` goes to the large one.
async function answersAlone(server, question) {
  const alone = {};
  for (const model of question.model === 'auto' ? ['small', 'large'] : [question.model])
    alone[model] = (await askWell(server, { ...question, model })).text;
  return alone;
}

// ---- the others ----------------------------------------------------------------------------------------------------

const chat = { messages: [{ role: 'user', content: 'hello' }], max_tokens: 2, temperature: 0 };
const noise = ['\0', '\r\n', '\n', '\r\n\r\n', ' ', ':', '%', '\xff', '"', '{', '[[[[', 'null', '1e999', '-1', 'Host: a\r\n',
  'Content-Length: 9\r\n', 'Transfer-Encoding: chunked\r\n', 'HTTP/1.1', '\\ud800', '99999999999999999999'];
const routes = ['/health', '/v1/models', '/metrics', '/v1/chat/completions', '/v1/route', '/v1/feedback', '/nothing'];

function mutate(random, text) {
  for (let n = 1 + Math.floor(random() * 4); n > 0; n--) {
    const at = Math.floor(random() * (text.length + 1));
    text = text.slice(0, at) + pick(random, [...noise, '']) + text.slice(at + Math.floor(random() * 6));
  }
  return text;
}

function aRequest(random) {
  if (random() < 0.3) return `GET ${pick(random, routes)} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
  return post(pick(random, routes), random() < 0.5 ? chat : { ...chat, stream: true });
}

// How each uses its connection.
const manners = {
  'mutated requests': (random) => (socket) => socket.end(mutate(random, aRequest(random)), 'latin1'),
  'mutated bodies': (random) => (socket) => {
    const body = mutate(random, JSON.stringify(chat));
    socket.end(`POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
      `Connection: close\r\nContent-Length: ${Buffer.byteLength(body, 'latin1')}\r\n\r\n${body}`, 'latin1');
  },
  'bytes at random': (random) => (socket) =>
    socket.end(Buffer.from(Array.from({ length: 1 + random() * 300 }, () => random() * 256))),
  'gone within a head': (random) => (socket) => {
    const text = aRequest(random);
    socket.write(text.slice(0, 1 + random() * 30), () => socket.destroy());
  },
  'reset within a body': (random) => (socket) => {
    const text = post('/v1/chat/completions', chat);
    socket.write(text.slice(0, text.length - 1 - random() * 40), () => socket.resetAndDestroy());
  },
  'gone within a reply': (random) => (socket) => {
    socket.write(post('/v1/chat/completions', longRequest({ model: 'small', stream: random() < 0.7, max_tokens: 40 })));
    setTimeout(() => socket.destroy(), random() * 30);
  },
  'many at once': (random) => (socket) =>
    socket.end(Array.from({ length: 2 + random() * 8 }, () => aRequest(random)).join(''), 'latin1'),
  'in drops': (random) => async (socket) => {
    for (const byte of aRequest(random).slice(0, 20)) {
      if (!socket.writable) return;
      socket.write(byte);
      await sleep(1);
    }
    socket.destroy();
  },
  'foreign pages': (random) => (socket) => socket.end(post('/v1/chat/completions', chat, pick(random, [
    { Host: 'evil.example' }, { Origin: 'https://evil.example' }, { 'Content-Type': 'text/plain' },
    { 'Content-Length': 1e15 }, { 'Transfer-Encoding': 'gzip' }, { Expect: 'tea' }]))),
  'no words': () => (socket) => socket.end(),
};

// The heads in what came, of replies that may follow one another.
function judge(reply) {
  for (const [, status] of reply.matchAll(/HTTP\/1\.1 (\d+) [^\r\n]*\r\n/g))
    assert.ok((Number(status) < 500 && Number(status) >= 100) || ['501', '503', '505'].includes(status), reply.slice(0, 400));
  if (reply !== '') assert.match(reply, /^HTTP\/1\.1 \d/);
  assert.doesNotMatch(reply, /<html/i);
}

// ---- the whole -----------------------------------------------------------------------------------------------------

export async function attackHttp({ requests, seed, clients, say = () => {} }) {
  const server = await Server.start();
  const failures = [], counts = {}, statuses = {};
  const note = (what) => { if (failures.length < 50) failures.push(what); };
  const expected = [];
  for (const question of questions) expected.push(await answersAlone(server, question));
  const descriptors = [server.descriptors()], resident = [server.residentMb()];
  let sent = 0, goodReplies = 0;
  const begin = Date.now();

  async function attacker() {
    while (sent < requests) {
      const number = sent++;
      if (number === Math.floor(requests / 10)) resident.push(server.residentMb());
      const random = generator(seed * 1000003 + number);
      const name = pick(random, Object.keys(manners));
      counts[name] = (counts[name] ?? 0) + 1;
      try {
        const reply = await converse(server, manners[name](random));
        const status = reply.match(/^HTTP\/1\.1 (\d+)/)?.[1] ?? 'none';
        statuses[status] = (statuses[status] ?? 0) + 1;
        judge(reply);
      } catch (error) {
        note(`${name}, number ${number}: ${error.message}`);
      }
      if (server.exit) throw new Error(`the server ended: ${JSON.stringify(server.exit)}\n${server.log.slice(-2000)}`);
    }
  }

  async function goodClient(first) {
    for (let i = first; sent < requests; i = (i + 1) % questions.length) {
      try {
        const { model, text } = await askWell(server, questions[i]);
        assert.equal(text, expected[i][model]);
        goodReplies++;
      } catch (error) {
        note(`a good client, question ${i}: ${error.message}`);
      }
      say(sent);
    }
  }

  await Promise.all([...[0, 2, 4].map(goodClient), ...Array.from({ length: clients }, attacker)]);
  const seconds = (Date.now() - begin) / 1000;
  await server.idle(patienceMs).catch((error) => note(error.message));
  await until('every connection is closed but the one that fetch keeps', () => server.descriptors() <= descriptors[0] + 1, 15000)
    .catch((error) => note(error.message));
  descriptors.push(server.descriptors());
  resident.push(server.residentMb());
  const [, tenth, end] = resident;
  if (!isSanitized && requests >= judgedFrom && end > tenth + growthMb)
    note(`resident memory has grown from ${tenth.toFixed(1)} to ${end.toFixed(1)} MB`);
  await server.stop().catch((error) => note(error.message));
  return { counts, statuses, goodReplies, descriptors, resident, seconds, failures };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [requests = 40000, seed = 1, clients = 16] = process.argv.slice(2).map(Number);
  const say = (n) => process.stderr.isTTY && process.stderr.write(`\r${n} of ${requests}\x1b[K`);
  const { counts, statuses, goodReplies, descriptors, resident, seconds, failures } =
    await attackHttp({ requests, seed, clients, say });
  const list = (object) => Object.entries(object).map(([name, n]) => `${n} ${name}`).join(', ');
  for (const failure of failures.slice(0, 10)) console.log(`FAILED (seed ${seed}): ${failure}`);
  console.log(`${requests} connections of ${clients} hostile clients in ${seconds.toFixed(1)} s: ${list(counts)}`);
  console.log(`first answers: ${list(statuses)}`);
  console.log(`good clients: ${goodReplies} replies as before the attack`);
  console.log(`descriptors ${descriptors.join(', ')} (at the start, at the end); resident memory ` +
    `${resident.map((mb) => mb.toFixed(1)).join(', ')} MB (at the start, after a tenth, at the end)`);
  console.log(`${failures.length} failed`);
  process.exitCode = failures.length === 0 ? 0 : 1;
}
