// How a hostile client behaves on its connections: tables for abuse.test.mjs. Each is a function of a server that takes as
// long as the abuse does and throws where the server did not do what it must.
import assert from 'node:assert/strict';
import { isSanitized, longRequest, patience, post, sleep, until } from '../e2e/helper.mjs';
import { get } from './abuses.mjs';

const hello = { messages: [{ role: 'user', content: 'hello' }], max_tokens: 2, temperature: 0, model: 'small' };
const chat = (more) => post('/v1/chat/completions', { ...hello, ...more }, { Connection: 'close' });
const long = (more) => post('/v1/chat/completions', longRequest(more));
const times = (n, act) => Promise.all(Array.from({ length: isSanitized ? Math.ceil(n / 10) : n }, (_, i) => act(i)));

// What came until the server closed, or `untilMs` later.
export async function exchange(server, bytes, untilMs = 20000 * patience) {
  const { socket, closed, text } = server.connect();
  socket.setEncoding('latin1');
  socket.write(bytes, 'latin1');
  const timer = setTimeout(() => socket.destroy(), untilMs);
  await closed;
  clearTimeout(timer);
  return text();
}

const statusesOf = (reply) => [...reply.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]));

// n requests at once, each on a connection of its own: all are answered with one of the statuses.
async function flood(server, n, bytesOf, statuses) {
  const replies = await times(n, (i) => exchange(server, bytesOf(i)));
  for (const reply of replies) {
    assert.equal(statusesOf(reply).length, 1, reply.slice(0, 300));
    assert.ok(statuses.includes(statusesOf(reply)[0]), reply.slice(0, 300));
    if (['429', '503'].includes(reply.slice(9, 12))) assert.match(reply, /^retry-after: \d+\r$/im);
  }
}

// n connections that send this and then do something to their socket once an answer begins (or at once).
const leave = (server, n, bytes, how, { early = false } = {}) => times(n, async () => {
  const { socket, closed, text } = server.connect();
  await new Promise((resolve) => socket.write(bytes, resolve));
  if (!early) await until('an answer begins', () => text().length > 0 || socket.destroyed);
  how(socket);
  await closed;
});

async function pipeline(server, n, bytes, status) {
  const last = get('/health', 'Host: localhost\r\nConnection: close\r\n');
  assert.deepEqual(statusesOf(await exchange(server, bytes.repeat(n) + last)), [...Array(n).fill(status), 200]);
}

async function pieces(server, list) {
  const { socket, closed, text } = server.connect();
  socket.setNoDelay(true);
  for (const piece of list) {
    socket.write(piece);
    await sleep(0);
  }
  await closed;
  assert.deepEqual(statusesOf(text()), [200]);
}

const inChunks = (body, size) => body.match(new RegExp(`.{1,${size}}`, 'g')).map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`);

export const conduct = {
  'twenty resets in the middle of streams': (s) => leave(s, 20, long({ stream: true }), (socket) => socket.resetAndDestroy()),
  'twenty that leave in the middle of streams': (s) => leave(s, 20, long({ stream: true }), (socket) => socket.destroy()),
  'twenty half-closed in the middle of streams': (s) => leave(s, 20, long({ stream: true }), (socket) => socket.end()),
  'forty that ask and leave at once': (s) => leave(s, 40, long({}), (socket) => socket.destroy(), { early: true }),
  'forty that ask and reset at once': (s) => leave(s, 40, long({}), (socket) => socket.resetAndDestroy(), { early: true }),
  'forty resets within a head': (s) => leave(s, 40, 'GET /health HTTP/1.1\r\nX: ', (socket) => socket.resetAndDestroy(), { early: true }),
  'forty resets within a body': (s) => leave(s, 40, long({}).slice(0, -20), (socket) => socket.resetAndDestroy(), { early: true }),
  'three hundred that connect and leave': (s) => leave(s, 300, '', (socket) => socket.destroy(), { early: true }),
  'forty greetings of TLS that hang up': (s) => leave(s, 40, Buffer.from('16030102000100', 'hex'), (socket) => socket.end(), { early: true }),
  'five hundred requests sent ahead': (s) => pipeline(s, 500, get('/health'), 200),
  'five hundred refusals sent ahead': (s) => pipeline(s, 500, get('/nothing'), 404),
  'a hundred requests for metrics sent ahead, and nothing read': (s) =>
    leave(s, 4, get('/metrics').repeat(100), (socket) => socket.pause() && setTimeout(() => socket.destroy(), 300), { early: true }),
  'two hundred requests for metrics at once': (s) => flood(s, 200, () => get('/metrics', 'Host: localhost\r\nConnection: close\r\n'), [200]),
  'streams that nobody reads': (s) => leave(s, 6, long({ stream: true, max_tokens: 1500 }),
    (socket) => { socket.pause(); setTimeout(() => socket.destroy(), 500); }),
  'a head in single bytes': (s) => pieces(s, [...get('/health', 'Host: localhost\r\nConnection: close\r\n')]),
  'a body in chunks of one byte': (s) => {
    const body = JSON.stringify({ ...hello, user: 'u'.repeat(2000) });
    return pieces(s, ['POST /v1/route HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n',
      inChunks(body, 1).join(''), '0\r\n\r\n']);
  },
  'more connections than there are places': async (s) => {
    const idlers = Array.from({ length: 320 }, () => s.connect());
    await Promise.all(idlers.map(({ socket }) => new Promise((resolve) => socket.on('connect', resolve).on('close', resolve))));
    assert.deepEqual(statusesOf(await exchange(s, get('/health', 'Host: localhost\r\nConnection: close\r\n'))), [200]);
    assert.deepEqual(statusesOf(await exchange(s, chat({}))), [503]);
    for (const { socket } of idlers) socket.destroy();
    await until('a place', async () => statusesOf(await exchange(s, chat({})))[0] === 200);
  },
  'a hundred requests at once': (s) => flood(s, 100, () => chat({}), [200, 429]),
  'eight times 128 replies at once': (s) => flood(s, 8, () => chat({ n: 128, max_tokens: 1 }), [200, 429]),
  'a hundred times all biases': (s) => flood(s, 100, () =>
    chat({ logit_bias: Object.fromEntries(Array.from({ length: 1024 }, (_, i) => [i, -1])) }), [200, 429]),
  'forty expressions of a billion states': (s) => flood(s, 40, (i) => chat({ guided_regex: `(a{1,1000}){1,${1000 + i}}(b{1,1000}){1,1000}` }), [200, 429]),
  'eight bodies of four megabytes of brackets': (s) => flood(s, 8, () =>
    post('/v1/route', 0, { Connection: 'close', 'Content-Length': 4000000 }).slice(0, -1) + '['.repeat(4000000), [400]),
  'two hundred pieces of feedback on nothing': (s) => flood(s, 200, (i) =>
    post('/v1/feedback', { id: `chatcmpl-${i}`, intent: 'code' }, { Connection: 'close' }), [409]),
  'two hundred sessions': (s) => flood(s, 200, (i) =>
    post('/v1/route', hello, { Connection: 'close', 'x-session-id': `session ${i}` }), [200, 429]),
  'a hundred answers to be stored': (s) => flood(s, 100, (i) =>
    post('/v1/responses', { model: 'small', input: `${i}`, max_output_tokens: 1, store: true }, { Connection: 'close' }), [200, 429]),
};

// ---- with keys -----------------------------------------------------------------------------------------------------------

export const keys = 'good good-key\nnarrow narrow-key requests_per_minute=3\nsingle single-key at_once=1\n' +
  'poor poor-key budget=0.000001/day\n';

const asked = async (server, header, body = hello) =>
  statusesOf(await exchange(server, post('/v1/chat/completions', body, { Connection: 'close', ...header })));
const bearer = (key) => ({ Authorization: `Bearer ${key}` });
const refused = (header) => async (server) => assert.deepEqual(await asked(server, header), [401]);

export const withKeys = {
  'no key': refused({}),
  'a wrong key': refused(bearer('good-kez')),
  'the beginning of a key': refused(bearer('good-ke')),
  'a key with something behind it': refused(bearer('good-key x')),
  'a key of 10 KB': refused(bearer('g'.repeat(10000))),
  'the name instead of the key': refused(bearer('good')),
  'another scheme': refused({ Authorization: `Basic ${Buffer.from('good:good-key').toString('base64')}` }),
  'an empty key': refused({ 'x-api-key': '' }),
  'a wrong key beside a right one': refused({ ...bearer('wrong'), 'x-api-key': 'good-key' }),
  'a key in the target': async (s) => assert.deepEqual(
    statusesOf(await exchange(s, get('/v1/models?api_key=good-key', 'Host: localhost\r\nConnection: close\r\n'))), [401]),
  'a body of megabytes without a key': async (s) => assert.deepEqual(statusesOf(await exchange(s,
    `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n${' '.repeat(4000000)}`)), [401]),
  'two hundred guesses of keys': (s) => times(200, async (i) => assert.deepEqual(await asked(s, bearer(`guess-${i}`)), [401])),
  'more requests than a key has in a minute': async (s) => {
    const statuses = [];
    for (let i = 0; i < 6; i++) statuses.push(...await asked(s, bearer('narrow-key')));
    assert.deepEqual(statuses, [200, 200, 200, 429, 429, 429]);
  },
  'more requests than a key has at once': async (s) => {
    const { socket, text } = s.connect();
    socket.write(post('/v1/chat/completions', longRequest({ stream: true, max_tokens: 1500 }), bearer('single-key')));
    await until('it streams', () => text().includes('data: '));
    assert.deepEqual(await asked(s, bearer('single-key')), [429]);
    socket.destroy();
    await until('its place', async () => (await asked(s, bearer('single-key')))[0] === 200);
  },
  'more than a key may spend': async (s) => {
    assert.deepEqual(await asked(s, bearer('poor-key'), { ...hello, max_tokens: 20 }), [200]);
    await until('it is counted', async () => (await asked(s, bearer('poor-key')))[0] === 429);
  },
};

// ---- those that wait -----------------------------------------------------------------------------------------------------

// Sends `first`, then a byte of `rest` every 200 ms: ends between these seconds with this answer, or with none (0).
const drip = (first, rest, seconds, status, then = '') => async (server) => {
  const { socket, closed, text } = server.connect();
  const begun = Date.now();
  socket.setEncoding('latin1');
  socket.write(first, 'latin1');
  const timer = rest && setInterval(() => socket.write(rest), 200);
  await closed;
  clearInterval(timer);
  const took = (Date.now() - begun) / 1000;
  assert.ok(took > seconds - 1 && took < seconds + 8, `ended after ${took} s`);
  assert.deepEqual(statusesOf(text().replace(then, '')), status === 0 ? [] : [status]);
};
const body = 'POST /v1/route HTTP/1.1\r\nHost: localhost\r\n';

// All at once: the longest has 20 s.
export const slow = {
  'silence': drip('', '', 10, 0),
  'a head that drips': drip('GET /health HTTP/1.1\r\nX: ', 'a', 10, 408),
  'headers that drip': drip('GET /health HTTP/1.1\r\nHost: localhost\r\n', 'X: y\r\n', 10, 408),
  'half a request line': drip('GET /hea', '', 10, 408),
  'a greeting of TLS that waits': drip(Buffer.from('16030102000100', 'hex').toString('latin1'), '', 10, 408),
  'a body that drips': drip(`${body}Content-Length: 100000\r\n\r\n`, ' ', 20, 408),
  'a body that does not come': drip(`${body}Content-Length: 100\r\n\r\n`, '', 20, 408),
  'chunks that drip': drip(`${body}Transfer-Encoding: chunked\r\n\r\n`, '1\r\n \r\n', 20, 408),
  'a chunk that does not come': drip(`${body}Transfer-Encoding: chunked\r\n\r\nff\r\n`, '', 20, 408),
  'leave to go on, and then nothing': drip(`${body}Content-Length: 100\r\nExpect: 100-continue\r\n\r\n`, '', 20, 408,
    'HTTP/1.1 100 Continue\r\n\r\n'),
};
