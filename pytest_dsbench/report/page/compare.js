// Two runs, or two devices, case by case.

const sides = [
  ...data.devices.map((device, number) => ({
    key: `device ${device.key}`, title: `${device.key}: newest results`, group: 'Devices',
    timed: () => records.filter((one) => one.device === number && one.status === 'passed' && one.seconds).map((one) => ({ ...one, case: one.case.id })),
  })),
  ...data.sides.map((side) => ({
    key: `run ${data.devices[side.device].key} ${side.name}`, title: side.name, group: `Runs on ${data.devices[side.device].key}`,
    timed: () => rows({ case: side.case, seconds: side.seconds, low: side.low, high: side.high, efficiency: side.efficiency }),
  })),
];

/** All cases that both sides timed: by the same provider, or by the fastest where they share none. */
function compared(first, second) {
  const byCase = (found) => new Map(found.map((one) => [one.case, one]));
  const found = matched(byCase(first), byCase(second), 'provider');
  return found.pairs.length ? found : matched(fastest(first), fastest(second), 'fastest');
}

function fastest(found) {
  const best = new Map();
  for (const one of found) {
    const { shape } = cases[one.case];
    if (!best.has(shape) || one.seconds < best.get(shape).seconds) best.set(shape, one);
  }
  return best;
}

function matched(one, other, by) {
  const pairs = [...one].filter(([key]) => other.has(key)).map(([key, first]) => pair(first, other.get(key)));
  return { pairs, by, onlyFirst: one.size - pairs.length, onlySecond: other.size - pairs.length };
}

function pair(first, second) {
  const bounded = known(first.low) && known(second.low);
  const clear = bounded && (first.high < second.low || second.high < first.low);
  const ratio = second.seconds / first.seconds;
  const word = clear ? (ratio > 1 ? 'slower' : 'faster') : bounded ? 'unclear' : 'no interval';
  return { first, second, ratio, word, one: cases[first.case], other: cases[second.case] };
}

const WORDS = { slower: '▲ slower', faster: '▼ faster', unclear: '≈ intervals meet', 'no interval': '○ no interval' };

const pairColumns = [
  { key: 'operator', title: 'Operator', kind: 'text', value: (row) => row.one.operator, cell: (row) => row.one.operator },
  { key: 'case', title: 'Case', kind: 'text', value: (row) => row.one.label, cell: (row) => row.one.label, class: 'label' },
  { key: 'provider', title: 'Provider', kind: 'text', value: (row) => row.one.provider, cell: (row) => (row.one.provider === row.other.provider ? row.one.provider : `${row.one.provider} / ${row.other.provider}`) },
  { key: 'first', title: 'First T, µs', kind: 'number', value: (row) => row.first.seconds, cell: (row) => el('span', { title: interval(row.first) }, micro(row.first.seconds)) },
  { key: 'second', title: 'Second T, µs', kind: 'number', value: (row) => row.second.seconds, cell: (row) => el('span', { title: interval(row.second) }, micro(row.second.seconds)) },
  { key: 'ratio', title: 'Second / first', kind: 'number', hint: 'above 1 the second is slower', value: (row) => row.ratio, cell: ratioBar },
  { key: 'word', title: 'The second is', kind: 'text', hint: 'faster or slower where the 95 % intervals do not meet', value: (row) => row.word, cell: (row) => el('span', { class: `word ${row.word.replace(' ', '-')}` }, WORDS[row.word]) },
  { key: 'efficiencyFirst', title: 'First efficiency', kind: 'number', value: (row) => row.first.efficiency, cell: (row) => share(row.first.efficiency) },
  { key: 'efficiencySecond', title: 'Second efficiency', kind: 'number', value: (row) => row.second.efficiency, cell: (row) => share(row.second.efficiency) },
];

const ratioText = (value) => (known(value) ? value.toFixed(value < 0.0995 ? 4 : value < 9.995 ? 3 : 1) : NONE);

/** The ratio, and a bar from the middle: to the right where the second is slower; a factor of four fills its half. */
function ratioBar(row) {
  const fill = el('i', { 'aria-hidden': 'true' });
  const far = Math.min(1, Math.abs(Math.log(row.ratio)) / Math.log(4)) * 50;
  fill.style.width = `${far}%`;
  fill.style.left = `${row.ratio > 1 ? 50 : 50 - far}%`;
  return el('span', { class: `ratio ${row.word.replace(' ', '-')}` }, el('span', {}, ratioText(row.ratio)), el('span', { class: 'axis', 'aria-hidden': 'true' }, fill));
}

function startCompare() {
  const body = byId('compare-body');
  if (sides.length < 2) {
    body.append(el('p', { class: 'none' }, 'There is nothing to compare: it takes a second run, of this device or of another.'));
    return;
  }
  const usual = several ? [sides[0], sides[1]] : lastPair(sides.slice(1));
  const chosen = ['first', 'second'].map((name, i) => sides.find((one) => one.key === state[name]) || usual[i]);
  const selects = chosen.map((side) => sideSelect(side));
  const filter = el('input', { type: 'search', autocomplete: 'off', spellcheck: 'false', placeholder: 'words: operator, dimension, provider, slower' });
  const said = el('div', { id: 'compare-said', 'aria-live': 'polite' });
  const table = sortable(pairColumns, [], { caption: 'Cases of both sides', class: 'pairs', order: state.order || '-ratio', most: 200, onSort: (order) => keepState({ order }) });
  let found = null;
  const shown = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const left = found.pairs.filter((row) => {
      const all = [row.one.name, row.one.provider, row.other.provider, row.one.category, row.word].join(' ').toLowerCase();
      return words.every((word) => all.includes(word));
    });
    said.replaceChildren(...summary(found, left));
    table.show(left);
  };
  const compareNow = () => {
    const [first, second] = selects.map((select) => sides[select.selectedIndex]);
    keepState({ first: first.key, second: second.key });
    found = compared(first.timed(), second.timed());
    shown();
  };
  const swap = el('button', { type: 'button', on: { click: () => {
    [selects[0].selectedIndex, selects[1].selectedIndex] = [selects[1].selectedIndex, selects[0].selectedIndex];
    compareNow();
  } } }, '⇄ Swap');
  for (const select of selects) select.addEventListener('change', compareNow);
  filter.addEventListener('input', shown);
  body.append(
    el('form', { class: 'filters', 'aria-label': 'What to compare', on: { submit: (event) => event.preventDefault() } },
      el('label', { class: 'wide' }, 'First ', selects[0]), el('label', { class: 'wide' }, 'Second ', selects[1]), swap,
      el('label', { class: 'wide' }, 'Filter ', filter)),
    leftOut(), said,
    el('div', { class: 'scroll tall', tabindex: '0', role: 'region', 'aria-label': 'Cases of both sides' }, table.table));
  selects[0].id = 'c-first';
  selects[1].id = 'c-second';
  const before = { first: state.first, second: state.second };
  compareNow();
  // What nobody chose need not stand in the address.
  keepState(before);
}

/** The newest run and, before it, the one that shares most cases with it; of several, the last. */
function lastPair(runs) {
  const newest = runs[runs.length - 1];
  const there = new Set(newest.timed().map((one) => one.case));
  const common = (run) => run.timed().filter((one) => there.has(one.case)).length;
  const others = runs.slice(0, -1).map((run) => [common(run), run]);
  return others.length ? [others.reduce((best, one) => (one[0] >= best[0] ? one : best))[1], newest] : [sides[0], newest];
}

function sideSelect(side) {
  const groups = new Map();
  for (const one of sides) groups.set(one.group, [...(groups.get(one.group) || []), el('option', { value: one.key }, one.title)]);
  const select = el('select', {}, ...[...groups].map(([label, options]) => el('optgroup', { label }, ...options)));
  select.value = side.key;
  return select;
}

function leftOut() {
  const names = data.left_out;
  if (!names.length) return el('span', {});
  return el('details', { class: 'remarks' },
    el('summary', {}, `The oldest ${plural(names.length, 'run')} cannot be chosen here: with them the page would be larger than 5 MB`),
    el('p', { class: 'soft' }, names.slice(0, 50).join(', '), names.length > 50 ? ` and ${names.length - 50} more` : ''));
}

function summary(found, left) {
  const of = (word) => left.filter((row) => row.word === word).length;
  const part = left.length === found.pairs.length ? '' : ` of ${found.pairs.length.toLocaleString('en-US')}`;
  if (!found.pairs.length) return [el('p', { class: 'none' }, `No case was timed on both sides: ${found.onlyFirst} only in the first, ${found.onlySecond} only in the second.`)];
  const facts = [
    [ratioText(median(left.map((row) => row.ratio))), 'median ratio, second / first'],
    [`${left.length.toLocaleString('en-US')}${part}`, 'common cases'],
    [`▼ ${of('faster')}`, 'the second is faster'], [`▲ ${of('slower')}`, 'the second is slower'],
    [`≈ ${of('unclear')}`, 'unclear: the intervals meet'],
    of('no interval') ? [`○ ${of('no interval')}`, 'without an interval on one side'] : null,
    [found.onlyFirst, 'only in the first'], [found.onlySecond, 'only in the second'],
  ].filter(Boolean);
  return [
    el('dl', { class: 'figures' }, ...facts.map(([value, title]) => el('div', {}, el('dt', {}, title), el('dd', {}, `${value}`)))),
    found.by === 'fastest' ? el('p', { class: 'note' }, 'No provider ran on both sides: each case is compared by its fastest provider on each.') : '',
    el('p', { class: 'soft' }, 'Faster and slower are of times whose 95 % intervals do not meet. The gate also knows how a case scatters from night to night; this does not.'),
  ];
}
