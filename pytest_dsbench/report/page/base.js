// What all other scripts stand on: the data as objects, elements without markup from strings, numbers for people, the state.

const data = JSON.parse(document.getElementById('data').textContent);
const byId = (id) => document.getElementById(id);

/** An element; attributes by name, `on` for listeners. Strings become text, never markup. */
function el(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === 'on') for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    else if (value === true) made.setAttribute(key, '');
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Columns as rows. */
function rows(columns) {
  const names = Object.keys(columns);
  return columns[names[0]].map((_, i) => Object.fromEntries(names.map((name) => [name, columns[name][i]])));
}

const text = (number) => (number === null ? null : data.texts[number]);

const cases = rows(data.cases).map((one, id) => ({
  id, operator: text(one.operator), provider: text(one.provider), category: data.categories[one.category],
  categoryNumber: one.category, label: text(one.label), shape: one.shape,
}));
for (const one of cases) one.name = `${one.operator}[${one.label}]`;

const records = rows(data.records).map((one, id) => ({
  ...one, id, case: cases[one.case], run: text(one.run), tags: text(one.tags), where: text(one.where),
  status: data.statuses[one.status], standing: data.standings[one.standing], reason: text(one.reason),
  notes: one.notes.map(text), regime: text(one.regime), unit: text(one.unit), mode: text(one.mode),
  versions: text(one.versions), counts: one.counts === 1,
}));
for (const one of records) {
  const { operator, label, provider, category } = one.case;
  one.words = [operator, label, provider, category, one.tags, one.status, data.devices[one.device].key].filter(Boolean).join(' ').toLowerCase();
}
const several = data.devices.length > 1;

// -- numbers ------------------------------------------------------------------------------------------------------------------

const NONE = '–';
const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

/** Three significant digits without an exponent, thousands apart. */
function number(value) {
  if (!known(value)) return NONE;
  const size = Math.abs(value);
  if (value === 0 || size >= 99.95) return Math.round(value).toLocaleString('en-US');
  if (size >= 9.995) return value.toFixed(1);
  if (size >= 0.9995) return value.toFixed(2);
  return String(Number(value.toPrecision(3)));
}

const micro = (seconds) => (known(seconds) ? number(seconds * 1e6) : NONE);
const giga = (rate) => (known(rate) ? number(rate / 1e9) : NONE);

function scaled(value, unit, prefixes) {
  if (!known(value)) return NONE;
  const [scale, prefix] = prefixes.find(([size]) => Math.abs(value) >= 0.9995 * size) || prefixes[prefixes.length - 1];
  return `${number(value / scale)} ${prefix}${unit}`;
}
const seconds = (value) => scaled(value, 's', [[1, ''], [1e-3, 'm'], [1e-6, 'µ'], [1e-9, 'n']]);
const rate = (value, unit) => scaled(value, unit, [[1e15, 'P'], [1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k'], [1, '']]);

/** A share; small ones keep a second digit. */
function share(value) {
  if (!known(value)) return NONE;
  const percent = 100 * value;
  return `${Math.abs(value) >= 0.01 || value === 0 ? percent.toFixed(1) : String(Number(percent.toPrecision(2)))} %`;
}

function interval(one) {
  return known(one.low) && known(one.high) ? `${micro(one.low)} … ${micro(one.high)}` : NONE;
}

function median(values) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const plural = (count, word) => `${count.toLocaleString('en-US')} ${word}${count === 1 ? '' : 's'}`;

function counted(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

/** A share as a number with a bar behind it; what does not count is hatched. */
function bar(value, counts = true) {
  if (!known(value)) return NONE;
  const fill = el('i', { 'aria-hidden': 'true' });
  fill.style.width = `${Math.min(100, Math.max(0, 100 * value))}%`;
  return el('span', { class: `bar${counts ? '' : ' weak'}${value > 1 ? ' over' : ''}` }, el('span', {}, share(value)), el('span', { class: 'track' }, fill));
}

const SIGNS = { passing: '✓', failing: '✗', 'not timed': '○' };
function statusOf(one) {
  return el('span', { class: `status ${one.standing.replace(' ', '-')}` },
    el('span', { 'aria-hidden': 'true' }, `${SIGNS[one.standing]} `), one.status.replace(/_/g, ' '));
}

// -- state: what is shown, also in the address, so that a view can be shared ----------------------------------------------------

const state = { at: '', q: '', category: '', status: '', provider: '', device: '', sort: '', open: '', plot: '', first: '', second: '', order: '' };

function readState() {
  const given = location.hash.slice(1);
  if (given && !given.includes('=')) state.at = given;
  for (const [key, value] of new URLSearchParams(given.includes('=') ? given : '')) if (key in state) state[key] = value;
}

function keepState(changes) {
  Object.assign(state, changes);
  const kept = new URLSearchParams(Object.entries(state).filter(([, value]) => value));
  // A browser may refuse this for a file; the page works without it.
  try { history.replaceState(null, '', kept.toString() ? `#${kept}` : '#'); } catch { /* not shared, then */ }
}

readState();
