// app.js: the page: conversations, the answer that comes, settings, keys.

import {answer, get, useKey} from '/page/api.js';
import {decision} from '/page/decision.js';
import {element, find} from '/page/dom.js';
import {look, watch} from '/page/live.js';
import {markdown} from '/page/markdown.js';
import * as store from '/page/store.js';

const EXAMPLES = ['Write a Python function that reverses the words of a sentence.', 'Anna has 12 apples and gives away a third. How many are left?', 'What is the capital of Australia?'];

let current = store.conversations[0] ?? store.begin();
let running = null; // the AbortController of the answer that comes

// ---- messages ----------------------------------------------------------------------------------

// What is no Markdown that can be drawn is still a text.
function blocksOf(text) {
  try {
    return markdown(text);
  } catch {
    return [element('p', {}, text)];
  }
}

// What stands already stays: somebody may have selected it, or be about to press its button.
function renew(place, blocks) {
  blocks.forEach((block, i) => {
    const old = place.children[i];
    if (old === undefined) place.append(block);
    else if (!old.isEqualNode(block)) old.replaceWith(block);
  });
  while (place.children.length > blocks.length) place.lastElementChild.remove();
}

// An answer's article, and what draws anew what has changed in it: what was opened stays open.
function view(message) {
  const thoughts = element('div'), text = element('div'), failed = element('p', {class: 'failed', role: 'alert'}), told = element('div');
  const thinking = element('details', {class: 'decision'}, element('summary', {}, 'Thinking'), thoughts);
  const article = element('article', {}, text, told);
  const update = () => {
    article.setAttribute('aria-label', message.plan?.model ?? 'Answer');
    if (message.reasoning && thinking.parentNode === null) article.prepend(thinking);
    renew(thoughts, blocksOf(message.reasoning ?? ''));
    renew(text, blocksOf(message.content));
    failed.textContent = message.failed ?? '';
    if (message.failed && failed.parentNode === null) told.before(failed);
    const shown = told.firstElementChild, next = decision(message);
    if (shown?.open && next !== null) next.open = true;
    renew(told, next !== null ? [next] : []);
  };
  update();
  return {article, update};
}

function draw(message) {
  return message.role === 'user' ? element('article', {class: 'user', 'aria-label': 'You'}, message.content) : view(message).article;
}

function welcome() {
  return element('div', {class: 'welcome'},
    element('p', {}, 'Each question is looked at by a small model first; a rule then says which model answers. Under each answer stands why, and what it cost.'),
    EXAMPLES.map((text) => element('button', {class: 'plain', type: 'button', onclick: () => ask(text)}, text)));
}

function drawMessages() {
  const place = find('messages');
  place.replaceChildren(...(current.messages.length > 0 ? current.messages.map(draw) : [welcome()]));
  place.scrollTop = place.scrollHeight;
}

function drawList() {
  find('conversations').replaceChildren(...store.conversations.map((one) => element('li', {},
    element('button', {type: 'button', 'aria-current': one === current ? 'true' : undefined, onclick: () => open(one)}, one.title),
    element('button', {type: 'button', class: 'delete', 'aria-label': `Delete ${one.title}`, onclick: () => drop(one)}, '✕'))));
}

function open(conversation) {
  running?.abort();
  current = conversation;
  showList(false);
  drawList();
  drawMessages();
  find('question').focus();
}

function drop(conversation) {
  store.remove(conversation);
  if (conversation === current) open(store.conversations[0] ?? store.begin());
  else drawList();
}

// ---- an answer ---------------------------------------------------------------------------------

function requestOf(conversation) {
  const {settings} = store;
  // A question that has no answer goes with it: many templates want the two to take turns.
  const all = conversation.messages, isEmpty = (m) => m?.role === 'assistant' && m.content === '';
  const messages = all.filter((m, i) => !isEmpty(m) && !(m.role === 'user' && isEmpty(all[i + 1]))).map(({role, content}) => ({role, content}));
  if (settings.system) messages.unshift({role: 'system', content: settings.system});
  const request = {model: find('model').value || settings.model, messages};
  if (settings.temperature !== '') request.temperature = Number(settings.temperature);
  if (settings.max_tokens !== '') request.max_tokens = Number(settings.max_tokens);
  if (settings.lookup !== '') request.prompt_lookup_num_tokens = Number(settings.lookup);
  return request;
}

// Drawn at most once a frame, and scrolled only for those who were at the end.
function painter(message) {
  const place = find('messages');
  const {article, update} = view(message);
  let due = false;
  place.append(article);
  return function paint(waiting = true) {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      const follows = place.scrollHeight - place.scrollTop - place.clientHeight < 80;
      update();
      article.classList.toggle('waiting', waiting && running !== null);
      if (follows) place.scrollTop = place.scrollHeight;
    });
  };
}

function take(message, event) {
  if (event.plan) message.plan = event.plan;
  if (event.reasoning) message.reasoning = (message.reasoning ?? '') + event.reasoning;
  if (event.text) message.content += event.text;
  if (event.receipt) Object.assign(message, {told: event.receipt, timings: event.timings});
  if (event.finish === 'length') message.failed = 'The limit of tokens is reached.';
}

async function ask(text) {
  if (running !== null || text.trim() === '') return;
  const conversation = current;
  if (conversation.messages.length === 0) conversation.title = text.trim().slice(0, 60);
  conversation.messages.push({role: 'user', content: text});
  const request = requestOf(conversation);
  const message = {role: 'assistant', content: ''};
  running = new AbortController();
  const {signal} = running;
  drawList();
  drawMessages();
  conversation.messages.push(message);
  setBusy(true);
  const paint = painter(message);
  paint();
  try {
    for await (const event of answer(request, signal)) {
      take(message, event);
      paint();
    }
  } catch (error) {
    message.failed = signal.aborted ? 'Stopped.' : error.message;
  }
  running = null;
  setBusy(false);
  paint(false);
  if (store.conversations.includes(conversation)) store.keep(conversation); // else it was deleted meanwhile
}

function setBusy(busy) {
  find('send').textContent = busy ? 'Stop' : 'Send';
  find('send').classList.toggle('plain', busy);
}

// ---- settings ----------------------------------------------------------------------------------

function applySettings() {
  const {theme, key} = store.settings;
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  useKey(key);
}

function showSettings() {
  const dialog = find('settings');
  const form = dialog.querySelector('form');
  for (const field of form.elements) if (field.name) field.value = store.settings[field.name] ?? '';
  dialog.returnValue = '';
  dialog.showModal();
}

function saveSettings() {
  const dialog = find('settings');
  if (dialog.returnValue !== 'save') return;
  store.keepSettings(Object.fromEntries(new FormData(dialog.querySelector('form'))));
  applySettings();
  loadModels();
}

async function loadModels() {
  const select = find('model');
  let names = ['auto'];
  try {
    names = (await get('/v1/models')).data.map((model) => model.id);
  } catch (error) {
    find('ticker').textContent = error.message;
  }
  select.replaceChildren(...names.map((name) => element('option', {value: name}, name)));
  select.value = names.includes(store.settings.model) ? store.settings.model : names[0];
}

// ---- the frame ---------------------------------------------------------------------------------

function showList(shown) {
  find('list').classList.toggle('open', shown);
  find('show-list').setAttribute('aria-expanded', String(shown));
}

function showLive(shown) {
  find('live').hidden = !shown;
  find('show-live').setAttribute('aria-expanded', String(shown));
  if (shown) look();
}

function exportAll() {
  const file = new Blob([JSON.stringify(store.all(), null, 2)], {type: 'application/json'});
  const link = element('a', {href: URL.createObjectURL(file), download: 'a-io-conversations.json'});
  link.click();
  URL.revokeObjectURL(link.href);
}

function grow() {
  const box = find('question');
  box.style.height = 'auto';
  box.style.height = `${box.scrollHeight + 2}px`;
}

function submit() {
  if (running !== null) {
    running.abort();
    return;
  }
  const box = find('question');
  const text = box.value;
  box.value = '';
  grow();
  ask(text);
}

const KEYS = {n: () => open(store.begin()), l: () => showLive(find('live').hidden), ',': showSettings};

function wire() {
  find('composer').addEventListener('submit', (event) => { event.preventDefault(); submit(); });
  find('question').addEventListener('input', grow);
  find('question').addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (running === null) submit();
  });
  find('model').addEventListener('change', (event) => store.keepSettings({model: event.target.value}));
  find('new').addEventListener('click', () => open(store.begin()));
  find('clear').addEventListener('click', () => {
    if (!confirm('Delete all conversations of this browser?')) return;
    store.removeAll();
    open(store.begin());
  });
  find('export').addEventListener('click', exportAll);
  find('show-list').addEventListener('click', () => showList(!find('list').classList.contains('open')));
  find('show-live').addEventListener('click', () => showLive(find('live').hidden));
  find('show-settings').addEventListener('click', showSettings);
  find('settings').addEventListener('close', saveSettings);
  document.addEventListener('keydown', (event) => {
    if (event.altKey && KEYS[event.key]) { event.preventDefault(); KEYS[event.key](); }
    if (event.key === 'Escape' && running !== null) running.abort();
    else if (event.key === 'Escape') { showList(false); showLive(false); }
  });
}

applySettings();
wire();
drawList();
drawMessages();
loadModels();
watch();
