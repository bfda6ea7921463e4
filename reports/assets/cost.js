// Perplexity against the cost of private inference: which variants nobody beats on both.

// Rows that no other is at least as good as on both axes.
function frontier(points) {
  const kept = [];
  for (const point of [...points].sort((a, b) => a.x - b.x || a.y - b.y)) {
    if (kept.length === 0 || point.y < kept[kept.length - 1].y) kept.push(point);
  }
  return kept;
}

// Labels moved apart so that none covers another.
function placeLabels(labels, top, bottom) {
  labels.sort((a, b) => a.y - b.y);
  for (let pass = 0; pass < 30; ++pass) {
    for (let i = 0; i < labels.length; ++i) {
      for (let j = i + 1; j < labels.length; ++j) {
        const apart = Math.abs(labels[i].x - labels[j].x) > Math.max(labels[i].width, labels[j].width) + 4;
        const overlap = 13 - (labels[j].y - labels[i].y);
        if (apart || overlap <= 0) continue;
        labels[i].y -= overlap / 2;
        labels[j].y += overlap / 2;
      }
    }
    for (const label of labels) label.y = Math.min(Math.max(label.y, top), bottom);
  }
}

function paretoChart(title, key, unit) {
  const points = report.rows.filter((row) => row[key] !== null && row.perplexity_mean !== null)
      .map((row) => ({x: row[key], y: row.perplexity_mean, row}));
  if (points.length === 0) return null;
  const width = 600;
  const height = 340;
  const frame = {left: 50, right: width - 20, top: 12, bottom: height - 36};
  const svg = drawing(width, height, title);
  const range = (values) => {
    const low = Math.min(...values);
    const high = Math.max(...values);
    const pad = low > 0 ? Math.max((high / low) ** 0.08, 1.03) : 1.1;
    return [low / pad, high * pad];
  };
  const [xMin, xMax] = range(points.map((p) => p.x));
  const [yMin, yMax] = range(points.map((p) => p.y));
  const px = (x) => frame.left + (Math.log(x / xMin) / Math.log(xMax / xMin)) * (frame.right - frame.left);
  const py = (y) => frame.bottom - (Math.log(y / yMin) / Math.log(yMax / yMin)) * (frame.bottom - frame.top);
  for (const t of logTicks(yMin, yMax)) {
    svg.append(shape('line', {class: 'grid', x1: frame.left, x2: frame.right, y1: py(t), y2: py(t)}),
               shape('text', {x: frame.left - 6, y: py(t) + 4, 'text-anchor': 'end'}, short(t)));
  }
  for (const t of logTicks(xMin, xMax)) {
    svg.append(shape('line', {class: 'grid', x1: px(t), x2: px(t), y1: frame.top, y2: frame.bottom}),
               shape('text', {x: px(t), y: frame.bottom + 14, 'text-anchor': 'middle'}, short(t)));
  }
  svg.append(shape('text', {x: (frame.left + frame.right) / 2, y: height - 4, 'text-anchor': 'middle'}, unit),
             shape('text', {x: 12, y: (frame.top + frame.bottom) / 2, 'text-anchor': 'middle', transform: `rotate(-90 12 ${(frame.top + frame.bottom) / 2})`}, 'perplexity'));
  const best = frontier(points.filter((p) => p.row.completed));
  if (best.length > 0) {
    let path = `M${px(best[0].x)} ${frame.top}V${py(best[0].y)}`;
    for (const p of best.slice(1)) path += `H${px(p.x)}V${py(p.y)}`;
    svg.append(shape('path', {class: 'cross', fill: 'none', d: `${path}H${frame.right}`}));
  }
  const labels = points.map((p) => {
    const name = rowName(p.row);
    const text = name.length > 30 ? `${name.slice(0, 29)}…` : name;
    const labelWidth = text.length * 6;
    const toLeft = px(p.x) + 9 + labelWidth > frame.right;
    return {p, text, width: labelWidth, x: px(p.x) + (toLeft ? -9 : 9), y: py(p.y) + 4, toLeft};
  });
  placeLabels(labels, frame.top + 8, frame.bottom - 2);
  for (const {p, text, x, y, toLeft} of labels) {
    const dot = shape('circle', {cx: px(p.x), cy: py(p.y), r: 5, fill: p.row.completed ? colourOf(p.row.variant) : 'none', stroke: colourOf(p.row.variant), 'stroke-width': 2});
    dot.append(shape('title', {}, `${rowName(p.row)}: ${number(p.x, 3)} ${unit}, perplexity ${number(p.y)}${p.row.completed ? '' : ', not trained to its end'}`));
    svg.append(dot, shape('text', {class: 'tag', x, y, 'text-anchor': toLeft ? 'end' : 'start'}, text));
  }
  return figure(title, 'Below and to the left is better; the dashed line joins the variants that no other beats on both.', svg,
                () => [['variant', unit, 'perplexity', 'trained to its end'], ...points.map((p) => [rowName(p.row), p.x, p.y, p.row.completed])]);
}

function costSection() {
  if (!hasCost) return null;
  const charts = [paretoChart('Perplexity and communication', 'communication_gb', 'GB a token'),
                  paretoChart('Perplexity and latency', 'latency_minutes', 'minutes a token')].filter(Boolean);
  if (charts.length === 0) return null;
  return section('cost', 'Private inference',
      note('Modelled cost of generating one token from a full context between two parties (semi-honest, 80 ms round trip, the bandwidth that published rows imply). ' +
           'The cost model is fitted at 768 wide; small models are extrapolations. Hollow points were not trained to their end.'),
      element('div', {class: 'charts'}, ...charts));
}
