// A table that sorts by every column: by click and by keyboard, stable, what is empty always last.

/**
 * columns: {key, title, kind: 'text' | 'number', value(row), cell(row), hint}
 * options: {caption, order, onSort(order), row(row, tr) after a row is made, most}
 * order: keys by importance, "-" before those that fall, such as "-efficiency,operator"
 */
function sortable(columns, given, options = {}) {
  let order = (options.order || '').split(',').filter((key) => columns.some((one) => one.key === key.replace(/^-/, '')));
  let shown = [...given];
  let most = options.most || Infinity;
  const heads = new Map();
  const body = el('tbody');
  const head = el('tr', {}, ...columns.map((column) => {
    const button = el('button', { type: 'button', title: column.hint, on: { click: () => sortBy(column) } },
      column.title, el('span', { class: 'arrow', 'aria-hidden': 'true' }));
    const cell = el('th', { scope: 'col', class: column.kind === 'number' ? 'n' : null, 'aria-sort': 'none' }, button);
    heads.set(column.key, cell);
    return cell;
  }));
  const table = el('table', { class: options.class }, options.caption ? el('caption', { class: 'hidden' }, options.caption) : null,
    el('thead', {}, head), body);

  function sortBy(column) {
    // Numbers begin with the largest, words with A.
    const rising = column.kind !== 'number';
    const now = order[0];
    const next = now === column.key ? `-${column.key}` : now === `-${column.key}` ? column.key : rising ? column.key : `-${column.key}`;
    order = [next, ...order.filter((key) => key.replace(/^-/, '') !== column.key)].slice(0, 3);
    if (options.onSort) options.onSort(order.join(','));
    draw();
  }

  function compare(a, b) {
    for (const key of order) {
      const falls = key.startsWith('-');
      const column = columns.find((one) => one.key === key.replace(/^-/, ''));
      const [x, y] = [column.value(a), column.value(b)];
      const [gone, lost] = [!known(x) || x === '', !known(y) || y === ''];
      if (gone !== lost) return gone ? 1 : -1;
      if (gone) continue;
      const way = column.kind === 'number' ? x - y : collator.compare(x, y);
      if (way) return falls ? -way : way;
    }
    return 0;
  }

  function draw() {
    for (const [key, cell] of heads) {
      const way = order[0] === key ? 'ascending' : order[0] === `-${key}` ? 'descending' : 'none';
      cell.setAttribute('aria-sort', way);
    }
    if (order.length) shown.sort(compare);
    const focused = body.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    body.replaceChildren(...shown.slice(0, most).flatMap((row) => {
      const made = el('tr', {}, ...columns.map((column, i) => {
        const cell = column.cell(row);
        return el(i === 0 ? 'th' : 'td', { scope: i === 0 ? 'row' : null, class: [column.kind === 'number' ? 'n' : '', column.class || ''].join(' ').trim() || null }, cell);
      }));
      return options.row ? options.row(row, made) : [made];
    }));
    if (shown.length > most) body.append(more());
    if (focused) [...body.querySelectorAll('[data-focus]')].find((one) => one.dataset.focus === focused)?.focus();
  }

  function more() {
    const button = el('button', { type: 'button', on: { click: () => { most = Infinity; draw(); } } }, `Show all ${shown.length.toLocaleString('en-US')} rows`);
    return el('tr', {}, el('td', { colspan: columns.length, class: 'more' }, button));
  }

  return {
    table,
    width: columns.length,
    show(next) { shown = [...next]; draw(); },
    draw,
  };
}

const collator = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });
