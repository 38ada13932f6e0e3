// `a-io label`: both models' answers, graded; and going on after it was killed.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { mixedPrompts, program, root, run, temporaryFolder, until } from './helper.mjs';

const lines = (file) => fs.readFileSync(file, 'utf8').trim().split('\n').map(JSON.parse);

function label(requests, output, ...args) {
  const result = run(['label', '-o', output, requests, ...args], { timeout: 600000 });
  assert.equal(result.status, 0, result.stderr);
  return result.stdout;
}

test('answers, grades and figures; the same whatever the streams; read again by replay', (t) => {
  const folder = temporaryFolder(t);
  const requests = path.join(folder, 'requests.jsonl'), output = path.join(folder, 'out.jsonl');
  const given = lines(path.join(root, 'models/demo/requests.jsonl')).filter((r) => r.task !== 'long').slice(0, 8);
  const long = lines(path.join(root, 'models/demo/requests.jsonl')).find((r) => r.task === 'long');
  given.push(long, { intent: 'qa', prompt: mixedPrompts[0], max_tokens: 3 });
  fs.writeFileSync(requests, given.map((r) => `${JSON.stringify(r)}\n`).join(''));
  const figures = JSON.parse(label(requests, output, '--json')).kinds;
  const made = lines(output);
  assert.equal(made.length, given.length);
  made.forEach((line, i) => {
    assert.deepEqual(line.messages, [{ role: 'user', content: given[i].prompt }]);
    assert.deepEqual(line.check, given[i].check);
    assert.equal(line.intent, given[i].intent);
    assert.equal(typeof line.large.answer, 'string');
  });
  // What answers are worth, by hand.
  for (const line of made.filter((l) => l.task === 'math'))
    for (const side of [line.small, line.large])
      assert.equal(side.right, side.answer.match(/-?\d+/g)?.at(-1) === line.check.value, side.answer);
  const tooLong = made.at(-2), unchecked = made.at(-1);
  assert.equal(tooLong.small.right, false);
  assert.match(tooLong.small.error, /too long/);
  assert.equal(tooLong.small.answer, undefined);
  assert.equal(unchecked.small.right, null);
  assert.equal(unchecked.small.finish, 'length');
  assert.equal(unchecked.small.tokens, 3);
  assert.equal(typeof unchecked.agree, 'boolean');
  assert.ok(made.slice(0, -1).every((l) => !('agree' in l)));
  const all = figures.at(-1);
  assert.equal(all.kind, 'all');
  assert.equal(all.graded, given.length - 1);
  const right = made.filter((l) => l.large.right).length;
  assert.ok(Math.abs(all.large.right - (100 * right) / all.graded) < 1e-6);
  assert.ok(all.large.low < all.large.right && all.large.right <= all.large.high);
  // One at a time, from what was labelled.
  const again = path.join(folder, 'again.jsonl');
  label(output, again, '--streams', '1', '--read');
  for (const line of lines(again)) {
    if (!line.small.answer) {
      assert.equal(line.reading, null);
      continue;
    }
    assert.ok(line.reading.tokens > 0 && line.reading.least <= line.reading.mean && line.reading.mean <= 0);
    // What both came to by themselves is what the large model finds most probable.
    if (line.small.answer === line.large.answer) assert.ok(line.reading.mean > -0.7, line.small.answer);
  }
  assert.ok(made.every((l) => !('reading' in l)));
  assert.deepEqual(lines(again).map((l) => [l.small, l.large]), made.map((l) => [l.small, l.large]));
  label(output, again, '--only', 'small');
  assert.deepEqual(lines(again).map((l) => l.small), made.map((l) => l.small));
  assert.ok(lines(again).every((l) => !('large' in l || 'agree' in l)));
  // Answers that are there already are graded, and nobody is asked.
  const known = path.join(folder, 'known.jsonl'), math = made.find((l) => l.task === 'math');
  const said = { answer: `It is ${math.check.value}.`, tokens: 7, prompt_tokens: 5 };
  fs.writeFileSync(known, `${JSON.stringify({ id: math.id, small: said, large: { right: true } })}\n`);
  label(output, again, '--answers', known);
  const graded = lines(again);
  assert.deepEqual(graded.find((l) => l.id === math.id).small, { ...said, right: true, finish: 'stop' });
  assert.deepEqual(graded.find((l) => l.id === math.id).large, math.large);
  assert.deepEqual(graded.filter((l) => l.id !== math.id).map((l) => l.small), made.filter((l) => l.id !== math.id).map((l) => l.small));
  const replayed = run(['replay', output, '--policies', 'large', '--json'], { timeout: 600000 });
  assert.equal(replayed.status, 0, replayed.stderr);
  assert.deepEqual(JSON.parse(replayed.stdout).runs[0].items.map((i) => i.right), made.map((l) => l.large.right));
});

test('killed and started again, it goes on; another run is refused', async (t) => {
  const folder = temporaryFolder(t);
  const output = path.join(folder, 'out.jsonl'), journal = `${output}.partial`;
  const requests = path.join(root, 'models/demo/requests.jsonl');
  const kept = () => (fs.existsSync(journal) ? fs.readFileSync(journal, 'utf8').split('\n').length - 2 : 0);
  const child = spawn(program, ['label', '-o', output, requests, '--streams', '2', '--temperature', '0.7']);
  const ended = new Promise((resolve) => { child.on('exit', resolve); });
  await until('five answers', () => kept() >= 5, 60000);
  child.kill('SIGKILL');
  await ended;
  const before = kept();
  assert.ok(before >= 5 && before < 40 && !fs.existsSync(output));
  const other = run(['label', '-o', output, requests, '-n', '9']);
  assert.equal(other.status, 2);
  assert.match(other.stderr, /another/);
  fs.appendFileSync(journal, '{"large/3": {"answer"'); // the machine went down while it wrote
  // What is there is not asked again: a mark in an answer stays.
  const text = fs.readFileSync(journal, 'utf8').split('\n');
  const mark = JSON.parse(text[1]);
  mark[Object.keys(mark)[0]].answer = 'marked';
  text[1] = JSON.stringify(mark);
  fs.writeFileSync(journal, text.join('\n'));
  label(requests, output, '--temperature', '0.7'); // which no float is
  const answers = lines(output).flatMap((l) => [l.small.answer, l.large.answer]);
  assert.equal(answers.filter((a) => a === 'marked').length, 1);
  assert.ok(!fs.existsSync(journal));
});

test('what it refuses', (t) => {
  const folder = temporaryFolder(t);
  const requests = path.join(root, 'models/demo/requests.jsonl');
  const refused = (status, pattern, ...args) => {
    const result = run(['label', ...args]);
    assert.equal(result.status, status, result.stderr);
    assert.match(result.stderr, pattern);
  };
  refused(2, /-o FILE/, requests);
  refused(2, /one file/, '-o', path.join(folder, 'a'));
  refused(2, /not asked/, '-o', path.join(folder, 'a'), '--only', 'large', '--read', requests);
  refused(2, /neither/, '-o', path.join(folder, 'a'), '--only', 'both', requests);
  refused(2, /--streams/, '-o', path.join(folder, 'a'), '--streams', '0', requests);
  const answers = path.join(folder, 'answers');
  for (const [text, pattern] of [['{"small": {}}', /answers, line 1: "id" is needed/], ['{"id": "a", "large": {"answer": "b"}}', /"tokens"/]]) {
    fs.writeFileSync(answers, text);
    refused(2, pattern, '-o', path.join(folder, 'a'), '--answers', answers, requests);
  }
  refused(3, /nowhere/, '-o', path.join(folder, 'a'), path.join(folder, 'nowhere'));
  fs.mkdirSync(path.join(folder, 'a.partial'));
  refused(2, /not a regular file/, '-o', path.join(folder, 'a'), requests);
});
