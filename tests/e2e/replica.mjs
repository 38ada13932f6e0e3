// A scripted server in OpenAI's form: each request does what the next step of the script says.
import http from 'node:http';
import https from 'node:https';

const chunk = (delta, more = {}) =>
  `data: ${JSON.stringify({ object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: null, ...more }] })}\n\n`;

export const say = (text) => chunk({ content: text });
export const think = (text) => chunk({ reasoning_content: text });
export const call = (index, name, args) =>
  chunk({ tool_calls: [{ index, id: `call_${index}`, type: 'function', function: { ...(name && { name }), arguments: args } }] });
export const end = (reason = 'stop') => chunk({}, { finish_reason: reason });
export const usage = (prompt, completion, cached = 0) => `data: ${JSON.stringify({
  choices: [], usage: { prompt_tokens: prompt, completion_tokens: completion, prompt_tokens_details: { cached_tokens: cached } },
})}\n\n`;
export const done = 'data: [DONE]\n\n';

// `script(request, response, body)` answers each request; `bodies` and `gone` say what came and who left. `health`
// answers a GET. `secure`: its {key, cert}, which `certify` changes; `cut` ends all
// connections.
export class Replica {
  static async start(t, script, port = 0, secure = undefined) {
    const replica = new Replica();
    replica.script = script;
    replica.bodies = [];
    replica.headers = [];
    replica.gone = 0;
    replica.health = (request, response) => { response.end('{"object": "list", "data": []}'); };
    const answer = async (request, response) => {
      if (request.method === 'GET') return replica.health(request, response);
      let text = '';
      try {
        for await (const piece of request) text += piece;
      } catch {
        return; // it left, or its connection was cut, before it had said what it wants
      }
      response.on('close', () => { replica.gone += response.writableEnded ? 0 : 1; });
      replica.bodies.push(JSON.parse(text));
      replica.headers.push({ ...request.headers, url: request.url });
      await replica.script(request, response, replica.bodies.at(-1));
    };
    const server = secure ? https.createServer(secure, answer) : http.createServer(answer);
    // Node's own closeAllConnections spares one whose handshake is not over: it would be served after all, and kept.
    const connections = new Set();
    server.on('connection', (socket) => {
      connections.add(socket);
      socket.on('close', () => connections.delete(socket));
    });
    await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
    replica.port = server.address().port;
    replica.url = `${secure ? 'https' : 'http'}://127.0.0.1:${server.address().port}/v1`;
    replica.cut = () => connections.forEach((socket) => socket.destroy());
    replica.certify = (other) => server.setSecureContext(other);
    replica.close = () => new Promise((resolve) => { replica.cut(); server.close(resolve); });
    t.after(() => replica.close());
    return replica;
  }
}

// Asks the replicas' pool until it has learned what late is, and may send `n` requests twice: it does so with one in ten at
// most, and meanwhile with any that a busy machine makes late.
export async function earnHedges(replicas, n, ask) {
  const twice = (asked) => replicas.reduce((sum, { bodies }) => sum + bodies.length, -asked);
  for (let asked = 0; asked < 40 || asked / 10 - twice(asked) < n + 1; asked++) await ask(asked);
}

export const streaming = (response) => response.writeHead(200, { 'Content-Type': 'text/event-stream' });
// Answers with these pieces, each in a write of its own.
export const stream = (...pieces) => async (request, response) => {
  streaming(response);
  for (const piece of pieces) {
    response.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  response.end();
};
export const refuse = (status, message, headers = {}) => (request, response) => {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
  response.end(JSON.stringify({ error: { message, type: 'x', param: null, code: null } }));
};
