import assert from 'node:assert/strict';
import { called, cityQuestion, isReal, key, large, load, personText, run, said, v1, weatherQuestion } from './check.mjs';

const ai = await load('ai');
const { createOpenAICompatible } = await load('@ai-sdk/openai-compatible');
const { z } = await load('zod');
const provider = createOpenAICompatible({ name: 'a-io', baseURL: v1, apiKey: key, supportsStructuredOutputs: true, includeUsage: true });
const model = provider(large);
const limits = { temperature: 0, maxOutputTokens: 200, maxRetries: 0 };

await run({
  'generateText': async () => said((await ai.generateText({ model, prompt: cityQuestion, ...limits })).text),
  'streamText': async () => {
    const result = ai.streamText({ model, prompt: cityQuestion, ...limits });
    let told = '';
    for await (const piece of result.textStream) told += piece;
    said(told);
    assert.ok((await result.usage).outputTokens > 0);
  },
  'a tool that may be called': async () => {
    const cities = [];
    const tools = { get_weather: ai.tool({ description: 'The weather of a city', inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => { cities.push(city); return '21 degrees and sunny'; } }) };
    const { text } = await ai.generateText({ model, prompt: weatherQuestion, tools, stopWhen: ai.stepCountIs(3), ...limits });
    called(cities, text);
  },
  'Output.object': async () => {
    const schema = z.object({ name: z.string().max(12), age: z.number().int().min(0).max(200) });
    const asked = ai.generateText({ model, prompt: personText, output: ai.Output.object({ schema }), ...limits });
    if (isReal) assert.deepEqual((await asked).output, { name: 'Tom', age: 25 });
    else await asked.catch(() => {}); // the demo pair's JSON may be cut
  },
  'completion, embedMany': async () => {
    said((await ai.generateText({ model: provider.completionModel(large), prompt: 'The capital of France is', ...limits, maxOutputTokens: 16 })).text);
    const { embeddings } = await ai.embedMany({ model: provider.embeddingModel(large), values: ['one', 'two'], maxRetries: 0 });
    assert.equal(embeddings.length, 2);
  },
});
