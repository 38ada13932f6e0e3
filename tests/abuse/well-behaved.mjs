// A client that reads a stream as it should, on a thread of its own: what attackers cost this program must not look like
// a pause of the server's. The thread is this file, too.
import net from 'node:net';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { fileURLToPath } from 'node:url';

const inTheMiddle = 5; // events after which an attack may begin
const address = '127.0.0.2'; // an address has its bound of connections: not that of the attackers

// All that the model said, in order; heads and chunk sizes hold ids and times.
function spoken(reply) {
  const texts = [...reply.matchAll(/"content":("(?:[^"\\]|\\.)*")/g)].map((match) => JSON.parse(match[1]));
  return `${reply.slice(9, 12)} ${texts.join('')} ${reply.match(/"finish_reason":"\w+"/)?.[0]}`;
}

function readStream({ port, request }) {
  let reply = '', events = 0, last;
  const gaps = [];
  const socket = net.connect({ port, host: '127.0.0.1', localAddress: address });
  socket.setEncoding('latin1');
  socket.on('data', (data) => {
    const now = performance.now();
    if (last) gaps.push(now - last);
    last = now;
    reply += data;
    const before = events;
    events += data.split('data: {').length - 1;
    if (before < inTheMiddle && events >= inTheMiddle) parentPort.postMessage({ flows: true });
  });
  socket.on('error', (error) => { reply += error.message; });
  socket.on('close', () => parentPort.postMessage({ reply: spoken(reply), gaps }));
  socket.on('connect', () => socket.write(request));
}

if (!isMainThread) parentPort.on('message', () => readStream(workerData));

export class WellBehaved {
  constructor(server, request) {
    this.worker = new Worker(fileURLToPath(import.meta.url), { workerData: { port: server.port, request } });
    this.worker.unref();
  }

  // One stream: `flows` is kept when it is in its middle, `done` is { reply, gaps }, the gaps in milliseconds.
  stream() {
    let flows, done;
    const promises = { flows: new Promise((resolve) => { flows = resolve; }), done: new Promise((resolve) => { done = resolve; }) };
    const hear = (message) => {
      flows();
      if (message.flows) return;
      this.worker.off('message', hear);
      done(message);
    };
    this.worker.on('message', hear);
    this.worker.postMessage('go');
    return promises;
  }

  // Streams one after another from before `act` begins to after its end; what they were.
  async beside(act) {
    const first = this.stream(), streams = [];
    let isOver = false;
    await first.flows;
    const follow = async () => {
      streams.push(await first.done);
      while (!isOver) streams.push(await this.stream().done);
    };
    await Promise.all([act().finally(() => { isOver = true; }), follow()]);
    return streams;
  }

  end() {
    return this.worker.terminate();
  }
}
