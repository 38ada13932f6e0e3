import assert from 'node:assert/strict';
import { isReal, key, large, load, messages, run, said, url, weatherQuestion } from './check.mjs';

const { Anthropic } = await load('@anthropic-ai/sdk');
const client = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 });
const ask = { model: large, max_tokens: 16, messages };

await run({
  'messages, stream': async () => {
    const whole = (await client.messages.create(ask)).content[0].text;
    assert.ok(whole);
    said(await client.messages.stream({ ...ask, top_k: 1 }).finalText());
  },
  'countTokens': async () => assert.ok((await client.messages.countTokens({ model: large, messages })).input_tokens > 5),
  'tools, streamed': async () => {
    const tools = [{ name: 'get_weather', description: 'The weather of a city', input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } }];
    const final = await client.messages.stream({ model: large, max_tokens: 200, messages: [{ role: 'user', content: weatherQuestion }], tools, tool_choice: { type: 'any' }, top_k: 1 }).finalMessage();
    const call = final.content.find((one) => one.type === 'tool_use');
    assert.equal(call.name, 'get_weather');
    if (isReal) assert.match(call.input.city, /Paris/);
  },
});
