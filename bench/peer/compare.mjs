// compare.mjs: A-IO and the peer (llama.cpp inside node-llama-cpp) on the same files, prompt and number
// of threads, one after the other, in turns.
//
//   node compare.mjs --program build/a-io [options] MODEL.gguf...
//
// Every pair is a process of ours and one of theirs for each way that it is run; who begins changes from
// pair to pair. A ratio is theirs / ours of one pair, above 1 where ours is faster; the table shows the
// medians. Of their ways (flash attention off and on) a test takes the one with the lower median.
import { execFileSync } from "node:child_process";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const peer = "node-llama-cpp 3.22.1";
const usage = `usage: node compare.mjs [options] [MODEL.gguf...]
  --synthetic S:T  a model that a-io makes (a-io bench --help); may be given several times
  --program FILE   a-io (default: build/a-io)
  --pairs N        pairs a model (default: 5)
  --threads N      threads of both (default: 2)
  --prefill LIST   prompt lengths (default: 512)
  --decode N       tokens decoded at every depth (default: 32)
  --depths LIST    tokens in the KV before them (default: 0,512,2048)
  --steps LIST     rows of a step, logits and a token for each (default: 1,2,3,4,5,6,7,8,16)
  --flash MODE     the peer's flash attention: off, on or both, the better one counting (default: both)
  --keep FILE      pairs are kept there until everything is done: an interrupted run goes on
  --json           one JSON object instead of tables`;

const { values: o, positionals: files } = parseArgs({
    allowPositionals: true,
    options: {
        synthetic: { type: "string", multiple: true, default: [] },
        program: { type: "string", default: "build/a-io" },
        pairs: { type: "string", default: "5" },
        threads: { type: "string", default: "2" },
        prefill: { type: "string", default: "512" },
        decode: { type: "string", default: "32" },
        depths: { type: "string", default: "0,512,2048" },
        steps: { type: "string", default: "1,2,3,4,5,6,7,8,16" },
        flash: { type: "string", default: "both" },
        keep: { type: "string" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
    },
});
const modes = { off: ["off"], on: ["on"], both: ["off", "on"] }[o.flash];
if (o.help || files.length + o.synthetic.length === 0 || !modes || !(Number(o.pairs) >= 1)) {
    console.log(usage);
    process.exit(o.help ? 0 : 2);
}

const here = dirname(fileURLToPath(import.meta.url));
const numbers = (text) => text.split(",").filter((t) => t !== "").map(Number);
const job = {
    threads: Number(o.threads),
    prefill: numbers(o.prefill),
    decode: Number(o.decode),
    depths: numbers(o.depths),
    steps: numbers(o.steps),
};
const folder = mkdtempSync(join(tmpdir(), "a-io-peer-"));
process.on("exit", () => rmSync(folder, { recursive: true }));

const read = (command, args) =>
    JSON.parse(execFileSync(command, args, { encoding: "utf8", maxBuffer: 1 << 26, stdio: ["ignore", "pipe", "inherit"] }));

// The same ids for both, from a fixed linear congruential generator (Numerical Recipes' constants). Ids
// from 256 on: below are single bytes and, in many vocabularies, control tokens.
function writePrompt(model) {
    const inspected = JSON.parse(execFileSync(o.program, ["inspect", "--json", model], { encoding: "utf8" }));
    const n_vocab = inspected.model.vocabulary;
    const length = Math.max(...job.prefill, ...job.depths.map((d) => d + 1), 64);
    const ids = [];
    for (let i = 0, x = 1; i < length; i++) {
        x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
        ids.push(256 + Math.floor((x / 2 ** 32) * (n_vocab - 256)));
    }
    const path = join(folder, "prompt.txt");
    writeFileSync(path, ids.join(" ") + "\n");
    return path;
}

function ours(model, prompt) {
    const common = ["bench", "--json", "-m", model, "-t", o.threads, "--runs", "1", "--prompt", prompt];
    const runs = [];
    const long = [...job.prefill.map((n) => `prefill:${n}`), ...(job.depths.length ? [`decode:${job.decode}`] : [])];
    if (long.length > 0) {
        const depth = job.depths.length ? ["--depth", job.depths.join(",")] : [];
        runs.push(read(o.program, [...common, "--tests", long.join(","), ...depth]));
    }
    if (job.steps.length > 0) runs.push(read(o.program, [...common, "--tests", `step:${job.steps.join(",")}`]));
    return {
        results: runs.flatMap((r) => r.results),
        load_ms: runs[0].models[0].load_s * 1e3,
        memory: Math.max(...runs.map((r) => r.models[0].memory_peak_bytes)),
        kernel: runs[0].kernel,
        type: runs[0].models[0].type,
    };
}

function theirs(model, prompt, mode) {
    const out = read(process.execPath, [join(here, "peer.mjs"), JSON.stringify({ ...job, flash: mode === "on", model, prompt })]);
    if (out.threads !== job.threads || out.flash !== (mode === "on"))
        throw new Error(`the peer ran ${out.threads} threads, flash attention ${out.flash ? "on" : "off"}: not what was asked for`);
    return { results: out.results, load_ms: out.load_ms, memory: out.memory.peak - out.memory.base };
}

const median = (values) => {
    const v = [...values].sort((a, b) => a - b);
    return (v[(v.length - 1) >> 1] + v[v.length >> 1]) / 2;
};
const key = (r) => `${r.test} ${r.n} ${r.depth}`;
const equal = (a, b) => {
    let i = 0;
    while (i < Math.min(a.length, b.length) && a[i] === b[i]) i++;
    return i;
};

function progress(text) {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

// ---- pairs that an interrupted run left -----------------------------------------------------------

const built = statSync(o.program);
const keyOf = (model, i) => JSON.stringify({ program: [built.size, built.mtimeMs], peer, model, i, job, modes });

const kept = new Map();
if (o.keep && existsSync(o.keep))
    for (const line of readFileSync(o.keep, "utf8").split("\n").filter((l) => l.endsWith("}"))) {
        const { key, pair } = JSON.parse(line);
        kept.set(key, pair);
    }

function keep(key, pair) {
    if (o.keep) appendFileSync(o.keep, JSON.stringify({ key, pair }) + "\n");
}

// ---- one model ----------------------------------------------------------------------------------

function measurePair(model, prompt, i) {
    const pair = { ours: null, theirs: {} };
    const ways = [
        ["a-io", () => (pair.ours = ours(model, prompt))],
        ...modes.map((mode) => [`peer, flash attention ${mode}`, () => (pair.theirs[mode] = theirs(model, prompt, mode))]),
    ];
    for (const [name, run] of i % 2 === 0 ? ways : ways.reverse()) {
        progress(`${model}: pair ${i + 1} of ${o.pairs}, ${name}`);
        run();
    }
    progress("");
    return pair;
}

const found = (side, test) => side.results.find((r) => key(r) === key(test));

function printPair(pair, i, isKept) {
    const ratio = (test) => Math.min(...modes.map((m) => found(pair.theirs[m], test).ms)) / found(pair.ours, test).ms;
    const name = (test) => `${test.test} ${test.n}${test.depth ? ` at ${test.depth}` : ""}`;
    const ratios = pair.ours.results.map((test) => `${name(test)}: ${ratio(test).toFixed(2)}`).join(", ");
    const text = `pair ${i + 1} of ${o.pairs}${isKept ? " (kept)" : ""}, theirs / ours: ${ratios}`;
    (o.json ? console.error : console.log)(text);
}

function summarise(test, pairs) {
    const ms = (mode) => median(pairs.map((p) => found(p.theirs[mode], test).ms));
    const flash = modes.reduce((best, mode) => (ms(mode) < ms(best) ? mode : best));
    const rows = pairs.map((p) => ({ a: found(p.ours, test), b: found(p.theirs[flash], test) }));
    const ratios = rows.map((r) => r.b.ms / r.a.ms);
    return {
        test: test.test,
        n: test.n,
        depth: test.depth,
        ours_ms: median(rows.map((r) => r.a.ms)),
        theirs_ms: ms(flash),
        theirs_ms_by_flash: Object.fromEntries(modes.map((mode) => [mode, ms(mode)])),
        flash,
        ratio: median(ratios),
        ratio_low: Math.min(...ratios),
        ratio_high: Math.max(...ratios),
        ours_share_of_peak: median(rows.map((r) => r.a.share_of_peak)),
        unsteady: rows.filter((r) => !r.a.steady).length,
        tokens: rows[0].a.tokens.length,
        tokens_equal: equal(rows[0].a.tokens, rows[0].b.tokens),
    };
}

function compare(model) {
    const prompt = writePrompt(model);
    const pairs = [];
    if (!o.json) console.log(`\n${model}`);
    for (let i = 0; i < Number(o.pairs); i++) {
        const isKept = kept.has(keyOf(model, i));
        pairs.push(isKept ? kept.get(keyOf(model, i)) : measurePair(model, prompt, i));
        if (!isKept) keep(keyOf(model, i), pairs[i]);
        printPair(pairs[i], i, isKept);
    }
    const least = (field) => Math.min(...modes.map((mode) => median(pairs.map((p) => p.theirs[mode][field]))));
    return {
        model,
        type: pairs[0].ours.type,
        kernel: pairs[0].ours.kernel,
        threads: job.threads,
        pairs: pairs.length,
        tests: pairs[0].ours.results.map((test) => summarise(test, pairs)),
        load_ms: { ours: median(pairs.map((p) => p.ours.load_ms)), theirs: least("load_ms") },
        memory_peak_bytes: { ours: median(pairs.map((p) => p.ours.memory)), theirs_above_node: least("memory") },
    };
}

function print(c) {
    console.log(`${c.type}: ${c.pairs} pairs, ${c.threads} threads, kernel ${c.kernel}`);
    console.log("test          depth     ours ms   theirs ms  flash   ratio (lowest to highest)   our share of peak   same tokens");
    for (const t of c.tests) {
        const tokens = t.test === "step" ? "" : `${t.tokens_equal} of ${t.tokens}`;
        console.log(
            `${`${t.test} ${t.n}`.padEnd(13)} ${String(t.depth).padStart(5)} ${t.ours_ms.toFixed(2).padStart(11)} ` +
                `${t.theirs_ms.toFixed(2).padStart(11)} ${t.flash.padStart(6)} ${t.ratio.toFixed(2).padStart(7)} ` +
                `${`(${t.ratio_low.toFixed(2)} to ${t.ratio_high.toFixed(2)})`.padEnd(20)} ` +
                `${`${(100 * t.ours_share_of_peak).toFixed(0)} %`.padStart(19)}   ${tokens.padStart(11)}` +
                `${t.unsteady ? `  unsteady in ${t.unsteady}` : ""}`,
        );
    }
    const mb = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;
    console.log(`peak memory: ours ${mb(c.memory_peak_bytes.ours)}, theirs ${mb(c.memory_peak_bytes.theirs_above_node)} above node's own`);
    console.log(`loading: ours ${(c.load_ms.ours / 1e3).toFixed(2)} s, theirs ${(c.load_ms.theirs / 1e3).toFixed(2)} s`);
}

// Written where a-io keeps them, if they are not there yet; the shortest run says where.
const made = (spec) =>
    read(o.program, ["bench", "--json", "--synthetic", spec, "--tests", "step:1", "--runs", "1"]).models[0].file;

const compared = [];
for (const model of [...files, ...o.synthetic.map(made)]) {
    compared.push(compare(model));
    if (!o.json) print(compared.at(-1));
}
if (o.json) console.log(JSON.stringify({ peer, compared }, null, 1));
if (o.keep) rmSync(o.keep, { force: true });
