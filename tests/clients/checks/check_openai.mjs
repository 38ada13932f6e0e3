import assert from 'node:assert/strict';
import { called, isReal, key, large, load, messages, personText, run, said, v1, weatherQuestion } from './check.mjs';

const { OpenAI } = await load('openai');
const client = new OpenAI({ baseURL: v1, apiKey: key, maxRetries: 0 });
const ask = { model: 'auto', messages, max_tokens: 16, temperature: 0 };
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };

await run({
  'chat, stream': async () => {
    const whole = (await client.chat.completions.create(ask)).choices[0].message.content;
    said(whole);
    let told = '';
    for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) told += chunk.choices[0].delta.content ?? '';
    assert.equal(told, whole);
  },
  'chat.completions.stream()': async () => {
    const final = await client.chat.completions.stream(ask).finalChatCompletion();
    said(final.choices[0].message.content);
  },
  'runTools': async () => {
    const cities = [];
    const runner = client.chat.completions.runTools({
      model: large, messages: [{ role: 'user', content: weatherQuestion }], temperature: 0, max_tokens: 100,
      tools: [{ type: 'function', function: { name: 'get_weather', description: 'The weather of a city', parameters, parse: JSON.parse, function: ({ city }) => { cities.push(city); return '21 degrees'; } } }],
    });
    called(cities, await runner.finalContent());
  },
  'parse': async () => {
    const schema = { type: 'object', properties: { name: { type: 'string', maxLength: 12 }, age: { type: 'integer', minimum: 0, maximum: 200 } }, required: ['name', 'age'], additionalProperties: false };
    const reply = await client.chat.completions.parse({ model: large, messages: [{ role: 'user', content: personText }], temperature: 0, max_tokens: 300,
      response_format: { type: 'json_schema', json_schema: { name: 'person', schema, strict: true } } });
    if (isReal) assert.deepEqual(JSON.parse(reply.choices[0].message.content), { name: 'Tom', age: 25 });
  },
  'responses, stream': async () => {
    const stream = client.responses.stream({ model: 'auto', input: messages, temperature: 0, max_output_tokens: 16 });
    said((await stream.finalResponse()).output_text);
  },
  'completions, embeddings, models': async () => {
    said((await client.completions.create({ model: large, prompt: 'The capital of France is', max_tokens: 4, temperature: 0 })).choices[0].text);
    assert.equal((await client.embeddings.create({ model: large, input: ['one', 'two'] })).data.length, 2); // base64 on the way
    assert.ok((await client.models.list()).data.some((one) => one.id === 'auto'));
  },
});
