// Entropy figures: by layer over steps, layer by head at a step, heads by quarter, theta.

const PANELS_AT_FIRST = 24;
const COLLAPSED_SHARE = 0.05;

// Which runs the entropy sections show.
const filter = {variant: '', everySeed: variants.length * 4 > report.runs.length};
const listeners = [];

function shownRuns() {
  const runs = report.runs.filter((run) => run.frames.s.length > 0 && (filter.variant === '' || run.variant === filter.variant));
  if (filter.everySeed) return runs;
  const seen = new Set();
  return runs.filter((run) => {
    const key = groupName(run);
    return !seen.has(key) && seen.add(key);
  });
}

function filterBar() {
  const changed = () => listeners.forEach((listener) => listener());
  const select = element('select', {onchange: (event) => { filter.variant = event.target.value; changed(); }},
                         element('option', {value: ''}, 'all variants'), ...variants.map((v) => element('option', {value: v}, v)));
  const seeds = element('input', {type: 'checkbox', onchange: (event) => { filter.everySeed = event.target.checked; changed(); }});
  seeds.checked = filter.everySeed;
  return element('div', {class: 'controls bar'}, element('label', {}, 'Show', select), element('label', {}, seeds, 'every seed'));
}

// A grid of one panel a run, the first few at once.
function panelGrid(makePanel) {
  const grid = element('div', {class: 'panels'});
  const show = (n) => {
    const runs = shownRuns();
    grid.replaceChildren(...runs.slice(0, n).map(makePanel).filter(Boolean));
    if (runs.length === 0) grid.append(element('p', {class: 'muted'}, 'No run here has entropies yet.'));
    if (n < runs.length) {
      grid.append(element('button', {class: 'plain', type: 'button', onclick: () => show(runs.length)}, `Show all ${runs.length} runs`));
    }
  };
  show(PANELS_AT_FIRST);
  listeners.push(() => show(PANELS_AT_FIRST));
  return grid;
}

function stateLine(run) {
  return run.state === 'succeeded' ? '' : `${run.outcome}${run.stopped ? `, step ${run.result.step}` : ''}`;
}

// Shallow to deep.
function layerColour(layer, layers) {
  const t = layers > 1 ? layer / (layers - 1) : 0;
  return `color-mix(in oklab, var(--deep0), var(--deep1) ${Math.round(100 * t)}%)`;
}

const natsOf = (run, code) => (code === NAN_CODE ? '' : (shareOf(code) * run.bound).toFixed(4));

function layerPanel(run) {
  const points = run.entropy.s.length;
  const holder = element('div', {style: 'aspect-ratio: 300/170'});
  whenNear(holder, () => {
    const shares = run.layerShares;
    const series = [];
    for (let layer = 0; layer < run.layers; ++layer) {
      const y = [];
      for (let p = 0; p < points; ++p) {
        const share = shareOf(shares[(p * run.layers + layer) * 3 + 1]);
        y.push(Number.isNaN(share) ? null : share * run.bound);
      }
      series.push({name: `layer ${layer}`, x: run.entropy.s, y, colour: layerColour(layer, run.layers), width: 1.6});
    }
    const chart = lineChart({width: 300, height: 170, left: 28, series, xRange: [0, run.steps], yRange: [0, run.bound], keepOrder: true,
                             limitBelow: COLLAPSED_SHARE * run.bound, name: `Mean head entropy of each layer of ${run.label} over steps, nats`,
                             stops: run.verdict ? [{x: run.verdict.step}] : []});
    holder.replaceWith(chart);
  });
  const csv = () => [['step', 'layer', 'lowest', 'mean', 'highest'], ...run.entropy.s.flatMap((step, p) => Array.from({length: run.layers}, (_, layer) =>
      [step, layer, ...[0, 1, 2].map((i) => natsOf(run, run.layerShares[(p * run.layers + layer) * 3 + i]))]))];
  return figure(run.label, stateLine(run), holder, csv);
}

function layersSection() {
  const deepest = Math.max(...report.runs.map((run) => run.layers), 1);
  const legend = element('div', {class: 'legend', 'aria-hidden': 'true'});
  for (let layer = 0; layer < deepest; ++layer) {
    if (deepest > 12 && layer % Math.ceil(deepest / 12) !== 0 && layer !== deepest - 1) continue;
    legend.append(element('span', {}, element('span', {class: 'swatch', style: `background:${layerColour(layer, deepest)}`}), `layer ${layer}`));
  }
  return section('layers', 'Entropy by layer',
      note('Mean entropy of each layer’s heads in nats. The axis ends at U = ln(T!)/T, the most that a causal head can reach; the red strip is below 0.05 U; ' +
           'a dashed line is the step of a verdict.'),
      legend, panelGrid(layerPanel));
}

// ---- layer by head ----

const slider = {fraction: 1};
const heatPanels = new Set();

function heatColour(share) {
  if (Number.isNaN(share)) return 'var(--heat-none)';
  const s = Math.min(Math.max(share, 0), 1);
  return s < 0.5 ? `color-mix(in oklab, var(--heat-low), var(--heat-mid) ${Math.round(200 * s)}%)`
                 : `color-mix(in oklab, var(--heat-mid), var(--heat-high) ${Math.round(200 * (s - 0.5))}%)`;
}

function frameAt(run, step) {
  let index = 0;
  run.frames.s.forEach((s, i) => { if (s <= step) index = i; });
  return index;
}

const cellSize = (run) => Math.max(5, Math.min(30, 300 / run.heads, 320 / run.layers));

function heatPanel(run) {
  const cell = cellSize(run);
  const left = 24;
  const width = left + cell * run.heads;
  const height = 18 + cell * run.layers;
  const name = `Entropy of every head of ${run.label}: rows are layers, columns are heads`;
  const svg = drawing(width, height, name);
  svg.style.maxWidth = `${width}px`;
  const caption = element('figcaption', {});
  const cells = [];
  const marks = [];
  for (let layer = 0; layer < run.layers; ++layer) {
    if (cell >= 9 || layer % 4 === 0) svg.append(shape('text', {x: left - 6, y: 18 + cell * (layer + 0.5) + 4, 'text-anchor': 'end'}, String(layer)));
    for (let head = 0; head < run.heads; ++head) {
      const x = left + cell * head;
      const y = 18 + cell * layer;
      const rect = shape('rect', {x, y, width: cell - 1, height: cell - 1, rx: 1.5});
      const m = cell * 0.3;
      const mark = shape('path', {class: 'dead', visibility: 'hidden',
        d: `M${x + m} ${y + m}L${x + cell - 1 - m} ${y + cell - 1 - m}M${x + m} ${y + cell - 1 - m}L${x + cell - 1 - m} ${y + m}`, stroke: 'var(--ground)'});
      mark.style.stroke = 'var(--on-q1)';
      cells.push(rect);
      marks.push(mark);
      svg.append(rect, mark);
    }
  }
  for (let head = 0; head < run.heads; ++head) {
    if (cell >= 14 || head % 4 === 0) svg.append(shape('text', {x: left + cell * (head + 0.5), y: 12, 'text-anchor': 'middle'}, String(head)));
  }
  let frame = 0;
  const heads = run.layers * run.heads;
  const valueAt = (index) => shareOf(run.frameShares[frame * heads + index]);
  const draw = () => {
    frame = frameAt(run, slider.fraction * run.steps);
    let dead = 0;
    for (let i = 0; i < heads; ++i) {
      const share = valueAt(i);
      cells[i].setAttribute('fill', heatColour(share));
      const collapsed = share < COLLAPSED_SHARE;
      marks[i].setAttribute('visibility', collapsed ? 'visible' : 'hidden');
      dead += collapsed;
    }
    const ended = run.stopped && run.frames.s[frame] >= run.result.step ? ` · ${run.outcome}` : '';
    caption.textContent = `step ${run.frames.s[frame]} · ${dead} of ${heads} heads below 0.05 U${ended}`;
  };
  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect();
    const x = Math.floor((((event.clientX - box.left) / box.width) * width - left) / cell);
    const y = Math.floor((((event.clientY - box.top) / box.height) * height - 18) / cell);
    if (x < 0 || y < 0 || x >= run.heads || y >= run.layers) return hideReadout();
    const share = valueAt(y * run.heads + x);
    showReadout(event, `layer ${y}, head ${x}\n${Number.isNaN(share) ? 'not a number' : `${number(share * run.bound, 3)} nats, ${Math.round(100 * share)} % of U`}`);
  });
  svg.addEventListener('pointerleave', hideReadout);
  const csv = () => [['step', 'layer', 'head', 'entropy_nats'], ...run.frames.s.flatMap((step, f) => Array.from({length: heads}, (_, i) =>
      [step, Math.floor(i / run.heads), i % run.heads, natsOf(run, run.frameShares[f * heads + i])]))];
  const node = figure(run.label, '', svg, csv);
  node.querySelector('figcaption')?.remove();
  svg.before(caption);
  const panel = {node, draw, drawn: false};
  whenNear(node, () => {
    panel.drawn = true;
    draw();
  });
  heatPanels.add(panel);
  return node;
}

function heatSection() {
  const longest = Math.max(...report.runs.map((run) => run.steps), 1);
  const shown = element('output', {}, '');
  const range = element('input', {type: 'range', min: 0, max: 1000, value: 1000, id: 'heat-step', 'aria-label': 'Step of training'});
  const say = () => {
    shown.textContent = `${Math.round(slider.fraction * 100)} % of training (step ${Math.round(slider.fraction * longest)})`;
    range.setAttribute('aria-valuetext', shown.textContent);
  };
  const move = () => {
    slider.fraction = Number(range.value) / 1000;
    say();
    for (const panel of heatPanels) {
      if (!panel.node.isConnected) heatPanels.delete(panel);
      else if (panel.drawn) panel.draw();
    }
  };
  range.oninput = move;
  let timer = null;
  const play = element('button', {class: 'plain', type: 'button', onclick: () => {
    if (timer !== null) {
      clearInterval(timer);
      timer = null;
      play.textContent = 'Play';
      return;
    }
    if (range.value === range.max) range.value = 0;
    play.textContent = 'Pause';
    timer = setInterval(() => {
      range.value = Number(range.value) + 10;
      move();
      if (range.value === range.max) play.onclick();
    }, 60);
  }}, 'Play');
  const grid = panelGrid(heatPanel);
  const widest = Math.max(...report.runs.map((run) => 24 + cellSize(run) * run.heads), 0);
  grid.style.setProperty('--panel-width', `${Math.max(200, widest + 32)}px`);
  say();
  return section('heads', 'Every head',
      note('Entropy of each head as a share of U. Rows are layers from the first to the deepest. A cross marks a head below 0.05 U: it looks at one token only. ' +
           'The blue end is overload: the head averages everything.'),
      element('div', {class: 'controls'}, element('label', {for: 'heat-step'}, 'Step'), range, play, shown),
      element('p', {class: 'small', 'aria-hidden': 'true'}, '0', element('span', {class: 'ramp'}), 'U'), grid);
}

// ---- heads by quarter ----

function quarterBars(key, title) {
  const rows = report.rows.filter((row) => row[key].some((n) => n > 0));
  const left = 190;
  const width = 600;
  const height = 26 * rows.length + 26;
  const svg = drawing(width, height, title);
  rows.forEach((row, i) => {
    const y = 26 * i + 4;
    const total = row[key].reduce((a, b) => a + b, 0);
    const label = rowName(row);
    svg.append(shape('text', {x: left - 8, y: y + 14, 'text-anchor': 'end'}, label.length > 29 ? `${label.slice(0, 28)}…` : label));
    let x = left;
    row[key].forEach((n, quarter) => {
      const w = ((width - left - 24) * n) / total;
      const bar = shape('rect', {x, y, width: Math.max(w - 1, 0), height: 20, fill: `var(--q${quarter + 1})`});
      bar.append(shape('title', {}, `${label}: ${plural(n, 'head')} of ${total} in quarter ${quarter + 1}`));
      svg.append(bar);
      if (w > 34) {
        const text = shape('text', {x: x + w / 2, y: y + 14, 'text-anchor': 'middle', 'pointer-events': 'none'}, `${Math.round((100 * n) / total)} %`);
        text.style.fill = `var(--on-q${quarter + 1})`;
        svg.append(text);
      }
      x += w;
    });
  });
  for (const t of [0, 25, 50, 75, 100]) {
    svg.append(shape('text', {x: left + ((width - left - 24) * t) / 100, y: height - 6, 'text-anchor': 'middle'}, `${t} %`));
  }
  return svg;
}

function bandsSection() {
  const holder = element('div');
  const bases = {
    heads_by_quarter_log_context: 'Share of heads by quarter of ln T',
    heads_by_quarter_observed: 'Share of heads by quarter of the largest entropy observed in the model',
  };
  const csv = (key) => () => [['variant', 'quarter_1', 'quarter_2', 'quarter_3', 'quarter_4'], ...report.rows.map((row) => [rowName(row), ...row[key]])];
  const draw = (key) => holder.replaceChildren(figure(bases[key], '', quarterBars(key, bases[key]), csv(key)));
  const radio = (key, text, on) => {
    const input = element('input', {type: 'radio', name: 'basis', onchange: () => draw(key)});
    input.checked = on;
    return element('label', {}, input, text);
  };
  draw('heads_by_quarter_log_context');
  const legend = element('div', {class: 'legend', 'aria-hidden': 'true'}, ...['lowest quarter: collapsing', 'second', 'third', 'highest quarter: overloaded'].map((text, i) =>
      element('span', {}, element('span', {class: 'swatch', style: `background:var(--q${i + 1})`}), text)));
  return section('bands', 'Heads by quarter',
      note('Share of heads by band beside the loss, as in the paper’s Figure 2; at the step that counts. The paper divides by the largest entropy observed in the model, which reports full overload for a model that has learnt nothing; ln T is the same for all.'),
      element('div', {class: 'controls'}, element('fieldset', {}, element('legend', {}, 'Quarters of'),
          radio('heads_by_quarter_log_context', 'ln T', true), radio('heads_by_quarter_observed', 'the largest observed', false))),
      legend, element('div', {class: 'charts'}, holder,
                      curveFigure('Loss of the same architectures', 'loss', {log: false, dots: false, yLabel: 'loss', note: 'Cross-entropy, nats a token.'})));
}

// ---- theta ----

function thetaPanel(run) {
  if (!run.theta) return null;
  const series = [];
  for (let layer = 0; layer < run.layers; ++layer) {
    series.push({name: `layer ${layer}`, x: run.theta.s, y: run.theta.v.map((means) => means[layer]), colour: layerColour(layer, run.layers), width: 1.6});
  }
  const last = run.theta.last;
  const low = Math.min(...last);
  const high = Math.max(...last);
  const mean = last.reduce((a, b) => a + b, 0) / last.length;
  const values = series.flatMap((s) => s.y);
  const chart = lineChart({width: 300, height: 170, left: 34, series, xRange: [0, run.steps], keepOrder: true,
                           yRange: [Math.min(0, ...values), Math.max(1, ...values)], name: `Theta of ${run.label} by layer over steps`});
  const csv = () => [['step', ...series.map((s) => s.name)], ...run.theta.s.map((step, p) => [step, ...run.theta.v[p]])];
  return figure(run.label, `at the end: mean ${number(mean)}, heads from ${number(low)} to ${number(high)}`, chart, csv);
}

function thetaSection() {
  if (!report.runs.some((run) => run.theta)) return null;
  return section('theta', 'Threshold theta of the regulariser',
      note('Mean over each layer’s heads of the learnable threshold: the entropy, as a share of ln T, that the regulariser pulls the head towards.'), panelGrid(thetaPanel));
}
