// Curves, provenance, and the page as a whole.

function curveFigure(title, field, {log, dots, note: caption, yLabel}) {
  const runs = report.runs.filter((run) => run[field].s.length > 0);
  if (runs.length === 0) return null;
  const hidden = new Set();
  const state = {log};
  const holder = element('div', {style: 'min-height: 200px'});
  const xMax = Math.max(...runs.map((run) => run.steps), 1);
  const draw = () => {
    const series = [];
    const points = [];
    for (const variant of variants.filter((v) => !hidden.has(v))) {
      const own = runs.filter((run) => run.variant === variant);
      const many = own.length > 1;
      for (const run of own) {
        const last = run[field].s.length - 1;
        series.push({name: run.label, x: run[field].s, y: run[field].v, colour: colourOf(variant), dash: dashOf(variant),
                     width: many || !dots ? 1 : 1.8, opacity: many || !dots ? Math.max(0.06, 0.35 / Math.sqrt(own.length / 2)) : 1, dots: dots && !many, silent: many || !dots});
        if (run.stopped && last >= 0 && run[field].v[last] !== null) points.push({x: run[field].s[last], y: run[field].v[last]});
      }
      if (many || !dots) {
        const bins = dots ? Math.min(60, Math.max(...own.map((run) => run[field].s.length), 1)) : 60;
        const mean = dots ? meanAtSteps(own.map((run) => run[field])) : meanCurve(own.map((run) => run[field]), xMax, bins);
        series.push({name: variant, x: mean.x, y: mean.y, colour: colourOf(variant), dash: dashOf(variant), width: 2.2, dots: dots});
      }
    }
    const chart = lineChart({width: 600, height: 320, series, log: state.log, xRange: [0, xMax], xLabel: 'step', points, name: `${title} over steps by variant`});
    holder.replaceChildren(chart);
  };
  const scale = element('input', {type: 'checkbox', onchange: (event) => { state.log = event.target.checked; draw(); }});
  scale.checked = log;
  const legend = element('div', {class: 'legend', role: 'group', 'aria-label': `Variants in ${title}`}, ...variants.map((variant) => {
    const button = element('button', {type: 'button', 'aria-pressed': 'true', onclick: () => {
      if (!hidden.delete(variant)) hidden.add(variant);
      button.setAttribute('aria-pressed', String(!hidden.has(variant)));
      draw();
    }}, element('span', {class: 'swatch', style: `background:${colourOf(variant)}`}), variant);
    return button;
  }));
  whenNear(holder, draw);
  const made = figure(title, caption, holder, element('div', {class: 'controls'}, element('label', {}, scale, `logarithmic ${yLabel}`)), legend);
  // The holder's chart changes; save what is shown.
  made.querySelector('.head button').onclick = () => download(`${fileName(title)}.svg`, 'image/svg+xml', standalone(holder.firstChild));
  return made;
}

// Evaluations come at the same steps for every seed.
function meanAtSteps(curves) {
  const sums = new Map();
  for (const curve of curves) {
    curve.s.forEach((step, i) => {
      if (curve.v[i] === null) return;
      const entry = sums.get(step) ?? {sum: 0, n: 0};
      entry.sum += curve.v[i];
      ++entry.n;
      sums.set(step, entry);
    });
  }
  const steps = [...sums.keys()].sort((a, b) => a - b);
  return {x: steps, y: steps.map((step) => sums.get(step).sum / sums.get(step).n)};
}

function curvesSection() {
  return section('curves', 'Curves',
      note('Bold: mean over a variant’s runs. Thin: every run. A cross is where a rule stopped one. The axes leave out the first twentieth of the steps when they choose their range.'),
      element('div', {class: 'charts'}, ...[
        curveFigure('Training loss', 'loss', {log: false, dots: false, yLabel: 'loss', note: 'Cross-entropy, nats a token; the bold line averages a sixtieth of the steps.'}),
        curveFigure('Evaluation perplexity', 'eval', {log: true, dots: true, yLabel: 'perplexity', note: 'Held-out text, at every evaluation.'}),
        curveFigure('Gradient norm', 'grad', {log: true, dots: false, yLabel: 'norm', note: 'Global L2 norm before clipping.'}),
        curveFigure('Largest attention score', 'score', {log: true, dots: false, yLabel: 'score', note: 'Largest absolute score of any layer: it grows out of bounds when heads collapse.'})].filter(Boolean)));
}

function provenanceSection() {
  const facts = element('dl');
  for (const [term, text] of [['Sweep', `${report.name} (${report.id})`], ['Owner', report.owner], ['Data', report.dataset], ['Program', report.build], ['Hardware', report.hardware]]) {
    if (text) facts.append(element('dt', {}, term), element('dd', {}, text));
  }
  const columns = ['run', 'id', 'state', 'parameters', 'layers × heads', 'context', 'ranks', 'attempts', 'steps', 'counted'];
  const rows = report.runs.map((run) => element('tr', {}, ...[run.label, run.id, run.state, short(run.parameters), `${run.layers} × ${run.heads}`, String(run.context),
      String(run.ranks), String(run.attempts), String(run.steps), String(run.result.step)].map((text, i) => element('td', {class: i < 3 ? 'text' : null}, text))));
  const table = element('details', {}, element('summary', {}, `All ${plural(report.runs.length, 'run')}`), element('div', {class: 'scroll'},
      element('table', {'aria-label': 'Runs'}, element('thead', {}, element('tr', {}, ...columns.map((c, i) => element('th', {scope: 'col', class: i < 3 ? 'text' : null}, c)))), element('tbody', {}, ...rows))));
  const configs = element('details', {}, element('summary', {}, 'Configuration of every run'));
  configs.addEventListener('toggle', () => {
    if (configs.childElementCount > 1) return;
    configs.append(element('pre', {tabindex: 0}, report.runs.map((run) => `${run.label}\n${run.config}`).join('\n\n')));
  });
  const yaml = report.yaml ? element('details', {}, element('summary', {}, 'Sweep file'), element('pre', {tabindex: 0}, report.yaml)) : null;
  return section('provenance', 'Provenance', facts, table, configs, yaml);
}

function fillPage() {
  fillHeader();
  const main = document.getElementById('main');
  const before = [summarySection(), leaderboardSection(), paperSection(), costSection(), curvesSection()].filter(Boolean);
  // The bar that chooses runs stays in sight over the sections that obey it.
  const chosen = [layersSection(), heatSection(), thetaSection()].filter(Boolean);
  const after = [bandsSection(), stopsSection(), provenanceSection()];
  const contents = document.getElementById('contents');
  for (const part of [...before, ...chosen, ...after]) {
    contents.append(element('a', {href: `#${part.id}`}, part.querySelector('h2').textContent));
  }
  main.append(...before, element('div', {}, filterBar(), ...chosen), ...after);
}

fillPage();
