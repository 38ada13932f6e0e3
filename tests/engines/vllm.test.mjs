// Models at a real vLLM, on this machine's processor: one engine that serves Qwen2.5-Coder 0.5B under two names, so that it
// fits into 8 GB; with the small one here, and both there with the probe.
import { after, before } from 'node:test';
import path from 'node:path';
import { Engine, ask, folder, lacks, smallFile } from './engine.mjs';
import { pairTests } from './pair.mjs';

const model = path.join(folder, 'model');
const skip = lacks(smallFile, path.join(model, 'config.json'));
const environment = {
  HF_HUB_OFFLINE: '1', TRANSFORMERS_OFFLINE: '1', VLLM_CPU_KVCACHE_SPACE: '1', VLLM_TARGET_DEVICE: 'cpu', VLLM_NO_USAGE_STATS: '1',
  VLLM_HOST_IP: '127.0.0.1', PATH: `${path.join(folder, 'bin')}:${process.env.PATH}`,
};
const command = (port) => [path.join(folder, 'bin/vllm'), ['serve', model, '--host', '127.0.0.1', '--port', String(port),
  '--served-model-name', 'small', 'large', '--dtype', 'bfloat16', '--max-model-len', '4096', '--max-num-seqs', '4', '--enforce-eager',
  '--enable-auto-tool-choice', '--tool-call-parser', 'hermes'], environment];
const busy = async (engine) => Number(/^vllm:num_requests_running\{.*\} (\S+)$/m.exec(await engine.text('/metrics'))?.[1]);

let engine;
before(async () => {
  if (skip) return;
  engine = await Engine.start(command, busy);
  await engine.chat(ask('Hello.', { model: 'large', max_tokens: 2 })); // the first one is slow
});
after(() => engine?.kill());

pairTests('vLLM', { skip, engines: () => ({ small: engine, large: engine }), parsesCalls: true });
