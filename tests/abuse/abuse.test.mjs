// What hostile clients do, one abuse after another, and beside each a client that reads a stream: the abuse is answered as
// it should be, and the stream is what it is alone, byte for byte and without stalls.
//
// A stall is a gap between two pieces of the stream longer than STALL_MS. No percentile: an abuse that holds up the server
// shows as one long gap among hundreds of short ones. What a busy machine does to a stream it also does to one that runs
// alone a moment later, and not every time; what an abuse does it does every time and only then. So an abuse has failed
// when the stream beside it stalled in each of TRIES runs and the one after each of them, alone, did not. Runs that the
// machine disturbed are told. The bytes have one try.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { changedConfig, isSanitized, longRequest, patience, post, Server, temporaryFolder, until } from '../e2e/helper.mjs';
import { bodies, endOfConnection, get, whole } from './abuses.mjs';
import { conduct, exchange, keys, slow, withKeys } from './conduct.mjs';
import { WellBehaved } from './well-behaved.mjs';

const STALL_MS = 500 * patience; // four times engine.step_budget_ms (100), a step, and what two cores with other work add
const TRIES = 3;
const ALONE = 5;

const question = (headers) => post('/v1/chat/completions', longRequest({ stream: true, max_tokens: isSanitized ? 60 : 120 }),
  { Connection: 'close', ...headers });
const stalls = (streams) => streams.reduce((n, { gaps }) => n + gaps.filter((gap) => gap > STALL_MS).length, 0);

// A server, a client that streams from it, and what it reads alone.
async function house(options, headers) {
  const server = await Server.start(options);
  const client = new WellBehaved(server, question(headers));
  const streams = await alone({ client }, ALONE), { reply } = streams[0];
  for (const each of streams) assert.equal(each.reply, reply);
  assert.match(reply, /^200 .{100,} "finish_reason":"length"$/s);
  return { server, client, reply, longest: Math.max(...streams.flatMap(({ gaps }) => gaps)), worst: 0, n: 0, disturbed: 0 };
}

// As many streams as were beside it, with nothing beside them.
async function alone(house, n) {
  const streams = [];
  while (streams.length < n) streams.push(await house.client.stream().done);
  return streams;
}

async function beside(house, act) {
  for (let run = 1; ; run++) {
    const streams = await house.client.beside(() => act(house.server));
    for (const { reply } of streams) assert.equal(reply, house.reply, 'the stream beside it has another text');
    house.n++;
    house.worst = Math.max(house.worst, ...streams.flatMap(({ gaps }) => gaps));
    if (stalls(streams) === 0) return;
    const isMachine = stalls(await alone(house, streams.length)) > 0;
    house.disturbed += isMachine;
    if (isMachine) return;
    assert.ok(run < TRIES, `the stream beside it stalled in each of ${TRIES} runs, and not when it was alone`);
  }
}

// Each [what, act] beside a stream; all that failed is told, not only the first.
async function all(house, abuses) {
  const failures = [];
  for (const [what, act] of abuses) await beside(house, act).catch((error) => failures.push(`${what}: ${error.message}`));
  assert.deepEqual(failures, []);
}

function only(reply, status) {
  assert.deepEqual([...reply.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1])), [status], reply.slice(0, 300));
  const [head, body] = reply.split('\r\n\r\n');
  if (status < 400) return;
  assert.match(head, /^content-type: application\/json\r?$/im);
  const { error } = JSON.parse(body);
  assert.ok(typeof error === 'string' || (error.message && error.type), body); // Ollama's is a text
  if (status === 429 || status === 503) assert.match(head, /^retry-after: \d+\r?$/im);
}

let open;
before(async () => { open = await house(); });
after(async () => {
  open.client.end();
  await open.server.stop();
});

test('requests that two readers could understand differently: one refusal, and nothing more is read', () =>
  all(open, endOfConnection.map(([status, bytes, what]) => [what, async (server) => {
    const reply = await exchange(server, bytes + get('/health'));
    only(reply, status);
    assert.match(reply, /^connection: close\r$/im);
  }])));

test('requests for what there is not', () => all(open, whole.map(([status, bytes, what]) =>
  [what, async (server) => only(await exchange(server, bytes), status)])));

test('bodies', () => all(open, bodies.map(([status, route, body, what]) => [what, async (server) => {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const head = `POST ${route} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${Buffer.byteLength(text, 'latin1')}\r\n\r\n`;
  only(await exchange(server, head + text), status);
}])));

test('what clients do to their connections', () => all(open, Object.entries(conduct)));

test('with keys', async (t) => {
  const file = path.join(temporaryFolder(t), 'keys');
  fs.writeFileSync(file, keys, { mode: 0o600 });
  const config = changedConfig(t, (text) => text.replace('server:', `server:\n  keys_file: ${file}`)
    .replaceAll('    slots: 8', '    slots: 8\n    price: {input: 1, output: 1}'));
  const guarded = await house({ args: ['--config', config] }, { Authorization: 'Bearer good-key' });
  t.after(async () => {
    guarded.client.end();
    await guarded.server.stop();
  });
  await all(guarded, Object.entries(withKeys));
});

test('heads, bodies and silence that take their time', () => all(open, [['all that wait', (server) =>
  Promise.all(Object.entries(slow).map(([what, act]) =>
    act(server).catch((error) => { throw new Error(`${what}: ${error.message}`); })))]]));

test('nothing of it is left', async (t) => {
  await open.server.idle(30000);
  await until('no connections but ours', () => open.server.descriptors() < 40, 15000);
  const n = endOfConnection.length + whole.length + bodies.length + Object.keys({ ...conduct, ...withKeys, ...slow }).length;
  t.diagnostic(`${n} abuses; of ${open.n} runs ${open.disturbed} stalled on a machine that stalled without them, too; longest gap alone ${open.longest.toFixed(1)} ms, beside them ${open.worst.toFixed(1)} ms; ` +
    `resident memory ${open.server.residentMb().toFixed(0)} MB`);
  assert.ok(n >= 80);
});
