// check.mjs: what the checks of npm's clients share. A line a check on standard output: "ok NAME", or "FAILED NAME: why".
// Exit status: 0 when every one passes.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

export const url = process.env.A_IO_URL.replace(/\/$/, '');
export const v1 = `${url}/v1`;
export const isReal = process.env.A_IO_REAL === '1'; // a pair of real models: what they say is looked at, too
export const large = process.env.A_IO_LARGE;
export const packages = process.env.A_IO_PACKAGES;
export const key = 'unused';
export const cityQuestion = 'What is the capital of France? Answer with its name.';
export const weatherQuestion = 'What is the weather in Paris? Use the tool.';
export const personText = 'Tom is 25 years old. Give his name and age as JSON.';
export const messages = [{ role: 'user', content: cityQuestion }];

// The client's own package, from its own folder.
const require = createRequire(`${packages}/`);
export const load = async (name) => import(pathToFileURL(require.resolve(name)));

// There is a text, and a real model says what it must.
export function said(text, expected = 'Paris') {
  assert.ok(text, 'nothing was said');
  if (isReal) assert.ok(text.includes(expected), `${expected} is not in ${text}`);
}

// A model that may call may leave it, and a small one makes little of what came of it; but a call is a right one.
export function called(cities, answer) {
  assert.ok(answer, 'nothing was said');
  if (isReal && cities.length > 0) assert.ok(cities[0] === 'Paris', `${cities}: ${answer}`);
}

export async function run(checks) {
  for (const [name, check] of Object.entries(checks))
    try {
      await check();
      console.log(`ok ${name}`);
    } catch (error) {
      process.exitCode = 1;
      console.log(`FAILED ${name}: ${error.name}: ${error.message.replace(/\s+/g, ' ').slice(0, 600)}`);
    }
}
