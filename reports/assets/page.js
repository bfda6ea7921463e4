// Curves, provenance, and the page as a whole.

// The stretches that a mean is taken over: of noisy steps, and of evaluations.
const CURVE_BINS = 60;
const EVALUATION_BINS = 240;

function curveFigure(title, field, {log, dots, note: caption, yLabel}) {
  const runs = report.runs.filter((run) => run[field].s.length > 0);
  if (runs.length === 0) return null;
  const hidden = new Set();
  const state = {log};
  const holder = element('div', {style: 'min-height: 200px'});
  const xMax = Math.max(...runs.map((run) => run.steps), 1);
  const groups = groupsOf(runs);
  const rank = new Map();  // of a group among its variant's
  for (const [name, own] of groups) rank.set(name, [...groups].filter(([, other]) => other[0].variant === own[0].variant).findIndex(([other]) => other === name));
  const draw = () => {
    const series = [];
    const areas = [];
    const points = [];
    for (const [name, own] of groups) {
      const variant = own[0].variant;
      if (hidden.has(variant)) continue;
      const colour = colourOf(variant);
      const dash = rank.get(name) > 0 ? ['6 3', '2 3', '8 3 2 3'][(rank.get(name) - 1) % 3] : dashOf(variant);
      const spread = spreadOf(own.map((run) => run[field]), xMax, dots ? EVALUATION_BINS : CURVE_BINS);
      if (own.length > 1) areas.push({x: spread.x, low: spread.low, high: spread.high, colour});
      series.push({name, x: spread.x, y: spread.y, colour, dash, width: 2, dots});
      for (const run of own) {
        const at = run[field].s.findIndex((step) => step >= run.result.step);
        const last = at < 0 ? run[field].s.length - 1 : at;
        if (run.stopped && run[field].v[last] !== null) points.push({x: run[field].s[last], y: run[field].v[last]});
      }
    }
    holder.replaceChildren(lineChart({width: 600, height: 320, series, areas, log: state.log, xRange: [0, xMax], xLabel: 'step', points,
                                      name: `${title} over steps by variant`}));
  };
  const scale = element('input', {type: 'checkbox', onchange: (event) => { state.log = event.target.checked; draw(); }});
  scale.checked = log;
  const legend = element('div', {class: 'legend', role: 'group', 'aria-label': `Variants in ${title}`}, ...variants.map((variant) => {
    const button = element('button', {type: 'button', 'aria-pressed': 'true', onclick: () => {
      if (!hidden.delete(variant)) hidden.add(variant);
      button.setAttribute('aria-pressed', String(!hidden.has(variant)));
      draw();
    }}, lineKey(variant), variant);
    return button;
  }));
  whenNear(holder, draw);
  const csv = () => [['run', 'variant', 'step', yLabel], ...runs.flatMap((run) => run[field].s.map((step, i) => [run.label, run.variant, step, run[field].v[i]]))];
  return figure(title, caption, holder, csv, element('div', {class: 'controls'}, element('label', {}, scale, `logarithmic ${yLabel}`)), legend);
}

function curvesSection() {
  return section('curves', 'Curves',
      note('Line: mean over seeds. Band: from the lowest seed to the highest. A cross is where a rule stopped a run. The axes leave out the first twentieth of the steps when they choose their range.'),
      element('div', {class: 'charts'}, ...[
        curveFigure('Training loss', 'loss', {log: false, dots: false, yLabel: 'loss', note: 'Cross-entropy, nats a token, averaged over a sixtieth of the steps.'}),
        curveFigure('Evaluation perplexity', 'eval', {log: true, dots: true, yLabel: 'perplexity', note: 'Held-out text, at every evaluation.'}),
        curveFigure('Gradient norm', 'grad', {log: true, dots: false, yLabel: 'norm', note: 'Global L2 norm before clipping.'}),
        curveFigure('Largest attention score', 'score', {log: true, dots: false, yLabel: 'score', note: 'Largest absolute score of any layer: it grows out of bounds when heads collapse.'})].filter(Boolean)));
}

// A text too long for the page, in a box of its own that the keyboard can scroll.
const textBox = (name, text) => element('pre', {tabindex: 0, role: 'region', 'aria-label': name}, text);

function provenanceSection() {
  const facts = element('dl');
  const created = report.created_ms ? `${new Date(report.created_ms).toISOString().slice(0, 19).replace('T', ' ')} UTC` : '';
  const thinned = report.runs.filter((run) => run.thinned_every > 0);
  const thinnedText = thinned.length > 0 ? `of ${plural(thinned.length, 'run')} thinned by retention, to one of ${Math.max(...thinned.map((run) => run.thinned_every))} at the most; results and evaluations are complete` : '';
  for (const [term, text] of [['Sweep', `${report.name} (${report.id})`], ['Owner', report.owner], ['Submitted', created], ['Data, by content hash', report.dataset],
      ['Report written by', report.build], ['Trained by', report.worker_versions ? `entrain-worker ${report.worker_versions}` : ''], ['Hardware', report.hardware], ['Samples', thinnedText]]) {
    if (text) facts.append(element('dt', {}, term), element('dd', {}, text));
  }
  const columns = ['run', 'id', 'state', 'configuration hash', 'parameters', 'layers × heads', 'context', 'ranks', 'attempts', 'steps', 'counted'];
  const rowOf = (run) => [run.label, run.id, run.state, run.config_hash, short(run.parameters), `${run.layers} × ${run.heads}`, String(run.context),
      String(run.ranks), String(run.attempts), String(run.steps), String(run.result.step)];
  const rows = report.runs.map((run) => element('tr', {}, ...rowOf(run).map((text, i) => element('td', {class: i < 4 ? 'text' : null}, text))));
  const table = element('details', {}, element('summary', {}, `All ${plural(report.runs.length, 'run')}`), element('div', {class: 'scroll'},
      element('table', {'aria-label': 'Runs'}, element('thead', {}, element('tr', {}, ...columns.map((c, i) => element('th', {scope: 'col', class: i < 4 ? 'text' : null}, c)))), element('tbody', {}, ...rows))));
  const configs = element('details', {}, element('summary', {}, 'Configuration of every run'));
  configs.addEventListener('toggle', () => {
    if (configs.childElementCount > 1) return;
    configs.append(textBox('Configurations', report.runs.map((run) => `${run.label}\n${run.config}`).join('\n\n')));
  });
  const yaml = report.yaml ? element('details', {}, element('summary', {}, 'Sweep file'), textBox('Sweep file', report.yaml)) : null;
  return section('provenance', 'Provenance', facts, table, configs, yaml,
      element('div', {class: 'controls'}, element('button', {class: 'plain', type: 'button', onclick: () => download('runs.csv', 'text/csv', csvText([columns, ...report.runs.map(rowOf)]))}, 'Runs as CSV')));
}

function fillPage() {
  fillHeader();
  const main = document.getElementById('main');
  const before = [summarySection(), leaderboardSection(), paperSection(), costSection(), curvesSection()].filter(Boolean);
  // The bar that chooses runs stays in sight over the sections that obey it.
  const chosen = [layersSection(), heatSection(), thetaSection()].filter(Boolean);
  const after = [bandsSection(), stopsSection(), rescuesSection(), rungsSection(), provenanceSection()].filter(Boolean);
  const contents = document.getElementById('contents');
  for (const part of [...before, ...chosen, ...after]) {
    contents.append(element('a', {href: `#${part.id}`}, part.querySelector('h2').textContent));
  }
  main.append(...before, element('div', {}, filterBar(), ...chosen), ...after);
}

fillPage();
