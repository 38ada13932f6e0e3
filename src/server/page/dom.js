// dom.js: making elements. Text is always text: nothing here or elsewhere sets innerHTML.

// element('p', {class: 'note', onclick: f}, 'text', child, …)
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export const find = (id) => document.getElementById(id);

// A share of 1 as a bar that screen readers read as a number.
export function bar(share, label, kind = '') {
  const percent = Math.max(0, Math.min(1, share)) * 100;
  const filled = element('i');
  filled.style.width = `${percent.toFixed(1)}%`;
  return element('span', {class: `bar ${kind}`, role: 'img', 'aria-label': `${label}: ${percent.toFixed(1)} %`}, filled);
}

// 0.0042 → "4.2 ms", 3.1 → "3.1 s"
export function duration(milliseconds) {
  if (milliseconds < 1) return `${milliseconds.toFixed(2)} ms`;
  if (milliseconds < 1000) return `${milliseconds.toPrecision(3)} ms`;
  return `${(milliseconds / 1000).toPrecision(3)} s`;
}

export function bytes(count) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let i = 0;
  while (count >= 1000 && i < units.length - 1) { count /= 1000; i++; }
  return `${count < 10 && i > 0 ? count.toFixed(1) : count.toFixed(0)} ${units[i]}`;
}
