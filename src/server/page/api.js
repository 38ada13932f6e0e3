// api.js: the server, as any client sees it.

let key = '';
export function useKey(text) { key = text; }

function headers(more = {}) {
  return key === '' ? more : {...more, Authorization: `Bearer ${key}`};
}

async function refusal(response) {
  const body = await response.json().catch(() => null);
  return new Error(body?.error?.message ?? `the server answered ${response.status}`);
}

export async function get(path) {
  const response = await fetch(path, {headers: headers()});
  if (!response.ok) throw await refusal(response);
  return response.headers.get('Content-Type').startsWith('application/json') ? response.json() : response.text();
}

// The events of one answer: {plan} once from the headers, then {text} …, and {receipt} with the last of them.
export async function* answer(request, signal) {
  const response = await fetch('/v1/chat/completions', {
    method: 'POST', signal,
    headers: headers({'Content-Type': 'application/json'}),
    body: JSON.stringify({...request, stream: true}),
  });
  if (!response.ok) throw await refusal(response);
  const told = (name) => response.headers.get(`x-a-io-${name}`);
  yield {plan: {model: told('model'), intent: told('intent'), rule: told('reason'), fallback: told('fallback')}};
  for await (const event of events(response.body)) {
    if (event === '[DONE]') return;
    const chunk = JSON.parse(event);
    if (chunk.error) throw new Error(chunk.error.message);
    const delta = chunk.choices[0]?.delta ?? {};
    if (delta.reasoning_content) yield {reasoning: delta.reasoning_content};
    if (delta.content) yield {text: delta.content};
    if (chunk.a_io) yield {receipt: chunk.a_io, timings: chunk.timings, finish: chunk.choices[0]?.finish_reason};
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf('\n\n')) >= 0) {
      const data = text.slice(0, end).split('\n').filter((line) => line.startsWith('data:'));
      text = text.slice(end + 2);
      if (data.length > 0) yield data.map((line) => line.slice(5).trimStart()).join('\n');
    }
  }
}
