// The roofline: Bokeh draws it, after the tables are there. This fills it for one device with what the filter leaves.

const figures = () => JSON.parse(byId('figures').textContent);
const hidden = new Set();
let plots = null;

const plotted = () => Math.max(0, data.devices.findIndex((one) => one.key === (state.device || state.plot)));

/** Runs Bokeh, which lies in the page as text until the tables are drawn, and draws both figures, filled and coloured. */
async function startRoofline() {
  const script = el('script');
  script.textContent = byId('library').textContent;
  document.head.append(script);
  const given = figures();
  const { Document } = Bokeh.require('document');
  const documents = [given.roofline, given.strip].map((one) => Document.from_json(one));
  plots = { looks: given.looks, documents, named: (name) => documents.map((one) => one.get_model_by_name(name)).find(Boolean) };
  for (const kind of ['point', 'strip']) openChosen(plots.named(`${kind} source`));
  onFilter(fillRoofline);
  colour();
  byId('roofline-plot').replaceChildren();
  plots.views = await Bokeh.embed.add_document_standalone(documents[0], byId('roofline-plot'));
  // On a touch screen a drag scrolls the page; the tools can be chosen by hand.
  if (matchMedia('(pointer: coarse)').matches) plots.named('roofline').toolbar.tools.find((one) => one.type === 'BoxZoomTool').active = false;
  await drawn();
  document.documentElement.dataset.drawn = Math.round(performance.now());
  await Bokeh.embed.add_document_standalone(documents[1], byId('strip-plot'));
}

/** A point that is chosen opens its case in the table. */
function openChosen(source) {
  source.selected.change.connect(() => {
    const [index] = source.selected.indices;
    if (index === undefined) return;
    const record = records[source.data.record[index]];
    source.selected.indices = [];
    goTo(record);
  });
}

const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

function fillRoofline(found) {
  if (!plots) return;
  const device = plotted();
  const here = found.filter((one) => one.device === device);
  const points = here.filter((one) => one.flops > 0 && one.intensity > 0);
  const dry = here.filter((one) => known(one.seconds) && one.intensity === 0 && one.bytes > 0);
  if (byId('p-device').value !== data.devices[device].key) byId('p-device').value = data.devices[device].key;
  // The frame is that of all its cases, so that a filter does not move it.
  const all = records.filter((one) => one.device === device);
  frame(device, all.filter((one) => one.flops > 0 && one.intensity > 0));
  stripFrame(device, all.filter((one) => known(one.seconds) && one.intensity === 0 && one.bytes > 0));
  fill('point', points, (one) => one.intensity, (one) => one.flops);
  fill('strip', dry, (one) => one.bytes, (one) => one.case.categoryNumber + 1 + 0.6 * (((one.id * 0.618034) % 1) - 0.5));
  legend([...points, ...dry]);
  const untimed = here.filter((one) => !known(one.seconds)).length;
  const uncounted = here.length - untimed - points.length - dry.length;
  byId('roofline-said').textContent = [
    `${plural(points.length, 'case')} with a time and FLOP`,
    untimed ? `${plural(untimed, 'case')} without a time` : '',
    uncounted ? `${plural(uncounted, 'case')} with a time, whose work is not known` : '',
  ].filter(Boolean).join('; ');
  byId('strip').hidden = !dry.length;
  byId('strip-said').textContent = `${plural(dry.length, 'case')} without FLOP, which have no place on an axis of intensity, by bandwidth:`;
  if (!dry.length) byId('strip-said').textContent = '';
}

function fill(kind, points, x, y) {
  const seen = points.filter((one) => !hidden.has(one.case.categoryNumber));
  const of = (get) => seen.map(get);
  const look = (one) => plots.looks[one.case.categoryNumber];
  const shade = dark() ? 'dark' : 'light';
  plots.named(`${kind} source`).data = {
    x: of(x),
    y: of(y),
    name: of((one) => one.case.name),
    time: of((one) => seconds(one.seconds) + (known(one.low) ? ` (${seconds(one.low)} … ${seconds(one.high)})` : ', no interval')),
    t_sol: of((one) => seconds(one.t_sol) + (one.regime ? `, ${one.regime}` : '')),
    efficiency: of((one) => share(one.efficiency) + (one.counts ? '' : ', not compared')),
    provider: of((one) => one.case.provider + (one.status === 'passed' ? '' : `, ${one.status.replace('_', ' ')}`)),
    rate: of((one) => (one.flops ? `${rate(one.flops, 'FLOP/s')} at ${number(one.intensity)} FLOP/B, ` : '') + rate(one.bytes, 'B/s')),
    mark: of((one) => look(one).mark),
    colour: of((one) => look(one)[shade]),
    record: of((one) => one.id),
  };
}

// -- roofs --------------------------------------------------------------------------------------------------------------------

/** Peaks, those of equal rate as one. */
function roofsOf(device) {
  const roofs = new Map();
  for (const [unit, peak] of Object.entries(device.peak)) roofs.set(peak, [...(roofs.get(peak) || []), unit]);
  return [...roofs].sort((a, b) => b[0] - a[0]);
}

function frame(index, points) {
  const device = data.devices[index];
  const roofs = roofsOf(device);
  const ridges = roofs.map(([peak]) => peak / device.bandwidth);
  const xs = points.map((one) => one.intensity);
  const right = Math.max(...xs, ...ridges, 10) * 2.5;
  const left = Math.min(Math.min(...xs, ...ridges, 1) / 2, right / 1e3);
  const top = Math.max(...roofs.map(([peak]) => peak), ...points.map((one) => one.flops), left * device.bandwidth * 10) * 2.2;
  const bottom = Math.min(...points.map((one) => one.flops), left * device.bandwidth * 2) / 2;
  range('roofline', left, right, bottom, top);
  const highest = Math.max(...ridges, 0) || right;
  const memory = [[left, highest], [left * device.bandwidth, highest * device.bandwidth]];
  plots.named('roofs').data = {
    xs: [memory[0], ...roofs.map(([peak]) => [peak / device.bandwidth, right])],
    ys: [memory[1], ...roofs.map(([peak]) => [peak, peak])],
  };
  plots.named('ridges').data = { x: ridges, y: roofs.map(([peak]) => peak) };
  const wide = byId('roofline-plot').clientWidth > 600;
  // Left of the slope no point can be: its name stands there, where it is in nobody's way.
  const at = Math.max(left, bottom / device.bandwidth) ** (wide ? 0.3 : 0.12) * (roofs.length ? Math.min(...ridges) : right) ** (wide ? 0.7 : 0.88);
  plots.named('roof labels').data = {
    x: [at, ...roofs.map(() => right)],
    y: [at * device.bandwidth, ...roofs.map(([peak]) => peak)],
    text: [rate(device.bandwidth, 'B/s'), ...roofs.map(([peak, units], i) => `${units.join(', ')} ${rate(peak, 'FLOP/s')}${wide ? `, ridge ${number(ridges[i])}` : ''}`)],
    align: ['right', ...roofs.map(() => 'right')],
    dx: [-8, ...roofs.map(() => -6)],
  };
}

function stripFrame(index, points) {
  const { bandwidth } = data.devices[index];
  const xs = [...points.map((one) => one.bytes), bandwidth];
  const high = data.categories.length + 1;
  const [left, right] = [Math.min(...xs) / 2, Math.max(...xs) * 2];
  range('strip', left, right, 0, high);
  plots.named('strip ticks').ticks = ticks(left, right);
  plots.named('strip roof').data = { x: [bandwidth], y0: [0], y1: [high] };
}

/** Powers of ten, with twice and five times as much between them where there are few. */
function ticks(left, right) {
  const factors = right / left > 1e3 ? [1] : [1, 2, 5];
  const powers = Array.from({ length: 20 }, (_, power) => power);
  return powers.flatMap((power) => factors.map((factor) => factor * 10 ** power)).filter((tick) => tick >= left && tick <= right);
}

function range(name, left, right, bottom, top) {
  const { x_range: x, y_range: y } = plots.named(name);
  if (x.reset_start === left && x.reset_end === right && y.reset_start === bottom && y.reset_end === top) return;
  x.setv({ start: left, end: right, reset_start: left, reset_end: right });
  y.setv({ start: bottom, end: top, reset_start: bottom, reset_end: top });
}

// -- legend and colours -------------------------------------------------------------------------------------------------------

const MARKS = {
  circle: 'M8 3a5 5 0 1 0 .01 0z', square: 'M3.5 3.5h9v9h-9z', triangle: 'M8 3l5.5 10h-11z', diamond: 'M8 2l4.5 6L8 14 3.500 8z',
  inverted_triangle: 'M8 13L2.500 3h11z', plus: 'M6 3h4v3h3v4h-3v3H6v-3H3V6h3z', x: 'M4 4l8 8M12 4l-8 8',
  star: 'M8 2l1.600 4.300 4.600.2-3.600 2.900 1.200 4.500L8 11.300l-3.800 2.600 1.200-4.500L1.800 6.500l4.600-.2z',
  hex: 'M5.300 3.300h5.400L13.400 8l-2.700 4.700H5.300L2.600 8z', asterisk: 'M8 3v10M3 8h10M4.500 4.500l7 7M11.500 4.500l-7 7',
  cross: 'M8 3v10M3 8h10', circle_x: 'M8 3a5 5 0 1 0 .01 0zM4.500 4.500l7 7M11.500 4.500l-7 7',
  square_x: 'M3.500 3.500h9v9h-9zM3.500 3.500l9 9M12.500 3.500l-9 9', circle_cross: 'M8 3a5 5 0 1 0 .01 0zM8 3v10M3 8h10',
  diamond_cross: 'M8 2l4.500 6L8 14 3.500 8zM8 2v12M3.500 8h9',
};

function legend(points) {
  const counts = new Map(counted(points.map((one) => one.case.categoryNumber)));
  const focused = document.activeElement?.dataset.category;
  byId('roofline-legend').replaceChildren(...data.categories.map((name, category) => {
    if (!counts.has(category)) return null;
    const button = el('button', { type: 'button', 'aria-pressed': `${!hidden.has(category)}`, 'data-category': category },
      mark(category), `${name.replace(/_/g, ' ')} ${counts.get(category)}`);
    button.addEventListener('click', () => {
      if (!hidden.delete(category)) hidden.add(category);
      fillRoofline(matching);
    });
    return button;
  }).filter(Boolean));
  if (focused !== undefined) byId('roofline-legend').querySelector(`[data-category="${focused}"]`)?.focus();
}

function mark(category) {
  const space = 'http://www.w3.org/2000/svg';
  const drawing = document.createElementNS(space, 'svg');
  const path = document.createElementNS(space, 'path');
  path.setAttribute('d', MARKS[plots.looks[category].mark]);
  drawing.setAttribute('viewBox', '0 0 16 16');
  drawing.setAttribute('aria-hidden', 'true');
  drawing.style.color = plots.looks[category][dark() ? 'dark' : 'light'];
  drawing.append(path);
  return drawing;
}

/** Gives both figures the colours of the page. */
function colour() {
  if (!plots) return;
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  const [ink, soft, line, ground] = ['ink', 'soft', 'line', 'card'].map(of);
  for (const name of ['roofline', 'strip']) {
    const plot = plots.named(name);
    plot.setv({ background_fill_color: ground, border_fill_color: ground, outline_line_color: line });
    for (const axis of [...plot.below, ...plot.left]) {
      axis.setv({ axis_line_color: line, major_tick_line_color: line, major_label_text_color: soft, axis_label_text_color: soft });
    }
    for (const grid of plot.center) if (grid.type === 'Grid') grid.grid_line_color = line;
  }
  plots.named('roof lines').glyph.line_color = { value: ink };
  plots.named('strip roof line').glyph.line_color = { value: ink };
  plots.named('ridge points').glyph.setv({ line_color: { value: ink }, fill_color: { value: ground } });
  plots.named('roof texts').glyph.text_color = { value: ink };
  fillRoofline(matching);
}

function fillPlotSelect() {
  const select = byId('p-device');
  select.replaceChildren(...data.devices.map((one) => el('option', { value: one.key }, titleOf('device', one.key))));
  select.value = data.devices[plotted()].key;
  byId('l-plot').hidden = !several;
  select.addEventListener('change', () => {
    keepState({ plot: select.value });
    // A filter by another device would leave nothing to see here.
    if (state.device) { fields.device.value = ''; changed({ device: '' }); } else fillRoofline(matching);
  });
}

/** Where a record is drawn, in pixels of the window: for tests and for whoever asks in the console. */
function placeOf(id) {
  const record = records[id];
  const view = plots.views.get(plots.named('roofline'));
  const box = view.el.getBoundingClientRect();
  const scale = view.frame;
  return { x: box.left + scale.x_scale.compute(record.intensity), y: box.top + scale.y_scale.compute(record.flops) };
}
