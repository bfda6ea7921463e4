// What became of runs after a decision: rescues beside what they go on from, and the rungs of early stopping.

function lineageText(run) {
  const name = (id) => (runOf.has(id) ? `${runOf.get(id).label} (${id})` : id);
  if (run.rescued_by) return `rescued as ${name(run.rescued_by)}`;
  if (run.rescue_of) return `rescue of ${name(run.rescue_of)}, from ${run.fork_step ? `its step ${run.fork_step}` : 'the start'}`;
  return '';
}

// Mean share of U of the layer that is lowest, at every point of the run's curve.
function lowestLayer(run) {
  const y = run.entropy.s.map((_, p) => {
    const means = Array.from({length: run.layers}, (__, layer) => shareOf(run.layerShares[(p * run.layers + layer) * 3 + 1]));
    return means.some(Number.isNaN) ? null : Math.min(...means);
  });
  return {s: run.entropy.s, v: y};
}

function rescueFigure(title, before, after, curveOf, options) {
  const holder = element('div', {style: 'aspect-ratio: 480/220'});
  const curves = [before, after].map((run) => ({run, curve: curveOf(run)}));
  whenNear(holder, () => {
    const series = curves.map(({run, curve}, i) => ({name: run.label, x: curve.s, y: curve.v, colour: i === 0 ? 'var(--bad)' : 'var(--accent)', width: 1.6}));
    const xMax = Math.max(...curves.map(({curve}) => curve.s[curve.s.length - 1] ?? 0), 1);
    holder.replaceWith(lineChart({width: 480, height: 220, series, xRange: [0, xMax], xLabel: 'step', keepOrder: true, stops: before.verdict ? [{x: before.verdict.step}] : [],
                                  name: `${title}: ${before.label} until it was stopped, and its rescue`, ...options}));
  });
  const csv = () => [['run', 'step', title], ...curves.flatMap(({run, curve}) => curve.s.map((step, i) => [run.label, step, curve.v[i]]))];
  return figure(`${title}: ${after.label}`, `From step ${after.fork_step}; the dashed line is the verdict that stopped ${before.label}.`, holder, csv);
}

function rescuesSection() {
  const pairs = report.runs.filter((run) => run.rescue_of && runOf.has(run.rescue_of)).map((run) => [runOf.get(run.rescue_of), run]);
  if (pairs.length === 0) return null;
  const rows = pairs.map(([before, after]) => element('tr', {}, ...[before.label, before.verdict ? String(before.verdict.step) : '–', after.label, String(after.fork_step),
      after.state, number(before.result.perplexity), number(after.result.perplexity)].map((text, i) => element('td', {class: [0, 2, 4].includes(i) ? 'text' : null}, text))));
  const titles = ['stopped', 'at step', 'rescue', 'from step', 'state', 'perplexity before', 'after'];
  const legend = element('div', {class: 'legend', 'aria-hidden': 'true'}, ...[['stopped', '--bad'], ['rescue', '--accent']].map(([text, colour]) =>
      element('span', {}, element('span', {class: 'swatch', style: `background:var(${colour})`}), text)));
  const shown = pairs.slice(0, 12).flatMap(([before, after]) => [
    rescueFigure('Training loss', before, after, (run) => run.loss, {}),
    rescueFigure('Lowest layer, share of U', before, after, lowestLayer, {yRange: [0, 1], limitBelow: COLLAPSED_SHARE})]);
  return section('rescues', 'Rescues', note('A rescue goes on from the last healthy checkpoint of a stopped run with other settings. It counts as a run of its own.'),
      element('div', {class: 'scroll'}, element('table', {'aria-label': 'Rescues'},
          element('thead', {}, element('tr', {}, ...titles.map((t, i) => element('th', {scope: 'col', class: [0, 2, 4].includes(i) ? 'text' : null}, t)))), element('tbody', {}, ...rows))),
      legend, element('div', {class: 'charts'}, ...shown));
}

// ---- early stopping ----

const RUNG_WORDS = {promoted: 'went on', pruned: 'stopped', held: 'waits', '': 'reported'};

function rungsSection() {
  const runs = report.runs.filter((run) => run.rungs.length > 0);
  if (runs.length === 0) return null;
  const steps = [...new Set(runs.flatMap((run) => run.rungs.map((rung) => rung.step)))].sort((a, b) => a - b);
  const valueAt = (run, step) => run.rungs.find((rung) => rung.step === step);
  // Who came furthest first, then the lower value there.
  const furthest = (run) => run.rungs[run.rungs.length - 1];
  const sorted = [...runs].sort((a, b) => furthest(b).step - furthest(a).step || (furthest(a).value ?? Infinity) - (furthest(b).value ?? Infinity));
  const cell = (rung) => {
    if (!rung) return element('td', {}, '');
    return element('td', {class: rung.outcome === 'pruned' ? 'state bad' : null, title: rung.reason || null}, `${number(rung.value, 4)} ${RUNG_WORDS[rung.outcome] ?? rung.outcome}`);
  };
  const rows = sorted.map((run) => element('tr', {}, element('td', {class: 'text'}, run.label), ...steps.map((step) => cell(valueAt(run, step))),
                                           element('td', {class: 'text'}, run.state)));
  const metric = runs[0].rungs[0].metric === 'train_loss' ? 'training loss' : 'held-out loss';
  const csv = () => [['run', 'step', 'metric', 'value', 'outcome', 'reason'], ...sorted.flatMap((run) => run.rungs.map((rung) => [run.label, rung.step, rung.metric, rung.value, rung.outcome, rung.reason]))];
  return section('rungs', 'Rungs of early stopping',
      note(`At each rung the runs are compared by their ${metric} (nats a token); the lower ones go on.`),
      element('div', {class: 'scroll'}, element('table', {'aria-label': 'Rungs of early stopping'},
          element('thead', {}, element('tr', {}, element('th', {scope: 'col', class: 'text'}, 'run'), ...steps.map((step) => element('th', {scope: 'col'}, `step ${step}`)),
                                       element('th', {scope: 'col', class: 'text'}, 'state'))), element('tbody', {}, ...rows))),
      element('div', {class: 'controls'}, element('button', {class: 'plain', type: 'button', onclick: () => download('rungs.csv', 'text/csv', csvText(csv()))}, 'Rungs as CSV')));
}
