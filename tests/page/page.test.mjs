// The page in Debian's Chromium, against the demo pair: `make test-page`.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { root, Server } from '../e2e/helper.mjs';

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((file) => fs.existsSync(file));
const shots = path.join(root, 'build/page');
let browser;
let server;

before(async () => {
  fs.mkdirSync(shots, { recursive: true });
  server = await Server.start();
  // Chromium refuses its own sandbox to root; the pages are ours.
  browser = await chromium.launch({ executablePath, args: process.getuid() === 0 ? ['--no-sandbox'] : [] });
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

// A page of its own, whose errors fail the test, and which must ask nobody but the server.
async function open(t, { viewport = { width: 1280, height: 800 }, colorScheme = 'light', url = server.url, expected = [] } = {}) {
  const context = await browser.newContext({ viewport, colorScheme });
  const page = await context.newPage();
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(String(error)));
  page.on('console', (message) => { if (message.type() === 'error') wrong.push(message.text()); });
  page.on('request', (request) => { if (!request.url().startsWith(url)) wrong.push(`asked ${request.url()}`); });
  t.after(async () => {
    await context.close();
    assert.deepEqual(wrong, expected);
  });
  await page.goto(url);
  await page.waitForFunction(() => document.querySelectorAll('#model option').length === 3);
  return page;
}

async function ask(page, text) {
  await page.fill('#question', text);
  await page.press('#question', 'Enter');
  await done(page);
}

async function done(page) {
  await page.waitForFunction(() => document.querySelector('#send').textContent === 'Send' &&
    document.querySelector('article:last-of-type .decision dl dt') !== null);
}

test('an answer comes as a stream, and its decision stands under it', async (t) => {
  const page = await open(t);
  await page.evaluate(() => {
    window.lengths = new Set();
    new MutationObserver(() => window.lengths.add(document.querySelector('article:not(.user)')?.textContent.length))
      .observe(document.querySelector('#messages'), { childList: true, subtree: true });
  });
  await ask(page, 'What is 3 plus 4?');
  assert.ok((await page.evaluate(() => window.lengths.size)) > 2, 'it did not grow piece by piece');
  const summary = await page.textContent('.decision summary');
  assert.match(summary, /^math → large/);
  assert.match(summary, /tokens\/s/);
  await page.click('.decision summary');
  assert.deepEqual(await page.$$eval('.decision dt', (list) => list.slice(0, 3).map((one) => one.textContent).sort()), ['code', 'math', 'qa']);
  const shares = await page.$$eval('.decision .bar', (bars) => bars.map((bar) => parseFloat(bar.getAttribute('aria-label').split(': ')[1])));
  assert.ok(Math.abs(shares.reduce((a, b) => a + b) - 100) < 0.2, `the probabilities are ${shares}`);
  await page.screenshot({ path: `${shots}/answer.png` });
});

test('the keyboard alone asks, opens the decision, stops, and begins anew', async (t) => {
  const page = await open(t);
  await page.keyboard.type('Write a function that adds two numbers.'); // the question has the focus
  await page.keyboard.press('Enter');
  await done(page);
  await page.focus('.decision summary');
  await page.keyboard.press('Enter');
  assert.equal(await page.$eval('.decision', (one) => one.open), true);
  await page.keyboard.press('Alt+l');
  await page.waitForSelector('#live table');
  await page.keyboard.press('Escape');
  await page.waitForSelector('#live', { state: 'hidden' });
  await page.keyboard.press('Alt+n');
  await page.waitForSelector('.welcome');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'question');
  await page.keyboard.press('Alt+,');
  await page.waitForSelector('#settings[open]');
  await page.keyboard.press('Escape');
  const reached = new Set();
  for (let i = 0; i < 20; i++) {
    await page.keyboard.press('Tab');
    reached.add(await page.evaluate(() => document.activeElement.id));
  }
  for (const id of ['new', 'export', 'question', 'model', 'send', 'show-live', 'show-settings']) assert.ok(reached.has(id), `Tab does not reach ${id}`);
});

test('what a model or a user writes never becomes markup', async (t) => {
  const page = await open(t);
  await ask(page, '<img src=x onerror="document.title=1"> What is 1 plus 1?');
  assert.equal(await page.title(), 'A-IO');
  const html = await page.evaluate(async () => {
    const { markdown } = await import('/page/markdown.js');
    const box = document.createElement('div');
    box.append(...markdown('# A <b>b</b>\n\n1. one\n   - in\n2. two *em* **bold** `x<y`\n\n```js\nlet a = "<script>";\n```\n| a | b |\n|---|---|\n| 1 | `2` |\n\n[bad](javascript:alert(1)) [good](https://example.org)\n> quoted'));
    return box.innerHTML;
  });
  assert.ok(!/<script|<b>|javascript:alert\(1\)"/.test(html), html);
  for (const part of ['<h2>A &lt;b&gt;b&lt;/b&gt;</h2>', '<ol><li>one<ul><li>in</li></ul></li>', '<em>em</em>', '<strong>bold</strong>', '<code>x&lt;y</code>',
    'let a = "&lt;script&gt;";', '<td>1</td><td><code>2</code></td>', 'href="https://example.org"', '<blockquote><p>quoted</p></blockquote>'])
    assert.ok(html.includes(part), `${part} is not in ${html}`);
});

test('conversations stay in the browser, and can be had as a file', async (t) => {
  const page = await open(t);
  await ask(page, 'What is 2 plus 2?');
  await page.click('#new');
  await page.waitForSelector('.welcome');
  await page.reload();
  await page.click('#conversations button:has-text("What is 2 plus 2?")');
  assert.equal(await page.textContent('article.user'), 'What is 2 plus 2?');
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#export')]);
  const kept = JSON.parse(fs.readFileSync(await download.path(), 'utf8'));
  assert.equal(kept.find((one) => one.title === 'What is 2 plus 2?').messages.length, 2);
});

test('settings are sent with the request', async (t) => {
  const page = await open(t);
  await page.click('#show-settings');
  await page.fill('[name=max_tokens]', '3');
  await page.fill('[name=temperature]', '0');
  await page.selectOption('[name=theme]', 'dark');
  await page.click('#settings button[value=save]');
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
  const [request] = await Promise.all([page.waitForRequest(/chat\/completions/), ask(page, 'What is 9 plus 9?')]);
  const { max_tokens, temperature, model } = request.postDataJSON();
  assert.deepEqual({ max_tokens, temperature, model }, { max_tokens: 3, temperature: 0, model: 'auto' });
  assert.match(await page.textContent('.failed'), /limit of tokens/);
});

test('the live panel tells decisions, models and recent requests', async (t) => {
  const page = await open(t);
  await ask(page, 'What is 5 plus 4?');
  await page.click('#show-live');
  await page.waitForFunction(() => document.querySelectorAll('#live table').length === 3);
  await page.screenshot({ path: `${shots}/live.png` });
  assert.match(await page.textContent('#live'), /Throughput.*tokens\/s.*Models.*small.*large.*Decisions.*math.*Recent requests/s);
});

test('an error of the server is said, and the next question works', async (t) => {
  const page = await open(t, { expected: ['Failed to load resource: net::ERR_FAILED'] });
  await page.route('**/v1/chat/completions', (route) => route.abort(), { times: 1 });
  await page.fill('#question', 'What is 1 plus 2?');
  await page.press('#question', 'Enter');
  await page.waitForSelector('.failed');
  await ask(page, 'What is 1 plus 2?');
  assert.match(await page.textContent('article:last-of-type .decision summary'), /→/);
});

test('a question without an answer is not sent again', async (t) => {
  const page = await open(t, { expected: ['Failed to load resource: net::ERR_FAILED'] });
  await page.route('**/v1/chat/completions', (route) => route.abort(), { times: 1 });
  await page.fill('#question', 'Lost.');
  await page.press('#question', 'Enter');
  await page.waitForSelector('.failed');
  const [request] = await Promise.all([page.waitForRequest(/chat\/completions/), ask(page, 'What is 1 plus 2?')]);
  assert.deepEqual(request.postDataJSON().messages, [{ role: 'user', content: 'What is 1 plus 2?' }]);
});

test('what the selector shows is what is asked, also where the model of before is gone', async (t) => {
  const page = await open(t);
  await page.evaluate(() => localStorage.setItem('a-io.settings', '{"model": "of-yesterday"}'));
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll('#model option').length === 3);
  const [request] = await Promise.all([page.waitForRequest(/chat\/completions/), ask(page, 'What is 1 plus 2?')]);
  assert.deepEqual([await page.inputValue('#model'), request.postDataJSON().model], ['auto', 'auto']);
});

test('two tabs keep each other\'s conversations', async (t) => {
  const page = await open(t), other = await page.context().newPage();
  await other.goto(server.url);
  await ask(other, 'What is 3 plus 4?');
  await ask(page, 'What is 5 plus 1?');
  await page.reload();
  const titles = await page.$$eval('#conversations [aria-current], #conversations li button:first-child', (list) => list.map((one) => one.textContent));
  for (const title of ['What is 3 plus 4?', 'What is 5 plus 1?']) assert.ok(titles.includes(title), `${titles}`);
});

test('what is opened while an answer comes stays open', async (t) => {
  const page = await open(t);
  await page.fill('#question', 'Write a Python function that reverses a list.');
  await page.press('#question', 'Enter');
  await page.waitForSelector('article:last-of-type .decision summary');
  await page.$eval('article:last-of-type .decision', (one) => { one.open = true; });
  await done(page);
  assert.equal(await page.$eval('article:last-of-type .decision', (one) => one.open), true);
});

test('quotes within quotes have an end', async (t) => {
  const page = await open(t);
  const depth = await page.evaluate(async () => {
    const { markdown } = await import('/page/markdown.js');
    const box = document.createElement('div');
    box.append(...markdown(`${'>'.repeat(20000)} deep`));
    return [box.querySelectorAll('blockquote').length, box.textContent.endsWith('> deep')];
  });
  assert.deepEqual(depth, [16, true]);
});

test('a server with a key serves the page, and the key is asked for in the settings', async (t) => {
  const guarded = await Server.start({ env: { A_IO_API_KEY: 'secret' } });
  t.after(() => guarded.stop());
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(guarded.url);
  await page.click('#show-settings');
  await page.fill('[name=key]', 'secret');
  await page.click('#settings button[value=save]');
  await page.waitForFunction(() => document.querySelectorAll('#model option').length === 3);
  await ask(page, 'What is 3 plus 3?');
});

for (const [name, options] of Object.entries({
  light: {}, dark: { colorScheme: 'dark' }, phone: { viewport: { width: 390, height: 800 } },
})) {
  test(`nothing is cut off: ${name}`, async (t) => {
    const page = await open(t, options);
    await ask(page, 'Write a Python function that reverses a list.');
    await page.click('.decision summary');
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
    assert.equal(wide, false, 'the page is wider than the window');
    for (const id of ['question', 'send', 'show-settings', 'show-live']) {
      const box = await page.locator(`#${id}`).boundingBox();
      assert.ok(box.x >= 0 && box.x + box.width <= page.viewportSize().width, `${id} stands outside`);
    }
    await page.screenshot({ path: `${shots}/${name}.png` });
  });
}
