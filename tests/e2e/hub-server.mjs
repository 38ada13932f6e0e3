// A little Hugging Face hub on loopback: what a client of models sees of the real one (listing, metadata, redirects to
// a second place for large files, ranges, gated and private repositories, revisions), and faults on demand.
// hub-cache.test.mjs shows with huggingface_hub, the real client, that it is faithful.
import { createHash } from 'node:crypto';
import http from 'node:http';

const sha256 = (data) => createHash('sha256').update(data).digest('hex');
const gitSha1 = (data) => createHash('sha1').update(`blob ${data.length}\0`).update(data).digest('hex');

export class Hub {
  // repositories: { 'owner/repo': { revisions: { main: COMMIT, … }, commits: { COMMIT: { FILE: Buffer } },
  //                 small: [FILE, …] (kept in git, not in LFS), gated, private, tokens: [TOKEN, …] } }
  static async start(repositories) {
    const hub = new Hub();
    hub.repositories = repositories;
    hub.requests = []; // { place: 'hub' | 'store', method, path, range, token, status, sent }
    hub.faults = [];   // taken one by one by the requests for content: see `fault`
    hub.front = http.createServer((q, r) => hub.#log('hub', q, r, () => hub.#answer(q, r)));
    hub.store = http.createServer((q, r) => hub.#log('store', q, r, () => hub.#content(q, r)));
    for (const server of [hub.front, hub.store]) {
      await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    }
    hub.url = `http://127.0.0.1:${hub.front.address().port}`;
    hub.storeUrl = `http://127.0.0.1:${hub.store.address().port}`;
    return hub;
  }

  async stop() {
    for (const server of [this.front, this.store]) {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    }
  }

  // The next requests for content, in order: { cutAt: N } closes after byte N of the file, { stallAt: N } says nothing
  // more after it, { status, headers } refuses, { wrong: true } sends other bytes, { whole: true } ignores the range,
  // { more: N } sends so many bytes too many, { skip: N } sends a range that begins N bytes later, { rest } sends the
  // second half when that promise is kept, {} is no fault. `where`: 'hub' for the next questions to the hub itself.
  fault(...faults) { this.faults.push(...faults); }

  // Of the next content the first half, and the other one when what this gives is called.
  hold() {
    let release;
    this.fault({ rest: new Promise((resolve) => { release = resolve; }) });
    return release;
  }

  sent() { return this.requests.reduce((sum, q) => sum + q.sent, 0); }
  content() { return this.requests.filter((q) => q.place === 'store' && q.method === 'GET'); }
  forget() { this.requests.length = 0; this.faults.length = 0; }

  #log(place, q, r, answer) {
    const entry = { place, method: q.method, path: q.url, range: q.headers.range ?? null,
      token: q.headers.authorization?.replace(/^Bearer /, '') ?? null, agent: q.headers['user-agent'], sent: 0 };
    this.requests.push(entry);
    r.entry = entry;
    r.on('close', () => { entry.status = r.statusCode; });
    answer();
  }

  #refuse(r, status, code, message, headers = {}) {
    const body = JSON.stringify({ error: message });
    r.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body),
      ...(code ? { 'X-Error-Code': code } : {}), 'X-Error-Message': message, ...headers });
    r.end(r.req.method === 'HEAD' ? undefined : body);
  }

  #takeFault(where) {
    const first = this.faults[0];
    return first !== undefined && (first.where ?? 'store') === where ? this.faults.shift() : {};
  }

  // ---- the hub's own place ---------------------------------------------------------------------------------------

  #answer(q, r) {
    const path = decodeURI(q.url.split('?')[0]);
    const fault = this.#takeFault('hub');
    if (fault.status) return this.#refuse(r, fault.status, null, 'on purpose', fault.headers);
    if (fault.body !== undefined) return r.end(fault.body);
    const api = /^\/api\/models\/([^/]+\/[^/]+)(?:\/(revision|tree)\/([^/]+))?(\/.*)?$/.exec(q.url.split('?')[0]);
    if (api) return this.#api(r, api[1], api[2] ?? 'revision', decodeURIComponent(api[3] ?? 'main'), q.url);
    const file = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(q.url.split('?')[0]);
    if (file) return this.#resolve(r, file[1], decodeURIComponent(file[2]), decodeURIComponent(file[3]));
    const kept = /^\/api\/resolve-cache\/models\/([^/]+\/[^/]+)\/([^/]+)\/(.+)$/.exec(path);
    if (kept) return this.#small(r, kept[1], kept[2], kept[3]);
    return this.#refuse(r, 404, null, 'Sorry, we can\'t find the page you are looking for.');
  }

  // The repository, when the request may see it (and, for content, has access to a gated one).
  #admit(r, name, forContent) {
    const token = r.entry.token;
    const repository = this.repositories[name];
    if (token !== null && !Object.values(this.repositories).some((x) => x.tokens?.includes(token)) &&
        token !== 'hf_stranger') {
      this.#refuse(r, 401, null, 'Invalid credentials in Authorization header');
      return null;
    }
    const known = repository?.tokens?.includes(token) ?? false;
    if (repository === undefined || (repository.private && !known)) {
      // Who is not logged in is not told whether the repository exists.
      if (token === null) this.#refuse(r, 401, forContent ? 'RepoNotFound' : null, 'Invalid username or password.');
      else this.#refuse(r, 404, 'RepoNotFound', 'Repository not found');
      return null;
    }
    if (forContent && repository.gated && !known) {
      this.#refuse(r, token === null ? 401 : 403, 'GatedRepo',
        `Access to model ${name} is restricted and you are not in the authorized list.`);
      return null;
    }
    return repository;
  }

  #commit(r, repository, revision) {
    const commit = repository.revisions[revision] ?? (repository.commits[revision] ? revision : undefined);
    if (commit === undefined) this.#refuse(r, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
    return commit;
  }

  #api(r, name, kind, revision, url) {
    const repository = this.#admit(r, name, false);
    const commit = repository && this.#commit(r, repository, revision);
    if (!commit) return;
    const blobs = url.includes('blobs=');
    const files = Object.entries(repository.commits[commit]).map(([file, data]) => {
      const lfs = repository.small?.includes(file) ? {} :
        { lfs: { sha256: sha256(data), oid: sha256(data), size: data.length, pointerSize: 134 } };
      return kind === 'tree' ? { type: 'file', path: file, size: data.length, oid: gitSha1(data), ...lfs } :
        { rfilename: file, ...(blobs ? { size: data.length, blobId: gitSha1(data), ...lfs } : {}) };
    });
    const body = JSON.stringify(kind === 'tree' ? files :
      { id: name, modelId: name, sha: commit, private: repository.private ?? false, gated: repository.gated ?? false,
        tags: ['gguf'], downloads: 0, likes: 0, siblings: [...(repository.extra ?? []), ...files] });
    r.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) });
    r.end(body);
  }

  #resolve(r, name, revision, file) {
    const repository = this.#admit(r, name, true);
    const commit = repository && this.#commit(r, repository, revision);
    if (!commit) return;
    const data = repository.commits[commit][file];
    const common = { 'X-Repo-Commit': commit, 'Accept-Ranges': 'bytes' };
    if (data === undefined) return this.#refuse(r, 404, 'EntryNotFound', 'Entry not found', common);
    if (repository.small?.includes(file)) {
      r.writeHead(307, { ...common, Location: `/api/resolve-cache/models/${name}/${commit}/${encodeURIComponent(file)}`,
        'X-Linked-Size': data.length, 'X-Linked-Etag': `"${gitSha1(data)}"`, 'Content-Length': 0 });
      return r.end();
    }
    // The address is signed for a while; nothing else says who may have the content.
    r.writeHead(302, { ...common, 'X-Linked-Size': data.length, 'X-Linked-Etag': `"${repository.etag ?? sha256(data)}"`,
      ETag: `"${sha256(data)}"`, Location: `${this.storeUrl}/${sha256(data)}?Expires=1&Signature=secret`,
      'Content-Length': 0 });
    return r.end();
  }

  #small(r, name, commit, file) {
    const data = this.repositories[name].commits[commit][decodeURIComponent(file)];
    r.writeHead(200, { 'X-Repo-Commit': commit, ETag: `"${gitSha1(data)}"`, 'Content-Length': data.length });
    if (r.req.method === 'HEAD') return r.end();
    r.entry.sent += data.length;
    return r.end(data);
  }

  // ---- where large files are -------------------------------------------------------------------------------------

  #find(hash) {
    for (const repository of Object.values(this.repositories)) {
      for (const files of Object.values(repository.commits)) {
        for (const data of Object.values(files)) if (sha256(data) === hash) return data;
      }
    }
    return undefined;
  }

  #content(q, r) {
    const fault = this.#takeFault('store');
    let data = this.#find(q.url.slice(1).split('?')[0]);
    if (fault.status) return this.#refuse(r, fault.status, null, 'on purpose', fault.headers);
    if (data === undefined) return this.#refuse(r, 404, null, 'no such content');
    if (fault.wrong) data = Buffer.from(data).fill(0x55, data.length - 1);
    const range = /^bytes=(\d+)-$/.exec(q.headers.range ?? '');
    const from = range && !fault.whole ? Number(range[1]) + (fault.skip ?? 0) : 0;
    if (from > 0 && from >= data.length) return this.#refuse(r, 416, null, 'range');
    const body = Buffer.concat([data.subarray(from), Buffer.alloc(fault.more ?? 0)]);
    r.writeHead(range && !fault.whole ? 206 : 200, { 'Accept-Ranges': 'bytes',
      ...(fault.chunked ? {} : { 'Content-Length': body.length }),
      ...(range && !fault.whole ? { 'Content-Range': `bytes ${from}-${data.length - 1}/${data.length}` } : {}) });
    if (q.method === 'HEAD') return r.end();
    const stop = fault.cutAt ?? fault.stallAt;
    const piece = stop === undefined ? body : body.subarray(0, Math.max(0, stop - from));
    r.entry.sent += piece.length;
    if (fault.rest) return this.#inHalves(r, piece, fault.rest);
    if (stop === undefined) return r.end(piece);
    r.write(piece, () => { if (fault.cutAt !== undefined) setTimeout(() => r.socket?.destroy(), 20); });
    return undefined;
  }

  async #inHalves(r, data, rest) {
    r.write(data.subarray(0, data.length >> 1));
    await rest;
    r.end(data.subarray(data.length >> 1));
  }
}
