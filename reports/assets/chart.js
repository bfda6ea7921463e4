// Figures: a frame with a title, a caption and an SVG that can be saved; and line charts in it.

// The colour that a CSS value gives on this page as plain #rrggbb: other programs know neither variables nor color-mix.
const plainColours = new Map();
let colourProbe = null;
function plainColour(value) {
  if (!/[(]/.test(value)) return value;
  if (!plainColours.has(value)) {
    if (colourProbe === null) {
      colourProbe = element('canvas', {width: 1, height: 1}).getContext('2d', {willReadFrequently: true});
      colourProbe.probe = document.body.appendChild(element('span', {hidden: true}));
    }
    colourProbe.probe.style.color = value;
    colourProbe.clearRect(0, 0, 1, 1);
    colourProbe.fillStyle = getComputedStyle(colourProbe.probe).color;
    colourProbe.fillRect(0, 0, 1, 1);
    const [r, g, b] = colourProbe.getImageData(0, 0, 1, 1).data;
    plainColours.set(value, `#${[r, g, b].map((v) => v.toString(16).padStart(2, '0')).join('')}`);
  }
  return plainColours.get(value);
}

// A copy that looks the same outside this page: colours resolved, text styled.
function standalone(svg) {
  const copy = svg.cloneNode(true);
  const style = getComputedStyle(document.documentElement);
  const rules = `text{fill:${style.getPropertyValue('--muted')};font:11px sans-serif}.grid{stroke:${style.getPropertyValue('--grid')}}` +
      `.axis{stroke:${style.getPropertyValue('--line')}}.stop{stroke:${style.getPropertyValue('--bad')};stroke-dasharray:4 3}` +
      `.cross{stroke:${style.getPropertyValue('--muted')};stroke-dasharray:3 3}` +
      `.limit{fill:${style.getPropertyValue('--bad')};opacity:.12}.dead{fill:none;stroke:${style.getPropertyValue('--bad')}}`;
  copy.setAttribute('xmlns', SVG);
  copy.removeAttribute('style');
  for (const node of copy.querySelectorAll('*')) {
    for (const name of ['fill', 'stroke']) {
      if (node.hasAttribute(name)) node.setAttribute(name, plainColour(node.getAttribute(name)));
      if (node.style[name]) node.style[name] = plainColour(node.style[name]);
    }
  }
  copy.prepend(shape('style', {}, rules));
  const [, , width, height] = copy.getAttribute('viewBox').split(' ');
  copy.setAttribute('width', width);
  copy.setAttribute('height', height);
  const ground = shape('rect', {width, height, fill: style.getPropertyValue('--panel')});
  copy.insertBefore(ground, copy.children[1] || null);
  return new XMLSerializer().serializeToString(copy);
}

function saveButton(kind, title, make) {
  return element('button', {class: 'plain', type: 'button', 'aria-label': `Save as ${kind}: ${title}`, title: `Save as ${kind}`,
    onclick: () => download(`${fileName(title)}.${kind.toLowerCase()}`, kind === 'SVG' ? 'image/svg+xml' : 'text/csv', make())}, kind);
}

// `drawn` is an SVG, or what will hold one. `csv` (may be null) gives the rows behind it, titles first.
function figure(title, caption, drawn, csv, ...rest) {
  const buttons = element('span', {class: 'save'}, csv ? saveButton('CSV', title, () => csvText(csv())) : null,
                          saveButton('SVG', title, () => standalone(node.querySelector('svg'))));
  const node = element('figure', {'aria-label': title}, element('div', {class: 'head'}, element('h3', {}, title), buttons),
                       caption ? element('figcaption', {}, caption) : null, drawn, ...rest);
  return node;
}

function csvText(rows) {
  const field = (value) => {
    const text = value === null || value === undefined ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  return rows.map((row) => row.map(field).join(',')).join('\r\n') + '\r\n';
}

function drawing(width, height, name) {
  return shape('svg', {viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': name}, shape('title', {}, name));
}

function ticks(low, high, count) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
  const out = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-9; v += step) out.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  return out;
}

function logTicks(low, high) {
  const out = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); ++p) {
    for (const m of high / low > 300 ? [1] : high / low > 20 ? [1, 3] : [1, 1.5, 2, 3, 4, 5, 6, 8]) {
      const v = m * 10 ** p;
      if (v >= low * 0.999 && v <= high * 1.001) out.push(v);
    }
  }
  return out.length > 1 ? out : [low, high];
}

// Where a chart's numbers lie: from the values after the first twentieth of the steps, whose fall would flatten everything after.
function valueRange(series, xMin, xMax, log) {
  const from = xMin + 0.05 * (xMax - xMin);
  const extremes = (min) => {
    let low = Infinity;
    let high = -Infinity;
    for (const s of series) {
      for (let i = 0; i < s.x.length; ++i) {
        const v = s.y[i];
        if (v === null || s.x[i] < min || (log && v <= 0)) continue;
        if (v < low) low = v;
        if (v > high) high = v;
      }
    }
    return [low, high];
  };
  let [low, high] = extremes(from);
  if (low > high) [low, high] = extremes(-Infinity);
  if (low > high) return [0, 1];
  if (log) return low === high ? [low / 1.5, high * 1.5] : [low / 1.03, high * 1.03];
  const pad = (high - low) * 0.04 || Math.abs(high) * 0.1 || 1;
  return [low - pad, high + pad];
}

// The path of the finite values; a gap where there is none.
function pathOf(series, px, py, log) {
  let path = '';
  let pen = false;
  series.x.forEach((x, i) => {
    const v = series.y[i];
    const ok = v !== null && Number.isFinite(v) && (!log || v > 0);
    if (ok) path += `${pen ? 'L' : 'M'}${px(x).toFixed(1)} ${py(v).toFixed(1)}`;
    pen = ok;
  });
  return path;
}

function nearestIndex(xs, x) {
  let low = 0;
  let high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= x) low = middle;
    else high = middle;
  }
  return high > 0 && Math.abs(xs[high] - x) < Math.abs(xs[low] - x) ? high : low;
}

let clipCount = 0;

// options: {width, height, name, series: [{name, x, y, colour, width, opacity, dash, dots, silent}], areas: [{x, low, high, colour}], xRange,
// yRange, log, xLabel, topLabel, limitBelow, stops: [{x, label}], points: [{x, y, name, colour}]}
function lineChart(options) {
  const {width = 600, height = 300, series, log = false} = options;
  const margin = {left: options.left ?? 46, right: 10, top: 8, bottom: options.xLabel ? 34 : 20};
  const svg = drawing(width, height, options.name);
  const [xMin, xMax] = options.xRange;
  const [yMin, yMax] = options.yRange ?? valueRange(series, xMin, xMax, log);
  const right = width - margin.right;
  const bottom = height - margin.bottom;
  const f = log ? Math.log : (v) => v;
  const px = (x) => margin.left + ((x - xMin) / (xMax - xMin || 1)) * (right - margin.left);
  const py = (y) => bottom - ((f(y) - f(yMin)) / (f(yMax) - f(yMin) || 1)) * (bottom - margin.top);

  for (const t of log ? logTicks(yMin, yMax) : ticks(yMin, yMax, height < 200 ? 4 : 5)) {
    svg.append(shape('line', {class: 'grid', x1: margin.left, x2: right, y1: py(t), y2: py(t)}),
               shape('text', {x: margin.left - 6, y: py(t) + 4, 'text-anchor': 'end'}, short(t)));
  }
  for (const t of ticks(xMin, xMax, width < 400 ? 3 : 6)) {
    svg.append(shape('text', {x: px(t), y: bottom + 14, 'text-anchor': 'middle'}, short(t)));
  }
  svg.append(shape('line', {class: 'axis', x1: margin.left, x2: right, y1: bottom, y2: bottom}));
  if (options.xLabel) svg.append(shape('text', {x: (margin.left + right) / 2, y: height - 4, 'text-anchor': 'middle'}, options.xLabel));

  if (options.topLabel) svg.append(shape('text', {x: margin.left - 6, y: margin.top + 2, 'text-anchor': 'end'}, options.topLabel));
  const clip = `clip${++clipCount}`;
  const plot = shape('g', {'clip-path': `url(#${clip})`});
  svg.append(shape('clipPath', {id: clip}, shape('rect', {x: margin.left, y: margin.top - 2, width: right - margin.left, height: bottom - margin.top + 4})), plot);
  if (options.limitBelow !== undefined) {
    plot.append(shape('rect', {class: 'limit', x: margin.left, y: py(options.limitBelow), width: right - margin.left, height: bottom - py(options.limitBelow)}));
  }
  for (const area of options.areas ?? []) {
    const inside = (v) => py(log ? Math.max(v, yMin) : v).toFixed(1);
    const along = (values) => area.x.map((x, i) => `${px(x).toFixed(1)} ${inside(values[i])}`);
    if (area.x.length > 1) plot.append(shape('path', {d: `M${along(area.high).join('L')}L${along(area.low).reverse().join('L')}Z`, fill: area.colour, 'fill-opacity': 0.16}));
  }
  for (const s of series) {
    plot.append(shape('path', {d: pathOf(s, px, py, log), fill: 'none', stroke: s.colour, 'stroke-width': s.width ?? 1.5,
                               'stroke-opacity': s.opacity ?? 1, 'stroke-dasharray': s.dash ?? '', 'stroke-linejoin': 'round'}));
    if (s.dots) {
      s.x.forEach((x, i) => {
        if (s.y[i] !== null) plot.append(shape('circle', {cx: px(x), cy: py(s.y[i]), r: 2.4, fill: s.colour}));
      });
    }
  }
  for (const stop of options.stops ?? []) {
    plot.append(shape('line', {class: 'stop', x1: px(stop.x), x2: px(stop.x), y1: margin.top, y2: bottom}));
  }
  for (const point of options.points ?? []) {
    const x = px(point.x);
    const y = py(Math.min(Math.max(point.y, yMin), yMax));
    plot.append(shape('path', {class: 'dead', d: `M${x - 4} ${y - 4}L${x + 4} ${y + 4}M${x - 4} ${y + 4}L${x + 4} ${y - 4}`}));
  }
  addCrosshair(svg, options, {px, py, xMin, xMax, margin, right, bottom, width});
  return svg;
}

function addCrosshair(svg, options, frame) {
  const line = shape('line', {class: 'cross', y1: frame.margin.top, y2: frame.bottom, visibility: 'hidden'});
  svg.append(line);
  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * frame.width;
    if (at < frame.margin.left || at > frame.right) return;
    const x = frame.xMin + ((at - frame.margin.left) / (frame.right - frame.margin.left)) * (frame.xMax - frame.xMin);
    line.setAttribute('x1', at);
    line.setAttribute('x2', at);
    line.setAttribute('visibility', 'visible');
    const rows = options.series.filter((s) => !s.silent && s.x.length > 0 && x <= s.x[s.x.length - 1] * 1.02 + 1).map((s) => {
      const i = nearestIndex(s.x, x);
      return {name: s.name, value: s.y[i], step: s.x[i]};
    });
    if (rows.length === 0) return hideReadout();
    if (!options.keepOrder) rows.sort((a, b) => (a.value ?? Infinity) - (b.value ?? Infinity));
    const shown = rows.slice(0, 16).map((row) => `${row.name}  ${row.value === null ? 'not finite' : number(row.value, 3)}`);
    if (rows.length > 16) shown.push(`and ${rows.length - 16} more`);
    showReadout(event, `step ${Math.round(x)}\n${shown.join('\n')}`);
  });
  svg.addEventListener('pointerleave', () => {
    line.setAttribute('visibility', 'hidden');
    hideReadout();
  });
}

// Mean, lowest and highest over runs of the values averaged within each of `bins` stretches of [0, xMax]; what keeps a curve of many runs
// readable. A curve with one value a stretch at most keeps its steps.
function spreadOf(curves, xMax, bins) {
  const stretches = Array.from({length: bins}, () => ({values: [], step: 0}));
  for (const curve of curves) {
    const sums = new Map();
    curve.s.forEach((step, i) => {
      if (curve.v[i] === null) return;
      const b = Math.min(Math.max(Math.ceil((step / xMax) * bins) - 1, 0), bins - 1);
      const own = sums.get(b) ?? {sum: 0, n: 0, step: 0};
      sums.set(b, {sum: own.sum + curve.v[i], n: own.n + 1, step: own.step + step});
    });
    for (const [b, own] of sums) {
      stretches[b].values.push(own.sum / own.n);
      stretches[b].step += own.step / own.n;
    }
  }
  const filled = stretches.filter((stretch) => stretch.values.length > 0);
  return {
    x: filled.map((f) => f.step / f.values.length),
    y: filled.map((f) => f.values.reduce((a, b) => a + b, 0) / f.values.length),
    low: filled.map((f) => Math.min(...f.values)),
    high: filled.map((f) => Math.max(...f.values)),
  };
}
