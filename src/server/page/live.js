// live.js: what the server does now, from /metrics once a second while somebody looks.

import {get} from '/page/api.js';
import {bar, bytes, element, find} from '/page/dom.js';

const KEPT = 60; // points of the plot, one a second
const history = [];
let before = null;
let failed = false;

// name{labels} value lines; labels as an object.
function parse(text) {
  const samples = [];
  for (const line of text.split('\n')) {
    const match = /^([\w:]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (match === null) continue;
    const labels = {};
    for (const [, name, value] of (match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[name] = value.replace(/\\(.)/g, '$1');
    samples.push({name: match[1], labels, value: Number(match[3])});
  }
  return samples;
}

function reading(samples) {
  const of = (name, labels = {}) => samples.filter((s) => s.name === name && Object.entries(labels).every(([k, v]) => s.labels[k] === v));
  const sum = (name, labels) => of(name, labels).reduce((total, s) => total + s.value, 0);
  const models = [...new Set(of('a_io_generated_tokens_total').map((s) => s.labels.model))];
  return {at: performance.now(), of, sum, models};
}

// What the whole machine does a second, from two readings.
function rates(now, last) {
  const seconds = (now.at - last.at) / 1000;
  const rate = (name) => Math.max(0, now.sum(name) - last.sum(name)) / seconds;
  return {tokens: rate('a_io_generated_tokens_total'), read: rate('a_io_read_bytes_total')};
}

function plot(values) {
  const most = Math.max(1, ...values);
  const points = values.map((value, i) => `${((i + KEPT - values.length) / (KEPT - 1) * 100).toFixed(2)},${(38 - value / most * 36).toFixed(2)}`);
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  svg.setAttribute('viewBox', '0 0 100 40');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', `Tokens a second over the last minute, at most ${most.toFixed(0)}`);
  path.setAttribute('d', `M${points.join('L')}`);
  svg.append(path);
  return svg;
}

const number = (text) => element('td', {class: 'number'}, text);
const head = (...names) => element('tr', {}, names.map((name, i) => element('th', i > 0 ? {class: 'number', scope: 'col'} : {scope: 'col'}, name)));

function modelsTable(now) {
  return element('table', {}, head('model', 'running', 'waiting', 'KV', 'tokens'),
    now.models.map((model) => {
      const limit = now.sum('a_io_kv_limit_bytes', {model});
      const kv = now.sum('a_io_kv_bytes', {model});
      return element('tr', {}, element('td', {}, model), number(String(now.sum('a_io_sequences', {model, state: 'running'}))),
        number(String(now.sum('a_io_sequences', {model, state: 'waiting'}) + now.sum('a_io_sequences', {model, state: 'parked'}))),
        number(limit > 0 ? `${(100 * kv / limit).toFixed(0)} %` : bytes(kv)), number(String(now.sum('a_io_generated_tokens_total', {model}))));
    }));
}

function decisionsTable(now) {
  const decisions = now.of('a_io_decisions_total').sort((a, b) => b.value - a.value);
  const total = decisions.reduce((sum, d) => sum + d.value, 0);
  if (total === 0) return element('p', {class: 'note'}, 'None yet.');
  return element('table', {}, head('rule', 'model', ''), decisions.slice(0, 12).map((d) =>
    element('tr', {}, element('td', {}, d.labels.rule), number(d.labels.model),
      element('td', {class: 'number'}, bar(d.value / total, d.labels.rule), String(d.value)))));
}

async function recentTable() {
  const {data} = await get('/v1/decisions');
  if (data.length === 0) return element('p', {class: 'note'}, 'None yet.');
  return element('table', {}, head('', 'model', 'tokens', 'took'), data.slice(0, 12).map((d) =>
    element('tr', {title: d.id}, element('td', {}, [d.status === 200 ? d.rule ?? '' : String(d.status), d.intent && d.intent !== d.rule ? ` (${d.intent})` : '']), number(d.model ?? ''),
      number(d.reply_tokens === null ? '' : String(d.reply_tokens)), number(`${(d.total_ms / 1000).toPrecision(2)} s`))));
}

async function draw(panel, now) {
  const latest = history[history.length - 1] ?? {tokens: 0, read: 0};
  const peak = now.sum('a_io_read_peak_bytes_per_second');
  const recent = await recentTable();
  panel.replaceChildren(
    element('h2', {}, 'Throughput'), plot(history.map((point) => point.tokens)),
    element('p', {}, `${latest.tokens.toFixed(0)} tokens/s, ${Math.max(latest.tokens, ...history.map((point) => point.tokens)).toFixed(0)} at most here; ${bytes(latest.read)}/s read`,
      ...(peak > 0 ? [element('br'), bar(latest.read / peak, 'share of the read peak', 'share'), `${(100 * latest.read / peak).toFixed(0)} % of the read peak`] : [])),
    element('h2', {}, 'Models'), modelsTable(now),
    element('h2', {}, 'Decisions'), decisionsTable(now),
    element('h2', {}, 'Recent requests'), recent);
}

function tick(now) {
  const running = now.sum('a_io_requests_running');
  const latest = history[history.length - 1];
  find('ticker').textContent = latest ? `${latest.tokens.toFixed(0)} tokens/s · ${running} running` : '';
}

async function look() {
  if (document.hidden) return;
  try {
    const now = reading(parse(await get('/metrics')));
    if (before !== null) history.push(rates(now, before));
    if (history.length > KEPT) history.shift();
    before = now;
    tick(now);
    const panel = find('live');
    if (!panel.hidden) await draw(panel, now);
    failed = false;
  } catch (error) {
    if (!failed) find('ticker').textContent = `The server does not answer (${error.message}).`;
    failed = true;
    before = null;
  }
}

export function watch() {
  look();
  setInterval(look, 1000);
}

export { look };
