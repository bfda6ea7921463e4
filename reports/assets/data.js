'use strict';
// The report's data, decoded, and the page's small building blocks. Text from outside enters the page as text nodes only.

const report = JSON.parse(document.getElementById('data').textContent);
const variants = [...new Set(report.runs.map((run) => run.variant))];
const PALETTE = 8;

const NAN_CODE = 65535;
const SCALE = 65000;

function decodeShares(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Uint16Array(bytes.buffer);
}

// Decoded on first use: a page with a hundred runs shows few of them at once.
function lazily(run, name, field) {
  const source = run[field];
  let values = null;
  Object.defineProperty(run, name, {
    get() {
      if (values === null) values = decodeShares(source.d);
      return values;
    },
  });
}

for (const run of report.runs) {
  lazily(run, 'frameShares', 'frames');
  lazily(run, 'layerShares', 'entropy');
}

// Share of U, or NaN.
const shareOf = (code) => (code === NAN_CODE ? NaN : code / SCALE);

function colourOf(variant) {
  return `var(--c${variants.indexOf(variant) % PALETTE})`;
}
// Beyond the palette, variants differ by their dashes.
function dashOf(variant) {
  return ['', '6 3', '2 3', '8 3 2 3'][Math.floor(variants.indexOf(variant) / PALETTE) % 4];
}

const runOf = new Map(report.runs.map((run) => [run.id, run]));

// Runs that differ in their seed only are of one group.
function axesText(run) {
  return Object.entries(run.axes).filter(([axis]) => !/(^|\.)seed$/.test(axis)).map(([axis, value]) => `${axis}=${value}`).join(' ');
}
function groupName(run) {
  const axes = axesText(run);
  return axes ? `${run.variant} ${axes}` : run.variant;
}
function groupsOf(runs) {
  const groups = new Map();
  for (const run of runs) groups.set(groupName(run), [...(groups.get(groupName(run)) ?? []), run]);
  return groups;
}

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'onclick' || name === 'oninput' || name === 'onchange') node[name] = value;
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// A variant's line as the charts draw it.
function lineKey(variant) {
  return shape('svg', {viewBox: '0 0 20 8', class: 'key', 'aria-hidden': 'true'},
               shape('line', {x1: 0, x2: 20, y1: 4, y2: 4, stroke: colourOf(variant), 'stroke-width': 3.5, 'stroke-dasharray': dashOf(variant)}));
}

const SVG = 'http://www.w3.org/2000/svg';
function shape(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== '') node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function number(value, digits = 2) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3)) return value.toExponential(1);
  return value.toFixed(digits);
}

function short(value) {
  const size = Math.abs(value);
  if (size >= 1e9) return trim(value / 1e9) + 'G';
  if (size >= 1e6) return trim(value / 1e6) + 'M';
  if (size >= 1e4) return trim(value / 1e3) + 'k';
  if (size !== 0 && size < 1e-3) return value.toExponential(0);
  return trim(value);
}
const trim = (value) => String(Number(value.toPrecision(4)));

const plural = (n, noun) => `${n} ${noun}${n === 1 ? '' : 's'}`;

function section(id, title, ...children) {
  return element('section', {id, 'aria-labelledby': `${id}-title`}, element('h2', {id: `${id}-title`}, title), ...children);
}

const note = (text) => element('p', {class: 'muted small'}, text);

function download(name, type, text) {
  const link = element('a', {href: URL.createObjectURL(new Blob([text], {type})), download: name});
  link.click();
  // A busy browser may take its time before it reads the address.
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function fileName(text) {
  return text.replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, 80);
}

// One box near the pointer that says what is under it.
const readout = document.getElementById('readout');
function showReadout(event, text) {
  readout.textContent = text;
  readout.hidden = false;
  const box = readout.getBoundingClientRect();
  const left = event.clientX + 16 + box.width > innerWidth ? event.clientX - 12 - box.width : event.clientX + 16;
  readout.style.left = `${Math.max(4, left)}px`;
  readout.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 6))}px`;
}
function hideReadout() {
  readout.hidden = true;
}

// Draws when it comes near the screen, once.
const pending = new Map();
const nearScreen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    nearScreen.unobserve(entry.target);
    const draw = pending.get(entry.target);
    pending.delete(entry.target);
    if (draw) draw();
  }
}, {rootMargin: '600px'});
function whenNear(node, draw) {
  pending.set(node, draw);
  nearScreen.observe(node);
}
// Paper has no scrolling.
addEventListener('beforeprint', () => {
  for (const [node, draw] of pending) {
    nearScreen.unobserve(node);
    draw();
  }
  pending.clear();
});
