// peer.mjs: one process of the other engine (llama.cpp inside node-llama-cpp). Takes a job as JSON in
// its only argument, prints one JSON object: {results: [{test, n, depth, ms, tokens}], load_ms, threads,
// flash, memory}: threads and flash attention as the context says it has them.
//
//   job: {model, prompt (file of token ids), threads, prefill: [n], decode: n, depths: [d], steps: [n],
//         flash: bool}
import { readFileSync } from "node:fs";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const STEPS_PER_RUN = 4; // as in src/measure/subject.c
const WARM_TOKENS = 2;

const job = JSON.parse(process.argv[2]);
const prompt = readFileSync(job.prompt, "utf8").trim().split(/\s+/).map(Number);

function memory(field) {
    const line = readFileSync("/proc/self/status", "utf8").match(new RegExp(`${field}:\\s+(\\d+) kB`));
    return Number(line[1]) * 1024;
}

const llama = await getLlama({
    gpu: false,
    build: "never",
    progressLogs: false,
    logLevel: LlamaLogLevel.error,
    maxThreads: job.threads,
});
const base = memory("VmRSS");
const loading = performance.now();
const model = await llama.loadModel({ modelPath: job.model });
const load_ms = performance.now() - loading;
const most = Math.max(...job.prefill, ...job.depths.map((d) => d + job.decode), ...job.steps, 1) + 16;
const context = await model.createContext({
    contextSize: most,
    sequences: 1,
    batchSize: 512,
    threads: { ideal: job.threads, min: job.threads },
    flashAttention: job.flash,
});
const sequence = context.getSequence();

const greedy = { generateNext: { token: true, options: { temperature: 0 } } };

let held = 0; // tokens in the KV that are the prompt's

async function cut(length) {
    held = Math.min(held, length);
    if (sequence.nextTokenIndex > length)
        await sequence.eraseContextTokenRanges([{ start: length, end: sequence.nextTokenIndex }]);
}

// Rows of one step, a sampled token for each of the last `outputs`.
async function step(tokens, outputs) {
    const rows = tokens.map((t, i) => (i + outputs >= tokens.length ? [t, greedy] : t));
    const out = await sequence.controlledEvaluate(rows);
    return out.slice(-outputs).map((o) => o.next.token);
}

async function hold(depth) {
    await cut(Math.min(held, depth));
    if (held < depth) await sequence.evaluateWithoutGeneratingNewTokens(prompt.slice(held, depth));
    held = depth;
}

async function prefill(n) {
    await cut(0);
    const start = performance.now();
    const tokens = await step(prompt.slice(0, n), 1);
    return { test: "prefill", n, depth: 0, ms: performance.now() - start, tokens };
}

// Its own loop: the generator that its users call.
async function generated(depth, n) {
    await hold(depth);
    const tokens = [];
    const start = performance.now();
    const options = { temperature: 0, yieldEogToken: true };
    for await (const token of sequence.evaluate([prompt[depth]], options)) {
        tokens.push(token);
        if (tokens.length === n) break;
    }
    return { ms: (performance.now() - start) / n, tokens };
}

// The same with one call a token.
async function called(depth, n) {
    await hold(depth);
    const tokens = [prompt[depth]];
    const start = performance.now();
    for (let i = 0; i < n; i++) tokens.push((await step([tokens[i]], 1))[0]);
    return { ms: (performance.now() - start) / n, tokens: tokens.slice(1) };
}

// The faster of its two ways.
async function decode(depth, n) {
    await generated(depth, WARM_TOKENS);
    const ways = [await generated(depth, n), await called(depth, n)];
    const best = ways[0].ms <= ways[1].ms ? ways[0] : ways[1];
    return { test: "decode", n, depth, ...best };
}

async function steps(n, continuation) {
    const rows = [prompt[0], ...continuation].slice(0, n);
    await cut(0);
    await step(rows, n);
    let ms = 0;
    let tokens;
    for (let i = 0; i < STEPS_PER_RUN; i++) {
        await cut(0); // outside the time: ours moves a counter
        const start = performance.now();
        tokens = await step(rows, n);
        ms += performance.now() - start;
    }
    return { test: "step", n, depth: 0, ms: ms / STEPS_PER_RUN, tokens };
}

const results = [];
for (const n of job.prefill) {
    await prefill(Math.min(n, 64)); // warm
    results.push(await prefill(n));
}
for (const depth of job.depths) results.push(await decode(depth, job.decode));
if (job.steps.length > 0) {
    const continuation = (await called(0, Math.max(...job.steps))).tokens;
    for (const n of job.steps) results.push(await steps(n, continuation));
}

const output = { results, load_ms, threads: context.currentThreads, flash: context.flashAttention, memory: { base, peak: memory("VmHWM"), end: memory("VmRSS") } };
process.stdout.write(JSON.stringify(output) + "\n");
process.exit(0);
