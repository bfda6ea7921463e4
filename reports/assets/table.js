// Summary, leaderboard, stops.

function rowName(row) {
  return row.axes ? `${row.variant} ${row.axes}` : row.variant;
}

const stoppedRuns = report.runs.filter((run) => run.stopped);

function tile(value, label) {
  return element('div', {class: 'tile'}, element('b', {}, value), element('span', {}, label));
}

function fillHeader() {
  const when = report.created_ms ? `submitted ${new Date(report.created_ms).toISOString().slice(0, 16).replace('T', ' ')} UTC` : '';
  const parts = [`sweep ${report.id}`, report.owner ? `by ${report.owner}` : '', when, report.dataset];
  document.getElementById('subtitle').textContent = parts.filter(Boolean).join(' · ');
  const best = report.rows[0];
  const hasBest = best && best.completed && best.perplexity_mean !== null;
  const planned = report.runs.reduce((sum, run) => sum + run.steps, 0);
  const saved = stoppedRuns.reduce((sum, run) => sum + Math.max(run.steps - run.result.step, 0), 0);
  const succeeded = report.runs.filter((run) => run.state === 'succeeded').length;
  document.getElementById('tiles').append(
      tile(hasBest ? rowName(best) : '–', 'best variant'),
      tile(hasBest ? number(best.perplexity_mean) : '–', 'its perplexity'),
      tile(`${succeeded} of ${report.runs.length}`, 'runs succeeded'),
      tile(String(stoppedRuns.length), 'stopped by rule'),
      tile(planned ? `${Math.round((100 * saved) / planned)} %` : '–', 'of all steps saved by stopping'));
}

function summarySection() {
  const list = element('ul', {class: 'summary'});
  for (const line of report.summary) list.append(element('li', {}, line));
  return section('summary', 'Summary', list);
}

function bandsText(counts) {
  const total = counts.reduce((a, b) => a + b, 0);
  return total ? counts.map((c) => Math.round((100 * c) / total)).join(' / ') : '–';
}

function stateCell(row) {
  const text = Object.entries(row.states).map(([state, n]) => (n > 1 ? `${n} ${state}` : state)).join(', ');
  const bad = Object.keys(row.states).some((state) => /^(halted|pruned|failed)/.test(state));
  const cell = element('span', {class: bad ? 'state bad' : 'state'}, text);
  return row.completed || row.perplexity_mean === null ? cell : element('span', {}, cell, ` at step ${row.result_step_max}`);
}

const hasCost = report.rows.some((row) => row.communication_gb !== null);

// title, value to sort by, text (default: the value), is text
const COLUMNS = [
  {title: '#', value: (row) => row.rank, text: (row) => (row.completed ? String(row.rank) : '–')},
  {title: 'variant', value: rowName, textual: true,
   text: (row) => element('span', {}, element('span', {class: 'swatch', style: `background:${colourOf(row.variant)}`}), rowName(row))},
  {title: 'runs', value: (row) => row.n, text: (row) => (row.n === row.runs ? String(row.n) : `${row.n} of ${row.runs}`)},
  {title: 'perplexity', value: (row) => row.perplexity_mean,
   text: (row) => number(row.perplexity_mean) + (row.perplexity_spread === null ? '' : ` ± ${number(row.perplexity_spread)}`)},
  {title: 'training loss', value: (row) => row.loss_mean, text: (row) => number(row.loss_mean, 3)},
  {title: 'tokens/s', value: (row) => row.tokens_per_second_mean,
   text: (row) => (row.tokens_per_second_mean === null ? '–' : short(Math.round(row.tokens_per_second_mean)))},
  {title: 'quarters of ln T, %', value: (row) => row.heads_by_quarter_log_context[0], text: (row) => bandsText(row.heads_by_quarter_log_context)},
  {title: 'of the largest, %', value: (row) => row.heads_by_quarter_observed[0], text: (row) => bandsText(row.heads_by_quarter_observed)},
  ...(hasCost ? [
    {title: 'PI GB', value: (row) => row.communication_gb, text: (row) => number(row.communication_gb)},
    {title: 'PI min', value: (row) => row.latency_minutes, text: (row) => number(row.latency_minutes)}] : []),
  {title: 'state', value: (row) => Object.keys(row.states).join(), text: stateCell, textual: true},
];

function compare(a, b) {
  if (a === b) return 0;
  if (a === null || a === undefined) return 1;
  if (b === null || b === undefined) return -1;
  return typeof a === 'string' ? a.localeCompare(b) : a - b;
}

function leaderboardSection() {
  report.rows.forEach((row, i) => { row.rank = i + 1; });
  const head = element('tr');
  const body = element('tbody');
  const order = {column: 0, down: false};
  const fill = () => {
    const column = COLUMNS[order.column];
    const rows = [...report.rows].sort((a, b) => {
      const va = column.value(a);
      const vb = column.value(b);
      return va === null || vb === null ? compare(va, vb) : compare(va, vb) * (order.down ? -1 : 1);
    });
    body.replaceChildren(...rows.map((row) => element('tr', {class: row.completed ? (row.rank === 1 ? 'best' : null) : 'partial'},
        ...COLUMNS.map((c) => element('td', {class: c.textual ? 'text' : null}, (c.text ?? c.value)(row))))));
    [...head.children].forEach((th, i) => {
      if (i === order.column) th.setAttribute('aria-sort', order.down ? 'descending' : 'ascending');
      else th.removeAttribute('aria-sort');
      th.querySelector('i').textContent = i === order.column ? (order.down ? ' ▾' : ' ▴') : '';
    });
  };
  COLUMNS.forEach((column, i) => head.append(element('th', {scope: 'col', class: column.textual ? 'text' : null},
      element('button', {type: 'button', onclick: () => {
        order.down = order.column === i && !order.down;
        order.column = i;
        fill();
      }}, column.title, element('i', {'aria-hidden': 'true'})))));
  fill();
  const buttons = element('div', {class: 'controls'},
      element('button', {class: 'plain', type: 'button', onclick: () => download('leaderboard.csv', 'text/csv', leaderboardCsv())}, 'Leaderboard as CSV'),
      element('button', {class: 'plain', type: 'button', onclick: () => download('report.json', 'application/json', JSON.stringify(report))}, 'All data as JSON'));
  const partial = report.rows.some((row) => !row.completed && row.perplexity_mean !== null);
  return section('leaderboard', 'Leaderboard',
      note('Perplexity is of the last held-out evaluation, mean ± sample standard deviation over seeds. Quarters are shares of all heads, from the lowest entropies to the highest, by ln T and by the largest entropy observed.'),
      element('div', {class: 'scroll'}, element('table', {'aria-label': 'Leaderboard'}, element('thead', {}, head), body)),
      partial ? note('Grey rows: no run of the variant trained to its end, so its numbers are those of the step shown and not comparable.') : null,
      buttons);
}

function leaderboardCsv() {
  const keys = Object.keys(report.rows[0] ?? {}).filter((key) => key !== 'rank');
  return csvText([keys, ...report.rows.map((row) => keys.map((key) => row[key]))]);
}

// "layer 5: heads 0–3; layer 4: head 1"
function headsText(run, heads) {
  const layers = new Map();
  for (const head of heads) {
    const layer = Math.floor(head / run.heads);
    layers.set(layer, [...(layers.get(layer) ?? []), head % run.heads]);
  }
  const ranges = (list) => {
    const out = [];
    for (const h of [...list].sort((a, b) => a - b)) {
      const last = out[out.length - 1];
      if (last && h === last[1] + 1) last[1] = h;
      else out.push([h, h]);
    }
    return out.map(([a, b]) => (a === b ? `${a}` : `${a}–${b}`)).join(', ');
  };
  return [...layers].sort((a, b) => a[0] - b[0]).map(([layer, list]) => `layer ${layer}: head${list.length > 1 ? 's' : ''} ${ranges(list)}`).join('; ');
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// Mean entropy of the layers that a verdict names, with its step and its limit: what the rule saw.
function evidenceChart(run) {
  const layers = [...new Set(run.verdict.heads.map((head) => Math.floor(head / run.heads)))].sort((a, b) => a - b);
  if (layers.length === 0 || run.entropy.s.length < 2) return null;
  const holder = element('div', {style: 'aspect-ratio: 400/150'});
  whenNear(holder, () => {
    const series = layers.map((layer) => ({name: `layer ${layer}`, x: run.entropy.s, colour: layerColour(layer, run.layers), width: 1.6,
      y: run.entropy.s.map((_, p) => {
        const share = shareOf(run.layerShares[(p * run.layers + layer) * 3 + 1]);
        return Number.isNaN(share) ? null : share * run.bound;
      })}));
    holder.replaceWith(lineChart({width: 400, height: 150, left: 34, series, xRange: [0, run.entropy.s[run.entropy.s.length - 1]], yRange: [0, run.bound], keepOrder: true,
                                  limitBelow: COLLAPSED_SHARE * run.bound, stops: [{x: run.verdict.step}],
                                  name: `Mean head entropy, nats, of ${layers.length === 1 ? 'layer' : 'layers'} ${layers.join(', ')} of ${run.label} up to its stop`}));
  });
  return holder;
}

function evidenceTable(run, verdict) {
  const rows = verdict.steps.map((step, i) => element('tr', {}, element('td', {}, String(step)), element('td', {}, number(verdict.values[i], 4)),
                                                     element('td', {}, number(verdict.limit, 4))));
  return element('div', {class: 'scroll'}, element('table', {'aria-label': `Observations behind the stop of ${run.label}`},
      element('thead', {}, element('tr', {}, ...['step', 'value', 'limit'].map((t) => element('th', {scope: 'col'}, t)))), element('tbody', {}, ...rows)));
}

const fact = (name, text) => element('p', {class: 'small'}, element('span', {class: 'muted'}, `${name}: `), text);

function stopCard(run) {
  const verdict = run.verdict;
  const card = element('article', {class: 'card', 'aria-label': `Stop of ${run.label}`}, element('h3', {}, run.label),
      element('p', {}, `${sentence(run.outcome)} at step ${run.result.step} of ${run.steps}. ${sentence(run.reason)}`));
  const lineage = lineageText(run);
  if (lineage) card.append(fact('Lineage', lineage));
  if (!verdict) return card;
  card.append(fact('Rule', verdict.rule));
  if (verdict.heads.length > 0) card.append(fact('Heads', headsText(run, verdict.heads)));
  if (verdict.steps.length > 0) card.append(evidenceTable(run, verdict));
  const chart = evidenceChart(run);
  if (chart) card.append(element('p', {class: 'small muted'}, 'Mean entropy of these layers, nats:'), chart);
  return card;
}

// Verdicts that only notified, or paused a run.
function noticesTable() {
  const rows = report.runs.flatMap((run) => run.notices.filter(Boolean).map((notice) => element('tr', {},
      ...[run.label, String(notice.step), notice.rule, sentence(notice.text)].map((text, i) => element('td', {class: i === 1 ? null : i === 3 ? 'text wrap' : 'text'}, text)))));
  if (rows.length === 0) return null;
  return element('details', {}, element('summary', {}, `${plural(rows.length, 'verdict')} that stopped nothing`), element('div', {class: 'scroll'},
      element('table', {'aria-label': 'Verdicts that stopped nothing'},
          element('thead', {}, element('tr', {}, ...['run', 'step', 'rule', 'what it saw'].map((t, i) => element('th', {scope: 'col', class: i === 1 ? null : 'text'}, t)))), element('tbody', {}, ...rows))));
}

function stopsSection() {
  const failed = report.runs.filter((run) => run.state === 'failed');
  const notices = noticesTable();
  if (stoppedRuns.length + failed.length === 0) return section('stops', 'Stops', element('p', {}, 'No run was stopped by a rule, and none failed.'), ...[notices].filter(Boolean));
  const cards = element('div', {class: 'stops'});
  const all = [...stoppedRuns, ...failed];
  const show = (n) => {
    cards.replaceChildren(...all.slice(0, n).map(stopCard));
    if (n < all.length) cards.append(element('button', {class: 'plain', type: 'button', onclick: () => show(all.length)}, `Show all ${all.length}`));
  };
  show(24);
  return section('stops', 'Stops and their evidence',
      note('Results of a stopped run are those at the step of the verdict; what it did afterwards is kept and not counted.'), cards, ...[notices].filter(Boolean));
}
