// markdown.js: what models write of Markdown, as elements: headings, paragraphs, lists, tables, quotes, fenced and
// inline code, emphasis, links (http and https only; images are not fetched). Everything else stays text.

import {element} from '/page/dom.js';

const INLINE = /(`+)(.+?)\1(?!`)|\*\*(.+?)\*\*|\*(?!\s)(.+?)(?<!\s)\*|!?\[([^\]]*)\]\((https?:\/\/[^\s)]+)\)/s;

function inline(text) {
  const nodes = [];
  while (text !== '') {
    const match = INLINE.exec(text);
    if (match === null) { nodes.push(text); break; }
    if (match.index > 0) nodes.push(text.slice(0, match.index));
    if (match[1]) nodes.push(element('code', {}, match[2].trim() || match[2]));
    else if (match[3]) nodes.push(element('strong', {}, inline(match[3])));
    else if (match[4]) nodes.push(element('em', {}, inline(match[4])));
    else nodes.push(element('a', {href: match[6], rel: 'noreferrer', target: '_blank'}, match[5] || match[6]));
    text = text.slice(match.index + match[0].length);
  }
  return nodes;
}

function lines(text) {
  return text.split('\n').flatMap((line, i) => (i === 0 ? inline(line) : [element('br'), ...inline(line)]));
}

// Over plain HTTP a browser gives no clipboard; what is selected can be copied all the same.
async function copied(shown) {
  if (navigator.clipboard) return navigator.clipboard.writeText(shown.textContent).then(() => true);
  getSelection().selectAllChildren(shown);
  return document.execCommand('copy');
}

function code(text, language) {
  const shown = element('code', {}, text);
  const copy = element('button', {class: 'plain', type: 'button', onclick: async () => {
    if (await copied(shown)) copy.textContent = 'Copied';
  }}, 'Copy');
  return element('pre', language ? {'aria-label': `${language} code`, tabindex: 0} : {tabindex: 0}, copy, shown);
}

const cells = (line) => line.trim().replace(/^\||\|$/g, '').split('|').map((cell) => cell.trim());

function table(rows) {
  return element('table', {},
    element('thead', {}, element('tr', {}, cells(rows[0]).map((cell) => element('th', {}, inline(cell))))),
    element('tbody', {}, rows.slice(2).map((row) => element('tr', {}, cells(row).map((cell) => element('td', {}, inline(cell)))))));
}

const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;

// Items at one indentation; deeper ones become a list inside the item before them.
function list(items) {
  const [first] = items;
  const ordered = /\d/.test(first.mark);
  const made = element(ordered ? 'ol' : 'ul', ordered && parseInt(first.mark, 10) !== 1 ? {start: parseInt(first.mark, 10)} : {});
  for (let i = 0; i < items.length;) {
    let end = i + 1;
    while (end < items.length && items[end].indent > items[i].indent + 1) end++;
    made.append(element('li', {}, lines(items[i].text), end > i + 1 ? list(items.slice(i + 1, end)) : null));
    i = end;
  }
  return made;
}

const DEEPEST = 16; // quotes within quotes: what is deeper stays text

// Each reader takes the lines from `at` on and gives [element, next line], or null: not its kind.
const readers = [
  (all, at) => {
    const fence = /^\s*(`{3,}|~{3,})\s*([\w+#.-]*)/.exec(all[at]);
    if (fence === null) return null;
    let end = at + 1;
    while (end < all.length && !all[end].trim().startsWith(fence[1])) end++;
    return [code(all.slice(at + 1, end).join('\n'), fence[2]), end + 1];
  },
  (all, at) => {
    const heading = /^(#{1,6})\s+(.*?)\s*#*$/.exec(all[at]);
    if (heading === null) return null;
    return [element(`h${Math.min(4, heading[1].length + 1)}`, {}, inline(heading[2])), at + 1];
  },
  (all, at) => (/^\s*([-*_])(\s*\1){2,}\s*$/.test(all[at]) ? [element('hr'), at + 1] : null),
  (all, at) => {
    if (!all[at].includes('|') || !/^[\s|:-]*-[\s|:-]*$/.test(all[at + 1] ?? '') || !all[at + 1].includes('|')) return null;
    let end = at + 2;
    while (end < all.length && all[end].includes('|')) end++;
    return [table(all.slice(at, end)), end];
  },
  (all, at) => {
    if (!ITEM.test(all[at])) return null;
    const items = [];
    let end = at;
    for (; end < all.length; end++) {
      const item = ITEM.exec(all[end]);
      if (item !== null) items.push({indent: item[1].length, mark: item[2], text: item[3]});
      else if (/^\s+\S/.test(all[end])) items[items.length - 1].text += `\n${all[end].trim()}`;
      else if (all[end].trim() !== '' || !ITEM.test(all[end + 1] ?? '')) break;
    }
    return [list(items), end];
  },
  (all, at, depth) => {
    if (depth >= DEEPEST || !all[at].startsWith('>')) return null;
    let end = at;
    while (end < all.length && all[end].startsWith('>')) end++;
    return [element('blockquote', {}, markdown(all.slice(at, end).map((line) => line.replace(/^>\s?/, '')).join('\n'), depth + 1)), end];
  },
];

export function markdown(text, depth = 0) {
  const all = text.split('\n');
  const blocks = [];
  let paragraph = [];
  const flush = () => {
    if (paragraph.length > 0) blocks.push(element('p', {}, lines(paragraph.join('\n'))));
    paragraph = [];
  };
  for (let at = 0; at < all.length;) {
    const read = all[at].trim() === '' ? [null, at + 1] : readers.reduce((found, reader) => found ?? reader(all, at, depth), null);
    if (read === null) { paragraph.push(all[at++]); continue; }
    flush();
    if (read[0] !== null) blocks.push(read[0]);
    at = read[1];
  }
  flush();
  return blocks;
}
