// store.js: what this browser keeps: conversations and settings. Another page of the same origin sees them; nobody else.

const CONVERSATIONS = 'a-io.conversations';
const SETTINGS = 'a-io.settings';

function read(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export let conversations = read(CONVERSATIONS, []);
export let settings = {system: '', temperature: '', max_tokens: '', lookup: '', key: '', theme: '', model: 'auto', ...read(SETTINGS, {})};

// The oldest conversations go when the browser has no more room.
function write(list) {
  for (;;) {
    try {
      localStorage.setItem(CONVERSATIONS, JSON.stringify(list));
      return;
    } catch {
      if (list.length <= 1) return;
      list.pop();
    }
  }
}

const kept = () => read(CONVERSATIONS, []);

// Those of other tabs, too, and those that this browser has no room for.
export function all() {
  const list = kept();
  return [...conversations.filter(({id}) => !list.some((one) => one.id === id)), ...list];
}

// Another tab has conversations of its own: only the one that has changed is written.
export function keep(conversation) {
  const list = kept();
  const at = list.findIndex((one) => one.id === conversation.id);
  if (at < 0) list.unshift(conversation);
  else list[at] = conversation;
  write(list);
}

export function keepSettings(changed) {
  settings = {...settings, ...read(SETTINGS, {}), ...changed};
  try {
    localStorage.setItem(SETTINGS, JSON.stringify(settings));
  } catch { /* a browser that keeps nothing still has them until the page is closed */ }
}

// A conversation nobody has said anything in is as good as a new one.
export function begin() {
  if (conversations[0]?.messages.length === 0) return conversations[0];
  const made = {id: crypto.randomUUID?.() ?? String(Date.now()), title: 'New conversation', messages: []};
  conversations.unshift(made);
  return made;
}

export function remove(conversation) {
  conversations = conversations.filter((other) => other !== conversation);
  write(kept().filter((other) => other.id !== conversation.id));
}

export function removeAll() {
  conversations = [];
  write([]);
}
