// The cases: the filter, and a row for each operator, provider and device that opens into its cases.

const fields = { category: byId('f-category'), status: byId('f-status'), provider: byId('f-provider'), device: byId('f-device') };
const own = {
  category: (one) => one.case.category,
  status: (one) => one.status,
  provider: (one) => one.case.provider,
  device: (one) => data.devices[one.device].key,
};
const opened = new Set();
const shut = new Set();
let matching = records;
const listeners = [];

/** Calls back with the records that the filter leaves, now and when it changes. */
function onFilter(listener) { listeners.push(listener); }

function filtered() {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  return records.filter((one) =>
    Object.entries(own).every(([name, get]) => !state[name] || get(one) === state[name])
    && words.every((word) => one.words.includes(word)));
}

function fillSelects() {
  for (const [name, select] of Object.entries(fields)) {
    const found = counted(records.map(own[name]));
    if (name !== 'device') found.sort((a, b) => collator.compare(a[0], b[0]));
    const options = found.map(([value, count]) => el('option', { value }, `${titleOf(name, value)} (${count.toLocaleString('en-US')})`));
    select.replaceChildren(el('option', { value: '' }, 'all'), ...options);
    // What an old address names may be gone.
    if (!found.some(([value]) => value === state[name])) state[name] = '';
    select.value = state[name];
    select.addEventListener('change', () => changed({ [name]: select.value }));
  }
  byId('l-device').hidden = !several;
  const box = byId('f-text');
  box.value = state.q;
  box.addEventListener('input', () => changed({ q: box.value.trim() }));
  byId('filters').addEventListener('submit', (event) => event.preventDefault());
  byId('filters').addEventListener('reset', () => setTimeout(() => {
    box.value = '';
    for (const select of Object.values(fields)) select.value = '';
    changed({ q: '', category: '', status: '', provider: '', device: '' });
  }));
}

function titleOf(name, value) {
  if (name !== 'device') return value.replace(/_/g, ' ');
  const device = data.devices.find((one) => one.key === value);
  return device.title === value ? value : `${value}: ${device.title}`;
}

function changed(changes) {
  keepState(changes);
  matching = filtered();
  byId('count').textContent = matching.length === records.length
    ? plural(records.length, 'case')
    : `${matching.length.toLocaleString('en-US')} of ${plural(records.length, 'case')}`;
  for (const listener of listeners) listener(matching);
}

// -- operators ----------------------------------------------------------------------------------------------------------------

function grouped(found) {
  const groups = new Map();
  for (const one of found) {
    const key = `${one.case.operator}|${one.case.provider}|${data.devices[one.device].key}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(one);
  }
  return [...groups].map(([key, members]) => summed(key, members));
}

const totals = new Map(grouped(records).map((one) => [one.key, one.members.length]));

function summed(key, members) {
  const counts = members.filter((one) => one.counts);
  const worst = counts.reduce((least, one) => (least && least.efficiency <= one.efficiency ? least : one), null);
  const of = (standing) => members.filter((one) => one.standing === standing).length;
  const first = members[0].case;
  return {
    key, members, worst, operator: first.operator, provider: first.provider, category: first.category,
    device: data.devices[members[0].device].key,
    importance: members.map((one) => one.importance).find(known) ?? null,
    passing: of('passing'), failing: of('failing'), silent: of('not timed'),
    median: median(counts.map((one) => one.efficiency)),
    least: worst ? worst.efficiency : null,
    regimes: counted(members.map((one) => one.regime).filter(Boolean)),
  };
}

const groupColumns = [
  { key: 'operator', title: 'Operator', kind: 'text', value: (row) => row.operator, cell: opener },
  { key: 'provider', title: 'Provider', kind: 'text', value: (row) => row.provider, cell: (row) => row.provider },
  several ? { key: 'device', title: 'Device', kind: 'text', value: (row) => row.device, cell: (row) => row.device } : null,
  { key: 'category', title: 'Category', kind: 'text', value: (row) => row.category, cell: (row) => row.category.replace(/_/g, ' '), class: 'keep' },
  { key: 'importance', title: 'Importance', kind: 'number', hint: 'share of the operator in production, as published', value: (row) => row.importance, cell: (row) => (known(row.importance) ? share(row.importance) : NONE) },
  { key: 'cases', title: 'Cases', kind: 'number', value: (row) => row.members.length, cell: (row) => (row.members.length === totals.get(row.key) ? `${row.members.length}` : `${row.members.length} of ${totals.get(row.key)}`) },
  { key: 'pass', title: 'Pass', kind: 'number', value: (row) => row.passing, cell: (row) => `${row.passing}` },
  { key: 'fail', title: 'Fail', kind: 'number', value: (row) => row.failing, cell: (row) => (row.failing ? el('b', { class: 'bad' }, `✗ ${row.failing}`) : '0') },
  { key: 'skip', title: 'Skip', kind: 'number', hint: 'skipped: says nothing of the kernel', value: (row) => row.silent, cell: (row) => `${row.silent}` },
  { key: 'median', title: 'Median efficiency', kind: 'number', hint: 'of the cases that passed from a cold cache', value: (row) => row.median, cell: (row) => bar(row.median) },
  { key: 'worst', title: 'Worst', kind: 'number', value: (row) => row.least, cell: (row) => bar(row.least) },
  { key: 'time', title: 'T of worst, µs', kind: 'number', value: (row) => row.worst?.seconds, cell: (row) => micro(row.worst?.seconds) },
  { key: 'sol', title: 'T_SOL of worst, µs', kind: 'number', value: (row) => row.worst?.t_sol, cell: (row) => micro(row.worst?.t_sol) },
  { key: 'regime', title: 'Bound by', kind: 'text', hint: 'what binds T_SOL, and of how many cases', value: (row) => row.regimes[0]?.[0], cell: (row) => row.regimes.map(([name, count]) => `${name} ${count}`).join(', ') || NONE, class: 'soft' },
].filter(Boolean);

const panelId = (key) => `cases-of-${[...totals.keys()].indexOf(key)}`;

function opener(row) {
  const button = el('button', { type: 'button', class: 'opener', 'aria-expanded': 'false', 'aria-controls': panelId(row.key), 'data-focus': row.key },
    el('span', { class: 'twist', 'aria-hidden': 'true' }, '▸'), row.operator);
  button.addEventListener('click', () => {
    const open = button.getAttribute('aria-expanded') !== 'true';
    (open ? opened : shut).add(row.key);
    (open ? shut : opened).delete(row.key);
    keepState({ open: [...opened].join('\n') });
    button.dispatchEvent(new CustomEvent('turn', { detail: open }));
  });
  return button;
}

/** The row of an operator and, behind it, the row that holds its cases: built when it is first opened. */
function withPanel(row, made) {
  const button = made.querySelector('button');
  const place = el('div', { class: 'panel' });
  const panel = el('tr', { class: 'detail', id: panelId(row.key), hidden: true }, el('td', { colspan: operators.width }, place));
  const turn = (open) => {
    button.setAttribute('aria-expanded', `${open}`);
    panel.hidden = !open;
    if (open && !place.firstChild) place.append(casesTable(row));
  };
  button.addEventListener('turn', (event) => turn(event.detail));
  made.classList.toggle('failed', row.failing > 0);
  // What the filter leaves alone is what was looked for.
  const alone = row.alone && !shut.has(row.key);
  if (opened.has(row.key) || alone) turn(true);
  return [made, panel];
}

const operators = sortable(groupColumns, [], {
  caption: 'Operators by provider', class: 'groups', order: state.sort, row: withPanel,
  onSort: (order) => keepState({ sort: order }),
});

onFilter((found) => {
  const groups = grouped(found);
  groups.forEach((row) => { row.alone = groups.length === 1; });
  operators.show(groups);
  if (!groups.length) operators.table.tBodies[0].append(el('tr', {}, el('td', { colspan: operators.width, class: 'more' }, records.length ? 'No case matches this filter.' : 'There is no case here.')));
});

function turnAll(open) {
  opened.clear();
  shut.clear();
  for (const one of grouped(matching)) (open ? opened : shut).add(one.key);
  keepState({ open: '' });
  for (const listener of listeners.slice(0, 1)) listener(matching);
}

// -- one operator's cases -------------------------------------------------------------------------------------------------------

const caseColumns = [
  { key: 'case', title: 'Case', kind: 'text', value: (one) => one.case.label, cell: (one) => el('span', { id: `record-${one.id}` }, one.case.label || NONE), class: 'label' },
  { key: 'status', title: 'Status', kind: 'text', value: (one) => one.status, cell: statusOf },
  { key: 'time', title: 'T,\u00a0µs', kind: 'number', value: (one) => one.seconds, cell: (one) => micro(one.seconds) },
  { key: 'interval', title: '95 % interval', kind: 'number', hint: 'sorted by its width', value: (one) => (known(one.low) ? (one.high - one.low) / one.seconds : null), cell: interval, class: 'soft' },
  { key: 'sol', title: 'T_SOL,\u00a0µs', kind: 'number', value: (one) => one.t_sol, cell: (one) => micro(one.t_sol) },
  { key: 'efficiency', title: 'Efficiency', kind: 'number', hint: 'T_SOL / T; hatched where it may not be compared', value: (one) => one.efficiency, cell: (one) => bar(one.efficiency, one.counts) },
  { key: 'compute', title: 'Peak compute', kind: 'number', value: (one) => one.compute, cell: (one) => share(one.compute) },
  { key: 'bandwidth', title: 'Peak bandwidth', kind: 'number', value: (one) => one.bandwidth, cell: (one) => share(one.bandwidth) },
  { key: 'flops', title: 'GFLOP/s', kind: 'number', value: (one) => one.flops, cell: (one) => giga(one.flops) },
  { key: 'bytes', title: 'GB/s', kind: 'number', value: (one) => one.bytes, cell: (one) => giga(one.bytes) },
  { key: 'intensity', title: 'FLOP/B', kind: 'number', hint: 'arithmetic intensity', value: (one) => one.intensity, cell: (one) => number(one.intensity) },
  { key: 'regime', title: 'Bound by', kind: 'text', hint: 'what binds T_SOL, and which unit where it is compute', value: boundBy, cell: (one) => boundBy(one) || NONE },
  { key: 'mode', title: 'Clock', kind: 'text', value: (one) => one.mode, cell: (one) => one.mode || NONE, class: 'keep' },
  { key: 'reason', title: 'Reason and notes', kind: 'text', value: (one) => one.reason || one.notes[0], cell: reasonOf, class: 'why' },
  { key: 'versions', title: 'Versions', kind: 'text', value: (one) => one.versions, cell: (one) => one.versions || NONE, class: 'keep' },
  { key: 'where', title: 'Where', kind: 'text', value: (one) => one.where, cell: (one) => el('span', {}, one.where || NONE, el('div', { class: 'soft' }, one.run)), class: 'keep' },
];

function boundBy(one) {
  return one.regime === 'compute' && one.unit ? `compute, ${one.unit}` : one.regime;
}

function reasonOf(one) {
  const said = [one.reason, ...one.notes].filter(Boolean);
  return said.length ? el('span', {}, ...said.map((sentence) => el('div', {}, sentence))) : NONE;
}

function casesTable(row) {
  // Where something went wrong, why it did is what is looked for.
  const why = caseColumns.find((one) => one.key === 'reason');
  const [first, second, ...others] = caseColumns.filter((one) => one !== why);
  const columns = row.members.some((one) => one.reason) ? [first, second, why, ...others] : caseColumns;
  const found = sortable(columns, row.members, { caption: `Cases of ${row.operator} by ${row.provider}`, class: 'cases' });
  found.draw();
  return found.table;
}

/** Opens the row of a record and moves there. */
function goTo(record) {
  const key = `${record.case.operator}|${record.case.provider}|${data.devices[record.device].key}`;
  const button = [...operators.table.querySelectorAll('.opener')].find((one) => one.dataset.focus === key);
  if (!button) return;
  if (button.getAttribute('aria-expanded') !== 'true') button.click();
  const row = byId(`record-${record.id}`).closest('tr');
  row.classList.add('found');
  setTimeout(() => row.classList.remove('found'), 3000);
  row.scrollIntoView({ block: 'center' });
  button.focus({ preventScroll: true });
}

function startCases() {
  for (const key of state.open.split('\n').filter(Boolean)) opened.add(key);
  byId('operators').append(operators.table);
  byId('open-all').addEventListener('click', () => turnAll(true));
  byId('close-all').addEventListener('click', () => turnAll(false));
  fillSelects();
  changed({});
}
