// Models by name: pull, what goes wrong on the way, and several who fetch at once.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { begin, blobs, commit, fails, folderOf, fresh, hub, next, small, works } from './hub-helper.mjs';
import { program, until } from './helper.mjs';

// ---- fetching --------------------------------------------------------------------------------------------------------

test('pull: the file by its quant, in the hub\'s own layout; a second time nothing is fetched', async (t) => {
  const env = fresh(t);
  const r = await works(['pull', 'demo/pair-GGUF'], env);
  const file = path.join(folderOf(env), 'snapshots', commit, 'small-q4_k_m.gguf');
  assert.equal(r.stdout, `${file}\n`);
  assert.match(fs.readlinkSync(file), /^\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/);
  assert.ok(fs.readFileSync(file).equals(small));
  assert.equal(fs.readFileSync(path.join(folderOf(env), 'refs/main'), 'utf8'), commit);
  assert.equal(blobs(env).length, 1);
  assert.equal(hub.sent(), small.length);
  hub.forget();
  const again = JSON.parse((await works(['pull', '--json', 'demo/pair-GGUF:q4_K_m'], env)).stdout);
  assert.deepEqual(again, { name: 'demo/pair-GGUF:q4_K_m', commit, paths: [file], bytes: small.length, fetched: 0 });
  assert.deepEqual(hub.requests.map((q) => q.path), ['/api/models/demo/pair-GGUF/revision/main?blobs=true']);
});

test('pull: quants, files and revisions', async (t) => {
  const env = fresh(t);
  const pulled = async (...args) => (await works(['pull', ...args], env)).stdout.trim().slice(folderOf(env).length);
  assert.equal(await pulled('demo/pair-GGUF:Q8_0'), `/snapshots/${commit}/small-Q8_0.gguf`);
  assert.equal(await pulled('demo/pair-GGUF:BF16'), `/snapshots/${commit}/small-bf16.gguf`);
  assert.equal(await pulled('demo/pair-GGUF/mmproj-small-Q4_K_M.gguf'), `/snapshots/${commit}/mmproj-small-Q4_K_M.gguf`);
  assert.equal(await pulled('demo/pair-GGUF@v1.0:Q8_0'), `/snapshots/${commit}/small-Q8_0.gguf`);
  assert.equal(await pulled('demo/pair-GGUF:Q8_0', '--revision', next), `/snapshots/${next}/small-Q8_0.gguf`);
  assert.equal(await pulled('demo/pair-GGUF:Q8_0', '--revision', 'refs/pr/1'), `/snapshots/${next}/small-Q8_0.gguf`);
  assert.equal(fs.readFileSync(path.join(folderOf(env), 'refs/refs/pr/1'), 'utf8'), next);
  // F16 is not BF16.
  await fails(3, ['no GGUF file of a model for F16', 'small-bf16.gguf'], ['pull', 'demo/pair-GGUF:F16'], env);
  await fails(2, 'has @v1.0 already', ['pull', 'demo/pair-GGUF@v1.0', '--revision', 'main'], env);
  for (const name of ['x', 'a/b/c', 'a--b/c', '../b', 'a/..', 'a/b:', 'a/b:x/y', 'a/b/../c.gguf', '/a/b', 'a/b@../x:Q4', 'a/b.gguf']) {
    await fails(2, 'is neither OWNER/REPO', ['pull', name], env);
  }
});

test('pull: all parts of a split file', async (t) => {
  const env = fresh(t);
  const r = await works(['pull', 'demo/parts'], env);
  const paths = r.stdout.trim().split('\n');
  assert.deepEqual(paths.map((p) => path.basename(p)), [1, 2, 3].map((i) => `big-Q4_0-0000${i}-of-00003.gguf`));
  assert.ok(Buffer.concat(paths.map((p) => fs.readFileSync(p))).equals(small));
  assert.equal(fs.readlinkSync(paths[0]).split('/').slice(0, 4).join('/'), '../../../blobs');
  // Any part names the whole, and one that is missing is noticed.
  assert.equal((await works(['pull', 'demo/parts/Q4_0/big-Q4_0-00002-of-00003.gguf', '--offline'], env)).stdout, r.stdout);
  fs.unlinkSync(paths[1]);
  await fails(3, 'part 2 of 3', ['pull', 'demo/parts', '--offline'], env);
  hub.forget();
  await works(['pull', 'demo/parts'], env);
  assert.equal(hub.sent(), 0); // the blob was there
});

test('pull: a file that is kept in git has git\'s checksum', async (t) => {
  const env = fresh(t);
  await works(['pull', 'demo/git-only'], env);
  assert.match(blobs(env, 'demo--git-only')[0], /^[0-9a-f]{40}$/);
});

test('a branch that moves: what is the same is not fetched again', async (t) => {
  const env = fresh(t);
  await works(['pull', 'demo/pair-GGUF'], env);
  hub.repositories['demo/pair-GGUF'].revisions.main = next;
  hub.forget();
  const r = JSON.parse((await works(['pull', 'demo/pair-GGUF', '--json'], env)).stdout);
  assert.deepEqual([r.commit, r.fetched, hub.sent()], [next, 0, 0]);
  assert.equal(fs.readFileSync(path.join(folderOf(env), 'refs/main'), 'utf8'), next);
});

// ---- cuts ------------------------------------------------------------------------------------------------------------

test('a connection cut at every tenth goes on at that byte', async (t) => {
  const env = fresh(t);
  const cuts = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((i) => Math.floor(small.length * i / 10));
  hub.fault(...cuts.map((cutAt) => ({ cutAt })));
  await works(['pull', 'demo/pair-GGUF'], env);
  assert.deepEqual(hub.content().map((q) => q.range), [null, ...cuts.map((at) => `bytes=${at}-`)]);
  assert.equal(hub.sent(), small.length);
});

for (const [signal, tenths] of [['SIGKILL', [1, 2, 3, 4, 5, 6, 7, 8, 9]], ['SIGINT', [4]], ['SIGTERM', [6]]]) {
  test(`a process ended by ${signal} leaves what the next one goes on with`, async (t) => {
    const env = fresh(t);
    const cuts = tenths.map((i) => Math.floor(small.length * i / 10));
    for (const stallAt of cuts) {
      hub.fault({ stallAt });
      const pull = begin(program, ['pull', 'demo/pair-GGUF'], env);
      await until(`${stallAt} bytes`, () => blobs(env).some((name) => name.endsWith('.incomplete') &&
        fs.statSync(path.join(folderOf(env), 'blobs', name)).size === stallAt), 10000);
      pull.child.kill(signal);
      const r = await pull.ended;
      if (signal === 'SIGKILL') assert.equal(r.signal, signal);
      else assert.deepEqual([r.status, r.stderr.includes('the same command goes on from here')], [8, true], r.stderr);
    }
    await works(['pull', 'demo/pair-GGUF'], env);
    assert.deepEqual(hub.content().map((q) => q.range), [null, ...cuts.map((at) => `bytes=${at}-`)]);
    assert.equal(hub.sent(), small.length);
    assert.equal(blobs(env).length, 1);
  });
}

test('a server that stalls, ignores the range, or refuses for a moment', async (t) => {
  const env = { ...fresh(t), HF_HUB_DOWNLOAD_TIMEOUT: '1' };
  hub.fault({ stallAt: 100000 }, { whole: true, cutAt: 200000 }, { status: 503, headers: { 'Retry-After': '1' } },
    { status: 429, headers: { RateLimit: '"resolvers";r=0;t=1' } });
  await works(['pull', 'demo/pair-GGUF'], env);
  assert.deepEqual(hub.content().map((q) => q.range),
    [null, 'bytes=100000-', 'bytes=200000-', 'bytes=200000-', 'bytes=200000-']);
});

test('patience has an end, and respects the hub\'s', async (t) => {
  const env = fresh(t);
  hub.fault({ where: 'hub', status: 503 }, { where: 'hub', status: 429, headers: { 'Retry-After': '1' } });
  const start = Date.now();
  await works(['pull', 'demo/pair-GGUF'], env);
  assert.ok(Date.now() - start >= 1500, 'half a second, then the second that was asked for');
  hub.forget();
  hub.fault(...Array(9).fill({ where: 'hub', status: 502 }));
  await fails(6, 'HTTP 502', ['pull', 'demo/pair-GGUF:Q8_0'], env);
  assert.equal(hub.requests.length, 4);
  hub.forget();
  hub.fault({ where: 'hub', status: 429, headers: { 'Retry-After': '3600' } });
  await fails(7, 'asks to wait 3600 s', ['pull', 'demo/pair-GGUF:Q8_0'], env);
});

test('wrong bytes are removed and said', async (t) => {
  const env = fresh(t);
  hub.fault({ wrong: true });
  await fails(5, ['checksum', 'it was removed'], ['pull', 'demo/pair-GGUF'], env);
  assert.deepEqual(blobs(env), []);
  assert.ok(!fs.existsSync(path.join(folderOf(env), 'snapshots')) && !fs.existsSync(path.join(folderOf(env), 'refs')));
  // Also where the wrong ones came before a cut.
  hub.fault({ cutAt: 400000 });
  hub.fault(...Array(6).fill({ status: 500 }));
  const partial = begin(program, ['pull', 'demo/pair-GGUF'], env);
  const file = await until('a part', () => blobs(env).find((name) => name.endsWith('.incomplete') &&
    fs.statSync(path.join(folderOf(env), 'blobs', name)).size === 400000), 10000);
  partial.child.kill('SIGKILL');
  await partial.ended;
  hub.forget();
  const fd = fs.openSync(path.join(folderOf(env), 'blobs', file), 'r+');
  fs.writeSync(fd, 'x', 1000);
  fs.closeSync(fd);
  await fails(5, 'checksum', ['pull', 'demo/pair-GGUF'], env);
  await works(['pull', 'demo/pair-GGUF'], env);
});

// ---- refusals --------------------------------------------------------------------------------------------------------

test('what the hub does not have', async (t) => {
  const env = fresh(t);
  await fails(3, ['no repository demo/none', 'HF_TOKEN'], ['pull', 'demo/none'], env);
  await fails(3, 'no repository demo/none', ['pull', 'demo/none'], { ...env, HF_TOKEN: 'hf_stranger' });
  await fails(3, 'has no revision v9', ['pull', 'demo/pair-GGUF@v9'], env);
  await fails(3, ['has no other.gguf', 'small-q4_k_m.gguf'], ['pull', 'demo/pair-GGUF/other.gguf'], env);
  await fails(3, ['for Q2_K', 'small-Q8_0.gguf'], ['pull', 'demo/pair-GGUF:Q2_K'], env);
  await fails(3, 'demo/nothing has no GGUF file', ['pull', 'demo/nothing'], env);
  await fails(3, ['"demo/none" is no file here', 'no repository'], ['run', '-m', 'demo/none', 'x'], env);
  assert.equal(hub.sent(), 0);
});

test('gated and private: a word on what to do, and the token goes to the hub alone', async (t) => {
  const env = fresh(t);
  await fails(6, ['demo/gated is gated', `${hub.url}/demo/gated`, 'set HF_TOKEN'], ['pull', 'demo/gated'], env);
  await fails(6, ['demo/gated is gated', 'of the account that got it'], ['pull', 'demo/gated'], { ...env, HF_TOKEN: 'hf_stranger' });
  await fails(6, 'does not know the token', ['pull', 'demo/gated'], { ...env, HF_TOKEN: 'hf_wrong' });
  await fails(3, 'private', ['pull', 'demo/private'], env);
  await fails(2, 'HF_TOKEN: the token has a character', ['pull', 'demo/gated'], { ...env, HF_TOKEN: 'a\nX-Evil: 1' });
  hub.forget();
  await works(['pull', 'demo/gated'], { ...env, HF_TOKEN: 'hf_member' });
  assert.ok(hub.requests.some((q) => q.place === 'store'));
  for (const q of hub.requests) assert.equal(q.token, q.place === 'hub' ? 'hf_member' : null, JSON.stringify(q));
  // From the token's file, where it is looked for.
  fs.writeFileSync(path.join(env.HF_HOME, 'token'), 'hf_member\n');
  await works(['pull', 'demo/private'], env);
  hub.forget();
  await fails(3, 'private', ['pull', 'demo/private'], { ...env, HF_HUB_CACHE: path.join(env.HF_HOME, 'other'), HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' });
  const elsewhere = path.join(env.HF_HOME, 'elsewhere');
  fs.renameSync(path.join(env.HF_HOME, 'token'), elsewhere);
  await works(['pull', 'demo/private'], { ...env, HF_HUB_CACHE: path.join(env.HF_HOME, 'other'), HF_TOKEN_PATH: '$HF_HOME/elsewhere' });
});

test('a hub that lies', async (t) => {
  const env = fresh(t);
  const listing = (body) => hub.fault({ where: 'hub', body });
  listing('<html>');
  await fails(5, ['is no hub', 'not JSON'], ['pull', 'demo/pair-GGUF'], env);
  listing('[]');
  await fails(5, 'no commit', ['pull', 'demo/pair-GGUF'], env);
  listing(JSON.stringify({ sha: '../../../../etc', siblings: [] }));
  await fails(5, 'no commit', ['pull', 'demo/pair-GGUF'], env);
  listing('{"sha":"' + '['.repeat(1 << 20));
  await fails(5, 'not JSON', ['pull', 'demo/pair-GGUF'], env);
  listing('['.repeat(1 << 20));
  await fails(5, 'not JSON', ['pull', 'demo/pair-GGUF'], env);
  listing(Buffer.alloc((16 << 20) + 1, ' '));
  await fails(2, 'longer than', ['pull', 'demo/pair-GGUF'], env);
  // Names that lead out of the cache are nobody's.
  hub.repositories['demo/nothing'].extra = ['../../../evil.gguf', '/tmp/evil.gguf', 'a/../../evil.gguf', '.hidden/a.gguf',
    'a\\..\\b.gguf', 'x/\n.gguf', ''].map((rfilename) => ({ rfilename, size: 1 }));
  await fails(3, 'has no GGUF file', ['pull', 'demo/nothing'], env);
  for (const etag of ['../../../evil', 'abc', '"', 'z'.repeat(64)]) {
    hub.repositories['demo/pair-GGUF'].etag = etag;
    await fails(5, 'no checksum', ['pull', 'demo/pair-GGUF'], env);
  }
  hub.repositories['demo/pair-GGUF'].etag = '0'.repeat(64);
  await fails(5, 'checksum', ['pull', 'demo/pair-GGUF'], env);
  delete hub.repositories['demo/pair-GGUF'].etag;
  hub.fault({ more: 10 });
  await fails(6, 'more than', ['pull', 'demo/pair-GGUF'], env);
  hub.fault({ cutAt: 1000 }, { skip: 10 });
  await fails(6, 'other bytes than it was asked for', ['pull', 'demo/pair-GGUF:Q8_0'], env);
  await fails(2, 'HF_ENDPOINT', ['pull', 'demo/pair-GGUF'], { ...env, HF_ENDPOINT: 'ftp://x' });
  for (const name of fs.readdirSync(path.dirname(env.HF_HOME))) assert.equal(name, 'hf');
});

// ---- without a hub -----------------------------------------------------------------------------------------------------

test('the hub is away: what the cache has is used, and nothing else can be', async (t) => {
  const env = fresh(t);
  await works(['pull', 'demo/pair-GGUF'], env);
  const away = { ...env, HF_ENDPOINT: 'http://127.0.0.1:9' };
  const r = await works(['pull', 'demo/pair-GGUF'], away);
  assert.match(r.stderr, /what the cache has is used/);
  assert.match(r.stdout, /small-q4_k_m\.gguf\n$/);
  await works(['run', '-m', 'demo/pair-GGUF', '-n', '2', 'Hello'], away);
  await fails(6, '127.0.0.1:9', ['pull', 'demo/pair-GGUF:Q8_0'], away);
  hub.fault({ where: 'hub', status: 500 });
  assert.match((await works(['pull', 'demo/pair-GGUF'], env)).stderr, /HTTP 500.*; what the cache has is used/);
});

test('offline: no request is made', async (t) => {
  const env = fresh(t);
  await works(['pull', 'demo/pair-GGUF'], env);
  hub.forget();
  for (const [args, more] of [[['--offline'], {}], [[], { HF_HUB_OFFLINE: '1' }], [[], { HF_HUB_OFFLINE: 'yes' }], [[], { TRANSFORMERS_OFFLINE: '1' }]]) {
    const offline = { ...env, ...more };
    await works(['pull', 'demo/pair-GGUF', ...args], offline);
    await works(['run', '-m', 'demo/pair-GGUF', '-n', '2', ...args, 'Hello'], offline);
    await fails(3, ['offline nothing is fetched', 'a-io pull demo/pair-GGUF:Q8_0'], ['run', '-m', 'demo/pair-GGUF:Q8_0', ...args, 'x'], offline);
    await fails(3, 'the cache', ['pull', 'demo/gated', ...args], offline);
  }
  assert.equal(hub.requests.length, 0);
});

// ---- at once -----------------------------------------------------------------------------------------------------------

test('four processes at once: one fetches, the others wait and find the file', async (t) => {
  const env = fresh(t);
  const release = hub.hold();
  const all = [1, 2, 3, 4].map(() => begin(program, ['pull', 'demo/pair-GGUF'], env));
  const waiting = () => all.filter((r) => r.stderr.includes('another process is fetching')).length;
  await until('three wait', () => waiting() === 3, 10000);
  release();
  for (const r of all) assert.equal((await r.ended).status, 0, r.stderr);
  assert.equal(new Set(all.map((r) => r.stdout)).size, 1);
  assert.equal(hub.content().length, 1);
  assert.equal(hub.sent(), small.length);
  assert.equal(waiting(), 3);
});

test('rm refuses while a download runs', async (t) => {
  const env = fresh(t);
  const release = hub.hold();
  const pull = begin(program, ['pull', 'demo/pair-GGUF'], env);
  await until('a part', () => blobs(env).some((name) => name.endsWith('.incomplete')), 10000);
  await fails(7, 'being fetched', ['rm', 'demo/pair-GGUF'], env);
  release();
  assert.equal((await pull.ended).status, 0, pull.stderr);
});

// ---- no room -----------------------------------------------------------------------------------------------------------

test('a file that may not grow: a clear word, and the part is kept', async (t) => {
  const env = fresh(t);
  const r = await begin('bash', ['-c', 'ulimit -f 600; exec "$@"', 'bash', program, 'pull', 'demo/pair-GGUF'], env).ended;
  assert.equal(r.status, 6, r.stderr);
  assert.match(r.stderr, /cannot write .*what was fetched is kept/);
  const kept = fs.statSync(path.join(folderOf(env), 'blobs', blobs(env)[0])).size;
  assert.equal(kept, 600 * 1024);
  hub.forget();
  await works(['pull', 'demo/pair-GGUF'], env);
  assert.deepEqual(hub.content().map((q) => q.range), [`bytes=${kept}-`]);
});

test('a full disk: refused before, noticed during, resumed after', async (t) => {
  const env = fresh(t);
  fs.mkdirSync(env.HF_HOME);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2400k', 'tmpfs', env.HF_HOME]).status !== 0) {
    return t.skip('no right to mount a tmpfs here');
  }
  try {
    const filler = path.join(env.HF_HOME, 'filler');
    fs.writeFileSync(filler, Buffer.alloc(1 << 20));
    await fails(6, ['no room', '1.6 MB are still to come'], ['pull', 'demo/pair-GGUF'], env);
    fs.truncateSync(filler, 0);
    const release = hub.hold();
    const pull = begin(program, ['pull', 'demo/pair-GGUF'], env);
    await until('a part', () => blobs(env).some((name) => fs.statSync(path.join(folderOf(env), 'blobs', name)).size > 0), 10000);
    try {
      fs.writeFileSync(filler, Buffer.alloc(4 << 20));
    } catch {
      // it takes what there is
    }
    release();
    const r = await pull.ended;
    assert.equal(r.status, 6, r.stderr);
    assert.match(r.stderr, /No space left on device; what was fetched is kept/);
    fs.rmSync(filler);
    const kept = fs.statSync(path.join(folderOf(env), 'blobs', blobs(env)[0])).size;
    assert.ok(kept > 0 && kept < small.length);
    hub.forget();
    await works(['pull', 'demo/pair-GGUF'], env);
    assert.deepEqual(hub.content().map((q) => q.range), [`bytes=${kept}-`]);
  } finally {
    execFileSync('umount', [env.HF_HOME]);
  }
  return undefined;
});
