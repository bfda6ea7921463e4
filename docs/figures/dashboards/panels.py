"""Panels of a Grafana dashboard as SVG. A panel is drawn into (0, 0, width, height) from the answers to its queries."""
import html
import math

import number_text as numbers

INK, FAINT, GRID = "#24292f", "#57606a", "#e4e7eb"
COLOURS = ["#3d71d9", "#d9822b", "#2f9e6e", "#c5489a", "#8a63d2", "#b8a500", "#1aa0b8", "#c4432b", "#6b7785", "#5b8c2a", "#a0522d", "#0b4f9e"]
VIRIDIS = [(68, 1, 84), (70, 50, 126), (54, 92, 141), (39, 127, 142), (31, 161, 135), (74, 193, 109), (160, 218, 57), (253, 231, 37)]
HEAT_LEVELS = 24


def colour(index):
    return COLOURS[index % len(COLOURS)]


def label(x, y, content, size=11, fill=INK, anchor="start", weight="normal"):
    bold = f' font-weight="{weight}"' if weight != "normal" else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size:.3g}" fill="{fill}" text-anchor="{anchor}"{bold}>{html.escape(content)}</text>'


def shortened(content, width, size=11):
    room = max(int(width / (size * 0.56)), 3)
    return content if len(content) <= room else content[:room - 1] + "…"


def heat_colour(share):
    """Of 0 to 1, in HEAT_LEVELS steps, so that neighbours merge."""
    share = round(min(max(share, 0), 1) * HEAT_LEVELS) / HEAT_LEVELS * (len(VIRIDIS) - 1)
    low = min(int(share), len(VIRIDIS) - 2)
    part = share - low
    return "#" + "".join(f"{round(a + part * (b - a)):02x}" for a, b in zip(VIRIDIS[low], VIRIDIS[low + 1]))


class Frame:
    """The axes of a panel over time: where a time and a value lie."""

    def __init__(self, span, low, high, box):
        self.span, self.low, self.high = span, low, high
        self.x0, self.y0, self.x1, self.y1 = box

    def x(self, time):
        begin, end = self.span
        return self.x0 + (time - begin) / (end - begin) * (self.x1 - self.x0)

    def y(self, value):
        return self.y1 - (value - self.low) / (self.high - self.low) * (self.y1 - self.y0)

    def axes(self, unit):
        parts = []
        for value in numbers.ticks(self.low, self.high):
            y = self.y(value)
            parts.append(f'<path d="M{self.x0:.0f} {y:.1f}H{self.x1:.0f}" stroke="{GRID}"/>')
            parts.append(label(self.x0 - 5, y + 4, numbers.text(value, unit), 10, FAINT, "end"))
        return "".join(parts) + self.time_axis()

    def time_axis(self):
        begin, end = self.span
        parts = []
        for offset in numbers.time_ticks(end - begin):
            x = self.x(begin + offset)
            parts.append(label(min(x, self.x1 - 8), self.y1 + 13, numbers.clock(offset), 10, FAINT, "middle"))
        return "".join(parts)

    def marks(self, times):
        """Where a verdict fell."""
        return "".join(f'<path d="M{self.x(time):.1f} {self.y0:.0f}V{self.y1:.0f}" stroke="#d1242f" stroke-dasharray="3 2"/>' for time in times)


def line_path(points):
    """A path that breaks where a value is missing."""
    text, pen_up = [], True
    for x, y in points:
        if y is None:
            pen_up = True
            continue
        text.append(f'{"M" if pen_up else "L"}{x:.1f} {y:.1f}')
        pen_up = False
    return "".join(text)


def legend(names, x, y, width, rows):
    parts, at, row = [], x, 0
    for index, name in enumerate(names):
        name = shortened(name, width / 2)
        needed = 20 + 6.1 * len(name)
        rest = 62 if row == rows - 1 and index < len(names) - 1 else 0
        if at + needed > x + width - rest and at > x:
            at, row = x, row + 1
        if row >= rows:
            return "".join(parts) + label(x + width, y + (rows - 1) * 15, f"and {len(names) - index} more", 10, FAINT, "end")
        parts.append(f'<rect x="{at:.0f}" y="{y + row * 15 - 7:.0f}" width="9" height="3" fill="{colour(index)}"/>')
        parts.append(label(at + 12, y + row * 15 - 2, name, 10, FAINT))
        at += needed
    return "".join(parts)


def value_range(values, unit, stacked):
    values = [value for value in values if value is not None and math.isfinite(value)]
    if unit == "percentunit" and all(0 <= value <= 1 for value in values):
        return 0, 1
    low, high = (min(values), max(values)) if values else (0, 1)
    if stacked or 0 <= low < high / 2 or low == high:
        low = min(low, 0)
    margin = (high - low) * 0.06 or 1
    return (low if low == 0 else low - margin), high + margin


def stacked_areas(series, frame):
    parts, base = [], {}
    for index, one in enumerate(series):
        top = [(time, base.get(time, 0) + (value or 0)) for time, value in one["points"]]
        edge = "".join(f'{"L" if i else "M"}{frame.x(time):.1f} {frame.y(value):.1f}' for i, (time, value) in enumerate(top))
        back = "".join(f"L{frame.x(time):.1f} {frame.y(base.get(time, 0)):.1f}" for time, _ in reversed(top))
        if any(value for _, value in one["points"]):
            parts.append(f'<path d="{edge}{back}Z" fill="{colour(index)}" fill-opacity="0.6"/>')
        base.update(top)
    return "".join(parts)


def stack_top(series):
    total = {}
    for one in series:
        for time, value in one["points"]:
            total[time] = total.get(time, 0) + (value or 0)
    return list(total.values())


def nothing(panel, width, height):
    return label(width / 2, height / 2, panel["fieldConfig"]["defaults"].get("noValue", "No data"), 12, FAINT, "middle")


def time_series(panel, series, span, marks, width, height):
    unit = panel["fieldConfig"]["defaults"]["unit"]
    stacked = "stacking" in panel["fieldConfig"]["defaults"].get("custom", {})
    values = stack_top(series) if stacked else [value for one in series for _, value in one["points"]]
    rows = 2 if len(series) > 4 else 1
    frame = Frame(span, *value_range(values, unit, stacked), (58, 8, width - 12, height - 20 - 15 * rows))
    parts = [frame.axes(unit)]
    if stacked:
        parts.append(stacked_areas(series, frame))
    else:
        for index, one in enumerate(series):
            points = [(frame.x(time), None if value is None or not math.isfinite(value) else frame.y(value)) for time, value in one["points"]]
            parts.append(f'<path d="{line_path(points)}" fill="none" stroke="{colour(index)}" stroke-width="1.4"/>')
    if not series:
        parts.append(nothing(panel, width, height))
    parts.append(frame.marks(marks))
    parts.append(legend([one["name"] for one in series], 58, height - 15 * rows + 10, width - 70, rows))
    return "".join(parts)


def heat_rows(panel, series, span, marks, width, height):
    frame = Frame(span, 0, 1, (58, 4, width - 12, height - 38))
    row = (frame.y1 - frame.y0) / max(len(series), 1)
    step = series[0]["step"] if series else 1
    fills = {}
    for index, one in enumerate(series):
        y = frame.y0 + index * row
        for begin, end, shade in merged(one["points"], step):
            rect = f"M{frame.x(begin):.1f} {y:.1f}H{frame.x(min(end, span[1])):.1f}v{row:.1f}H{frame.x(begin):.1f}Z"
            fills.setdefault(shade, []).append(rect)
    parts = ['<g shape-rendering="crispEdges">']
    parts += [f'<path d="{"".join(rects)}" fill="{shade}"/>' for shade, rects in fills.items()] + ["</g>"]
    parts += [label(frame.x0 - 5, frame.y0 + (index + 0.5) * row + 4, one["name"], min(10, row), FAINT, "end") for index, one in enumerate(series)]
    return "".join(parts) + frame.time_axis() + frame.marks(marks) + heat_scale(width, height)


def merged(points, step):
    """Neighbours of one shade as (begin, end, shade)."""
    runs = []
    for time, value in points:
        shade = heat_colour(value) if value is not None and math.isfinite(value) else None
        if runs and runs[-1][2] == shade and time - runs[-1][1] < step / 2:
            runs[-1][1] = time + step
        else:
            runs.append([time, time + step, shade])
    return [run for run in runs if run[2]]


def heat_scale(width, height):
    boxes = "".join(f'<rect x="{width - 202 + 4 * i}" y="{height - 16}" width="4" height="9" fill="{heat_colour(i / 35)}"/>' for i in range(36))
    return f'<g shape-rendering="crispEdges">{boxes}</g>' + label(width - 207, height - 8, "0", 10, FAINT, "end") + label(width - 53, height - 8, "1 = U", 10, FAINT)


def stat(panel, series, width, height):
    if not series:
        return nothing(panel, width, height)
    shown = series[:10]
    columns = min(len(shown), 5) or 1
    rows = math.ceil(len(shown) / columns)
    parts = []
    for index, one in enumerate(shown):
        x = (index % columns + 0.5) * width / columns
        y = (index // columns + 0.5) * height / rows
        parts.append(label(x, y + 4, numbers.text(one["value"], panel["fieldConfig"]["defaults"]["unit"]), 22, INK, "middle"))
        parts.append(label(x, y + 21, shortened(one["name"], width / columns), 10, FAINT, "middle"))
    return "".join(parts)


def bar_gauge(panel, series, width, height):
    if not series:
        return nothing(panel, width, height)
    unit = panel["fieldConfig"]["defaults"]["unit"]
    most = panel["fieldConfig"]["defaults"].get("max") or max([one["value"] for one in series] + [1e-12])
    row = min((height - 8) / max(len(series), 1), 34)
    parts = []
    for index, one in enumerate(series):
        y = 6 + index * row
        room = width * 0.34
        parts.append(label(room - 8, y + row / 2 + 4, shortened(one["name"], room - 14), 11, INK, "end"))
        parts.append(f'<rect x="{room:.0f}" y="{y + 3:.0f}" width="{width - room - 70:.0f}" height="{row - 6:.0f}" fill="{GRID}"/>')
        filled = (width - room - 70) * min(max(one["value"] / most, 0), 1)
        parts.append(f'<rect x="{room:.0f}" y="{y + 3:.0f}" width="{filled:.1f}" height="{row - 6:.0f}" fill="#2f9e6e"/>')
        parts.append(label(width - 62, y + row / 2 + 4, numbers.text(one["value"], unit), 11))
    return "".join(parts)


def table(columns, rows, width, height):
    """`rows` of (text, background or None); as many as there is room for."""
    widths = [max([len(str(name))] + [len(row[i][0]) for row in rows]) + 2 for i, name in enumerate(columns)]
    scale = (width - 24) / sum(widths)
    parts, y = [], 18
    for index, name in enumerate(columns):
        parts.append(label(12 + scale * sum(widths[:index]), y, name, 11, FAINT, weight="bold"))
    for row in rows:
        y += 22
        if y > height - 6:
            return "".join(parts) + label(width - 12, height - 4, f"{len(rows)} rows in all", 10, FAINT, "end")
        for index, (content, background) in enumerate(row):
            x = 12 + scale * sum(widths[:index])
            if background:
                parts.append(f'<rect x="{x - 6:.0f}" y="{y - 15:.0f}" width="{scale * widths[index] - 2:.0f}" height="20" fill="{background}"/>')
            parts.append(label(x, y, shortened(content, scale * widths[index]), 11))
        parts.append(f'<path d="M12 {y + 6}H{width - 12:.0f}" stroke="{GRID}"/>')
    return "".join(parts)
