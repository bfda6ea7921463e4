#!/usr/bin/env python3
"""The drawing of dashboards (docs/figures/dashboards): every kind of panel, and the stored pictures are of the dashboards as they are."""
import json
import math
import pathlib
import sys
import unittest
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs/figures/dashboards"
sys.path.insert(0, str(FIGURES))
import draw  # noqa: E402
import number_text  # noqa: E402
import panels  # noqa: E402

DASHBOARDS = {path.stem.removeprefix("entrain-"): json.loads(path.read_text()) for path in (ROOT / "deploy/grafana/dashboards").glob("*.json")}
LABELS = {"run": "r1", "variant": "SM", "label": "SM <seed=1>", "quarter": "1", "rule": "spike", "action": "notify", "layer": "0", "head": "1"}


class Canned(draw.Prometheus):
    """Two series to every question; one has a hole and a NaN."""

    def now(self, promql):
        self.asked.append(promql)
        return [{"metric": LABELS, "value": [self.end, "0.25"]}, {"metric": {**LABELS, "label": "SM+G", "quarter": "4"}, "value": [self.end, "NaN"]}]

    def over_time(self, promql):
        self.asked.append(promql)
        if "timestamp_seconds" in promql:
            return [{"metric": LABELS, "values": [[self.begin, str(1000 * (self.begin + 20))]]}]
        times = [self.begin + i * self.step for i in range(50)]
        values = [[time, str(0.5 + 0.01 * i)] for i, time in enumerate(times)]
        return [{"metric": LABELS, "values": values}, {"metric": {**LABELS, "layer": "10"}, "values": [[times[3], "NaN"], *values[10:20]]}]


def texts(svg):
    return [element.text for element in xml.etree.ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


class Drawing(unittest.TestCase):
    def board(self, name):
        prometheus = Canned("http://nowhere", 1_700_000_000, 1_700_000_055)
        prometheus.asked = []
        return draw.Board(DASHBOARDS[name], prometheus, {"sweep": "s1", "run": "r1"})

    def test_every_dashboard_is_drawn_whole(self):
        for name in DASHBOARDS:
            board = self.board(name)
            svg = board.svg()
            for panel in board.dashboard["panels"]:
                self.assertIn(panel["title"], texts(svg))
            asked = board.prometheus.asked
            self.assertEqual(len(asked), sum(len(panel["targets"]) for panel in board.dashboard["panels"]) + 1)
            self.assertFalse([promql for promql in asked if "$" in promql], name)

    def test_a_panel_without_data_says_so_in_its_own_words(self):
        fleet = self.board("fleet")
        fleet.prometheus.now = fleet.prometheus.over_time = lambda promql: []
        said = texts(fleet.svg())
        pools = [panel for panel in fleet.dashboard["panels"] if panel["title"].startswith("Pools:")]
        self.assertEqual(said.count("No elastic pool"), len(pools))
        self.assertEqual(said.count("No data"), len(fleet.dashboard["panels"]) - len(pools))

    def test_a_verdict_is_marked_at_its_time(self):
        board = self.board("run")
        self.assertEqual(board.marks(), [1_700_000_020])
        self.assertIn("stroke-dasharray", board.svg())

    def test_a_line_breaks_where_nothing_was_measured(self):
        self.assertEqual(panels.line_path([(0, 1), (1, 2), (2, None), (3, 4)]), "M0.0 1.0L1.0 2.0M3.0 4.0")

    def test_equal_neighbours_of_a_heat_map_merge(self):
        dark, bright = panels.heat_colour(0), panels.heat_colour(1)
        self.assertEqual(panels.merged([(0, 0), (1, 0), (2, 1), (3, None), (4, math.nan), (5, 1)], 1),
                         [[0, 2, dark], [2, 3, bright], [5, 6, bright]])

    def test_numbers(self):
        self.assertEqual([number_text.text(value, "short") for value in (0, 12, 65504, 2.5e9, math.inf)], ["0", "12", "65.5k", "2.5G", "inf"])
        self.assertEqual([number_text.text(value, "s") for value in (0.00002, 0.012, 3, 150)], ["20µs", "12ms", "3s", "2.5min"])
        self.assertEqual(number_text.text(0.128, "percentunit"), "13 %")
        self.assertEqual(number_text.text(1_700_000_000_000, "dateTimeAsIso"), "22:13:20")
        self.assertEqual([number_text.clock(value) for value in (0, 45, 150, 3900)], ["0s", "45s", "2:30", "1:05:00"])
        self.assertEqual(number_text.time_ticks(200), [0, 30, 60, 90, 120, 150, 180])
        self.assertEqual([round(value, 9) for value in number_text.ticks(0, 1)], [0, 0.25, 0.5, 0.75, 1])


class Stored(unittest.TestCase):
    def test_pictures_are_small_and_of_the_dashboards_as_they_are(self):
        for name, dashboard in DASHBOARDS.items():
            svg = (FIGURES / f"{name}.svg").read_text()
            self.assertLess(len(svg), 150_000, name)
            shown = texts(svg)
            self.assertLessEqual({panel["title"] for panel in dashboard["panels"]}, set(shown), f"{name}: run scripts/screens")


if __name__ == "__main__":
    unittest.main()
