// The sweep beside the paper's printed figures. Each side has columns of its own: sizes and texts differ.

function paperMetric(metric, digits) {
  const printed = (row) => row.paper_diverged ? 'NaN' : row.paper_low === null ? '–'
      : row.paper_low === row.paper_high ? number(row.paper_low, digits) : `${number(row.paper_low, digits)} to ${number(row.paper_high, digits)}`;
  const here = (row) => number(row.here, digits) + (row.here_spread === null ? '' : ` ± ${number(row.here_spread, digits)}`);
  const rank = (value) => (value ? String(value) : '');
  const columns = ['', 'paper', 'rank', 'sign', 'here', 'rank', 'sign', 'n'];
  const body = metric.rows.map((row) => element('tr', {}, ...[row.row, printed(row), rank(row.paper_rank), row.paper_sign, here(row), rank(row.here_rank),
      row.here_sign, String(row.n)].map((text, i) => element('td', {class: i === 0 ? 'text' : null}, text))));
  const pairs = metric.pairs_same + metric.pairs_opposite + metric.pairs_unsure;
  return element('div', {}, element('h3', {}, metric.metric),
      element('div', {class: 'scroll'}, element('table', {'aria-label': `${metric.metric} beside the paper`},
          element('thead', {}, element('tr', {}, ...columns.map((title, i) => element('th', {scope: 'col', class: i === 0 ? 'text' : null}, title)))),
          element('tbody', {}, ...body))),
      pairs ? note(`Of ${plural(pairs, 'pair')} that the paper orders, here ${metric.pairs_same} agree, ${metric.pairs_opposite} are opposite, ${metric.pairs_unsure} are not told apart.`) : null);
}

function paperSection() {
  const paper = report.paper;
  if (!paper) return null;
  const size = paper.full_scale ? `${paper.size}, the paper’s size.` : `${paper.size}, another size than the paper’s: compare ranks and signs, not figures.`;
  return section('paper', `Beside the paper: ${paper.title.charAt(0).toLowerCase()}${paper.title.slice(1)}`,
      note(`Paper: ${paper.source}. Here: ${size} Rank 1 is the smallest; signs are against ${paper.reference}; one in brackets has less than 3 seeds or two standard errors.`),
      ...paper.metrics.map((metric) => paperMetric(metric, 2)));
}
