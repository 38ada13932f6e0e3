// Models by name wherever one may stand, the hub's cache, and the same by the real client.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { begin, blobs, cacheOf, commit, fails, folderOf, fresh, golden, hub, next, small, tail, works } from './hub-helper.mjs';
import { program, root, sleep, Server, smallModel, temporaryFolder, until } from './helper.mjs';

// ---- wherever a model may stand ----------------------------------------------------------------------------------------

test('a name wherever a model file may stand', async (t) => {
  const env = fresh(t);
  const name = 'demo/pair-GGUF:Q4_K_M';
  await works(['run', '-m', name, '-n', '2', 'Hello'], env); // fetched here
  assert.equal(hub.sent(), small.length);
  const folder = temporaryFolder(t);
  const ids = path.join(folder, 'ids');
  fs.writeFileSync(ids, '1 2 3');
  await works(['inspect', name], env);
  await works(['tokenize', name], env, { input: 'Hello' });
  await works(['logits', name, '--tokens', ids, '--output', path.join(folder, 'logits')], env);
  await works(['bench', '-m', name, '--perplexity', 'LICENSE', '--depth', '64'], env);
  await works(['quantize', 'demo/pair-GGUF:BF16', path.join(folder, 'q.gguf'), 'q8_0'], env);
  // A file of that name wins; so does one in a folder that is here.
  fs.mkdirSync(path.join(folder, 'demo'));
  fs.copyFileSync(smallModel, path.join(folder, 'demo/pair-GGUF:Q4_K_M'));
  hub.forget();
  await works(['inspect', name], { ...env, HF_HOME: folder }, { cwd: folder });
  await fails(3, 'cannot open', ['inspect', 'models/demo/smal.gguf'], { ...env, HF_HOME: folder });
  assert.equal(hub.requests.length, 0);
});

test('a configuration with a name and with ~; serve fetches what it needs', async (t) => {
  const env = fresh(t);
  const home = temporaryFolder(t);
  fs.mkdirSync(path.join(home, 'models'));
  fs.copyFileSync(path.join(root, 'models/demo/large.gguf'), path.join(home, 'models/large.gguf'));
  const text = fs.readFileSync(path.join(root, 'config/demo.yaml'), 'utf8')
    .replace('../models/demo/small.gguf', 'demo/pair-GGUF').replace('../models/demo/large.gguf', '~/models/large.gguf');
  const file = path.join(home, 'c.yaml');
  fs.writeFileSync(file, text);
  await works(['run', '--config', file, '-n', '2', 'Hello'], { ...env, HOME: home });
  assert.equal(hub.sent(), small.length);
  const server = await Server.start({ args: ['--config', file], env: { ...env, HOME: home } });
  t.after(() => server.stop());
  await fails(3, 'a-io pull demo/pair-GGUF', ['serve', '--check', '--config', file, '--offline'], { ...env, HOME: home, HF_HOME: home });
  await works(['inspect', '~/models/large.gguf'], { ...env, HOME: home });
  const one = await Server.start({ args: ['-m', 'demo/pair-GGUF:Q4_K_M'], env: { ...env, HF_HOME: path.join(home, 'new') } });
  t.after(() => one.stop());
  assert.ok((await one.json('/v1/models')).body.data.some((model) => model.id === 'pair-GGUF:Q4_K_M'));
});

// ---- the cache -----------------------------------------------------------------------------------------------------------

test('models says what is there and whether it runs', async (t) => {
  const env = fresh(t);
  assert.match((await works(['models'], env)).stderr, /no models in/);
  const all = hub.repositories['demo/pair-GGUF'].commits[commit];
  all['broken-Q5_0.gguf'] = tail(Buffer.from('GGUF'), '....');
  for (const what of ['', ':Q8_0', ':Q5_0', '/mmproj-small-Q4_K_M.gguf']) await works(['pull', `demo/pair-GGUF${what}`], env);
  await works(['pull', 'demo/pair-GGUF@refs/pr/1:Q8_0'.replace('@refs/pr/1', `@${next}`)], env);
  await works(['pull', 'demo/parts'], env);
  hub.fault({ stallAt: 1000 });
  const cut = begin(program, ['pull', 'demo/pair-GGUF:BF16'], env);
  await until('a part', () => blobs(env).some((name) => name.endsWith('.incomplete') &&
    fs.statSync(path.join(folderOf(env), 'blobs', name)).size === 1000), 10000);
  cut.child.kill('SIGKILL');
  await cut.ended;
  hub.forget();
  const { models, unfinished, cache } = JSON.parse((await works(['models', '--json'], env)).stdout);
  assert.equal(cache, cacheOf(env));
  assert.deepEqual(unfinished, { downloads: 1, bytes: 1000 });
  const byName = Object.fromEntries(models.map((m) => [m.name, m]));
  assert.deepEqual(Object.keys(byName), ['demo/pair-GGUF/mmproj-small-Q4_K_M.gguf', 'demo/pair-GGUF:Q4_K_M', 'demo/pair-GGUF:Q5_0',
    'demo/pair-GGUF:Q8_0', `demo/pair-GGUF@${next}:Q8_0`, 'demo/parts:Q4_0']);
  const good = byName['demo/pair-GGUF:Q4_K_M'];
  assert.deepEqual([good.runs, good.reason, good.architecture, good.bytes, good.quant], [true, null, 'qwen2', small.length, 'Q4_K_M']);
  assert.equal(byName['demo/pair-GGUF:Q5_0'].runs, false);
  assert.match(byName['demo/pair-GGUF:Q5_0'].reason, /./);
  assert.deepEqual([byName['demo/parts:Q4_0'].bytes, byName['demo/parts:Q4_0'].parts], [small.length, 3]);
  const table = (await works(['models'], env)).stdout;
  assert.match(table, /^demo\/pair-GGUF:Q4_K_M +1\.6 MB +qwen2 +yes$/m);
  assert.match(table, /^demo\/pair-GGUF:Q5_0 .* no: /m);
  assert.equal(hub.requests.length, 0);
  for (const m of models) await works(['pull', '--offline', m.name], env); // each is a name indeed
});

test('rm removes what nothing else needs, and says how much', async (t) => {
  const env = fresh(t);
  await works(['pull', 'demo/pair-GGUF'], env);
  await works(['pull', 'demo/pair-GGUF@v1.0:Q8_0'], env);
  await works(['pull', `demo/pair-GGUF@${next}`], env); // the same blob in a second revision
  await fails(3, 'the cache', ['rm', 'demo/pair-GGUF:Q2_K'], env);
  await fails(3, 'the cache', ['rm', 'demo/none'], env);
  await fails(2, 'no model\'s name', ['rm', '../../x'], env);
  assert.match((await works(['rm', `demo/pair-GGUF@${next}`], env)).stdout, /removed, 0\.0 MB freed/);
  assert.ok(!fs.existsSync(path.join(folderOf(env), 'snapshots', next)));
  await works(['run', '-m', 'demo/pair-GGUF', '--offline', '-n', '2', 'x'], env);
  assert.match((await works(['rm', 'demo/pair-GGUF:Q4_K_M'], env)).stdout, /removed, 1\.6 MB freed/);
  assert.equal(blobs(env).length, 1);
  assert.ok(fs.existsSync(path.join(folderOf(env), 'refs/main'))); // the other file's commit
  assert.match((await works(['rm', 'demo/pair-GGUF:Q8_0'], env)).stdout, /removed, 0\.3 MB freed/);
  assert.ok(!fs.existsSync(folderOf(env)));
  await works(['pull', 'demo/pair-GGUF'], env);
  await works(['rm', 'demo/pair-GGUF'], env);
  assert.ok(!fs.existsSync(folderOf(env)));
});

// ---- the real client -----------------------------------------------------------------------------------------------------

// huggingface_hub in a virtual environment under build/; null where the registry cannot be reached.
function realClient() {
  const folder = path.join(root, 'build/hub-client');
  const python = path.join(folder, 'bin/python');
  const ready = () => spawnSync(python, ['-c', 'import huggingface_hub'], { stdio: 'ignore' }).status === 0;
  if (ready()) return python;
  fs.rmSync(folder, { recursive: true, force: true });
  const steps = [['python3', ['-m', 'venv', folder]],
    [python, ['-m', 'pip', 'install', '-q', '--retries', '1', '--disable-pip-version-check', '-r', path.join(root, 'tests/e2e/requirements.txt')]]];
  for (const [command, args] of steps) {
    if (spawnSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'], timeout: 300000 }).status !== 0) return null;
  }
  return ready() ? python : null;
}

test('huggingface_hub: downloads from this hub, shares its cache with A-IO in both directions, and its locks', async (t) => {
  const python = realClient();
  if (python === null) return t.skip('huggingface_hub cannot be installed: the registry is out of reach');
  const env = { ...fresh(t), HF_HUB_DISABLE_TELEMETRY: '1', HF_HUB_DISABLE_PROGRESS_BARS: '1' };
  const client = async (code, more = {}) => {
    const r = await begin(python, ['-c', `from huggingface_hub import *\n${code}`], { ...env, ...more }).ended;
    assert.equal(r.status, 0, r.stderr);
    return r.stdout.trim();
  };
  const download = (name, file, more = '') => `print(hf_hub_download('${name}', '${file}'${more}))`;

  // The hub is one: files of both kinds, revisions, refusals.
  const other = { HF_HUB_CACHE: path.join(env.HF_HOME, 'other') };
  assert.ok(fs.readFileSync(await client(download('demo/pair-GGUF', 'small-q4_k_m.gguf'), other)).equals(small));
  assert.equal(fs.readFileSync(await client(download('demo/pair-GGUF', 'README.md', `, revision='refs/pr/1'`), other), 'utf8'), '# a pair, again\n');
  assert.equal(await client(`print(model_info('demo/pair-GGUF', files_metadata=True).siblings[1].lfs.size)`, other), String(small.length));
  assert.equal(await client(`print(sorted(list_repo_files('demo/parts'))[0])`, other), 'Q4_0/big-Q4_0-00001-of-00003.gguf');
  for (const [call, error] of [[`'demo/gated', 'a-Q4_0.gguf'`, 'GatedRepoError'], [`'demo/none', 'x'`, 'RepositoryNotFoundError'],
    [`'demo/pair-GGUF', 'x'`, 'RemoteEntryNotFoundError'], [`'demo/pair-GGUF', 'README.md', revision='v9'`, 'RevisionNotFoundError']]) {
    assert.equal(await client(`try: hf_hub_download(${call})\nexcept Exception as e: print(type(e).__name__)`, other), error);
  }

  // Ours is its own.
  const ours = (await works(['pull', 'demo/pair-GGUF'], env)).stdout.trim();
  await works(['pull', 'demo/parts'], env);
  await works(['pull', 'demo/git-only'], env);
  hub.forget();
  assert.equal(await client(download('demo/pair-GGUF', 'small-q4_k_m.gguf')), ours);
  assert.equal(await client(download('demo/pair-GGUF', 'small-q4_k_m.gguf', ', local_files_only=True')), ours);
  await client(`snapshot_download('demo/parts')`);
  await client(download('demo/git-only', 'tiny.gguf'));
  assert.equal(hub.sent(), 0, JSON.stringify(hub.requests));
  assert.equal(await client('i = scan_cache_dir(); print(len(i.repos), len(i.warnings), i.size_on_disk)'),
    `3 0 ${2 * small.length + golden('qwen3.Q4_0.gguf').length}`);

  // Its own is ours.
  const theirs = await client(download('demo/pair-GGUF', 'small-Q8_0.gguf'));
  hub.forget();
  assert.equal((await works(['pull', 'demo/pair-GGUF:Q8_0'], env)).stdout.trim(), theirs);
  assert.equal(hub.sent(), 0);
  await works(['inspect', '--offline', 'demo/pair-GGUF:Q8_0'], env);

  // Whoever holds the lock fetches; the other waits.
  await works(['rm', 'demo/pair-GGUF'], env);
  const patient = { ...env, HF_HUB_DOWNLOAD_TIMEOUT: '300' }; // for the half that is held back
  hub.forget();
  let release = hub.hold();
  const first = begin(python, ['-c', `from huggingface_hub import *\n${download('demo/pair-GGUF', 'small-q4_k_m.gguf')}`], patient);
  await until('its download', () => hub.content().length === 1, 20000);
  const second = begin(program, ['pull', 'demo/pair-GGUF'], env);
  await until('ours waits', () => second.stderr.includes('another process is fetching'), 10000);
  release();
  assert.equal((await second.ended).status, 0, second.stderr);
  assert.equal((await first.ended).stdout, second.stdout);
  assert.equal(hub.sent(), small.length);
  await works(['rm', 'demo/pair-GGUF'], env);
  hub.forget();
  release = hub.hold();
  const pull = begin(program, ['pull', 'demo/pair-GGUF'], patient);
  await until('our download', () => hub.content().length === 1, 20000);
  const asked = hub.requests.length, third = client(download('demo/pair-GGUF', 'small-q4_k_m.gguf'));
  await until('the client has asked for the file', () => hub.requests.length > asked, 20000);
  await sleep(500); // it takes the lock next, and says nothing of waiting for it
  release();
  assert.equal((await pull.ended).stdout.trim(), await third);
  assert.equal(hub.sent(), small.length);

  // What is removed is gone for it too, without a complaint.
  await works(['rm', 'demo/pair-GGUF:Q4_K_M'], env);
  assert.equal(await client('i = scan_cache_dir(); print(sorted(r.repo_id for r in i.repos), len(i.warnings))'), `['demo/git-only', 'demo/parts'] 0`);
  return undefined;
});
