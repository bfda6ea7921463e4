#!/usr/bin/env python3
"""Draws the panels of a Grafana dashboard file from a Prometheus' data, as one SVG. Drawn by us, with Grafana's layout, queries and units;
not by Grafana.

    draw.py DASHBOARD.json PROMETHEUS_URL BEGIN END OUT.svg [--set sweep=NAME] [--set run=ID]     times in Unix seconds
"""
import argparse
import datetime
import json
import pathlib
import re
import urllib.parse
import urllib.request

import panels

COLUMN, ROW, GAP, HEAD = 50, 30, 6, 26
POINTS = 110
KINDS = {"timeseries": panels.time_series, "status-history": panels.heat_rows, "stat": panels.stat, "bargauge": panels.bar_gauge}


class Prometheus:
    def __init__(self, url, begin, end):
        self.url, self.begin, self.end = url, begin, end
        self.step = max(round((end - begin) / POINTS, 2), 0.25)

    def ask(self, path, **parameters):
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
            return json.load(answer)["data"]["result"]

    def now(self, promql):
        return self.ask("query", query=promql, time=self.end)

    def over_time(self, promql):
        return self.ask("query_range", query=promql, start=self.begin, end=self.end, step=self.step)


def series_name(legend, labels):
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), legend) or ", ".join(f"{k}={v}" for k, v in labels.items())


def range_points(values, times):
    known = {round(float(time), 3): float(value) for time, value in values}
    return [(time, known.get(round(time, 3))) for time in times]


def natural(text):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


class Board:
    def __init__(self, dashboard, prometheus, variables):
        self.dashboard, self.prometheus, self.variables = dashboard, prometheus, variables

    def about(self, promql):
        for name, value in self.variables.items():
            promql = promql.replace("$" + name, value)
        span = max(int(self.prometheus.end - self.prometheus.begin), 1)
        return promql.replace("$__rate_interval", "15s").replace("$__range", f"{span}s")

    def times(self):
        one = self.prometheus
        return [one.begin + i * one.step for i in range(int((one.end - one.begin) / one.step) + 1)]

    def series(self, panel):
        found = []
        for target in panel["targets"]:
            promql = self.about(target["expr"])
            if target["range"]:
                found += [{"name": series_name(target["legendFormat"], one["metric"]), "step": self.prometheus.step,
                           "points": range_points(one["values"], self.times())} for one in self.prometheus.over_time(promql)]
            else:
                found += [{"name": series_name(target["legendFormat"], one["metric"]), "value": float(one["value"][1])}
                          for one in self.prometheus.now(promql)]
        return sorted(found, key=lambda one: natural(one["name"])) if len(panel["targets"]) == 1 else found

    def marks(self):
        """Times of verdicts, by the dashboard's own annotations."""
        found = set()
        for one in self.dashboard["annotations"]["list"]:
            for series in self.prometheus.over_time(self.about(one["expr"])):
                found |= {float(value) / 1000 for _, value in series["values"]}
        return sorted(time for time in found if self.prometheus.begin <= time <= self.prometheus.end)

    def drawing(self, panel, marks, width, height):
        if panel["type"] == "table":
            return panels.table(*self.table(panel), width, height)
        series = self.series(panel)
        draw = KINDS[panel["type"]]
        if panel["type"] in ("timeseries", "status-history"):
            return draw(panel, series, (self.prometheus.begin, self.prometheus.end), marks, width, height)
        return draw(panel, series, width, height)

    def table(self, panel):
        steps = {one["id"]: one["options"] for one in panel["transformations"]}
        if "groupingToMatrix" in steps:
            return self.matrix(panel, steps["groupingToMatrix"])
        return self.merged_table(panel, steps["organize"]["renameByName"])

    def matrix(self, panel, options):
        values = {(one["metric"][options["rowField"]], one["metric"][options["columnField"]]): float(one["value"][1])
                  for one in self.prometheus.now(self.about(panel["targets"][0]["expr"]))}
        columns = sorted({column for _, column in values})
        rows = []
        for name in sorted({row for row, _ in values}):
            shares = [values.get((name, column), 0.0) for column in columns]
            rows.append([(name, None)] + [(f"{100 * share:.0f} %", f"rgba(61,113,217,{0.08 + 0.7 * share:.2f})") for share in shares])
        return [f"{options['rowField']} \\ {options['columnField']}", *columns], rows

    def merged_table(self, panel, names):
        unit = panel["fieldConfig"]["defaults"]["unit"]
        units = {one["matcher"]["options"]: one["properties"][0]["value"] for one in panel["fieldConfig"]["overrides"]}
        rows, labels = {}, []
        for target, column in zip(panel["targets"], names.values()):
            for one in self.prometheus.now(self.about(target["expr"])):
                labels = sorted(one["metric"])
                rows.setdefault(tuple(one["metric"][name] for name in labels), {})[column] = float(one["value"][1])
        first, descending = next(iter(names.values())), panel["options"]["sortBy"][0]["desc"]
        missing = float("-inf") if descending else float("inf")
        ordered = sorted(rows.items(), key=lambda item: item[1].get(first, missing), reverse=descending)
        number = panels.numbers.text
        cells = [[(text, None) for text in key] +
                 [(number(values[column], units.get(column, unit)) if column in values else "", None) for column in names.values()]
                 for key, values in ordered]
        return [*labels, *names.values()], cells

    def svg(self):
        marks = self.marks()
        width = 24 * COLUMN + GAP
        top = 44
        parts = []
        for panel in self.dashboard["panels"]:
            place = panel["gridPos"]
            x, y = place["x"] * COLUMN + GAP, place["y"] * ROW + GAP + top
            w, h = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
            inside = self.drawing(panel, marks, w, h - HEAD)
            title = panels.label(12, 18, panels.shortened(panel["title"], w - 20, 13), 13, weight="bold")
            parts.append(f'<g transform="translate({x} {y})"><rect width="{w}" height="{h}" rx="4" fill="#fff" stroke="#d0d7de"/>{title}'
                         f'<g transform="translate(0 {HEAD})">{inside}</g></g>')
        height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in self.dashboard["panels"]) * ROW + GAP + top
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
                f'font-family="Helvetica, Arial, sans-serif"><rect width="100%" height="100%" fill="#f6f8fa"/>{self.headline()}{"".join(parts)}</svg>\n')

    def headline(self):
        about = ", ".join(f"{name} = {value}" for name, value in self.variables.items())
        day = datetime.datetime.fromtimestamp(self.prometheus.begin, datetime.timezone.utc)
        note = f"times from the start, {day:%H:%M:%S} UTC; red: a verdict of a health rule"
        return panels.label(GAP + 4, 28, f'{self.dashboard["title"]}   {about}', 16, weight="bold") + panels.label(24 * COLUMN, 28, note, 11, panels.FAINT, "end")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dashboard", type=pathlib.Path)
    parser.add_argument("url")
    parser.add_argument("begin", type=float)
    parser.add_argument("end", type=float)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    flags = parser.parse_args()
    prometheus = Prometheus(flags.url.rstrip("/"), flags.begin, flags.end)
    board = Board(json.loads(flags.dashboard.read_text()), prometheus, dict(one.split("=", 1) for one in flags.set))
    flags.out.write_text(board.svg())


if __name__ == "__main__":
    main()
