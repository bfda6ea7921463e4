#!/usr/bin/env python3
"""Every dashboard decodes strictly into Grafana's published schema types, and a planted mistake of any kind does not; the provisioning files
have the form that Grafana documents and name what exists.

    grafana_schema_test.py CHECKER      exit code 77 where the checker is not installed (scripts/setup --tests)
"""
import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import yaml

if len(sys.argv) < 2 or not os.access(sys.argv[1], os.X_OK):
    print("skipped: the checker is not installed; scripts/setup --tests builds it", file=sys.stderr)
    sys.exit(77)
ROOT = pathlib.Path(__file__).resolve().parents[2]
CHECKER = sys.argv.pop(1)
FOLDER = ROOT / "deploy/grafana/dashboards"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def check(*paths):
    return subprocess.run([CHECKER, *map(str, paths)], capture_output=True, text=True, timeout=60)


def refused(dashboard):
    """The checker's complaint about it; empty: none."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "dashboard.json")
        path.write_text(json.dumps(dashboard))
        done = check(path)
        return done.stdout if done.returncode else ""


def objects(value, path=()):
    """Every object of a dashboard that the types close, with its path; options that Grafana keeps open are left out."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from objects(item, path + (index,))
    elif isinstance(value, dict):
        if "transformations" in path and "options" in path:
            return
        if path[-1:] == ("query",):
            return
        yield path, value
        for key, item in value.items():
            yield from objects(item, path + (key,))


def at(value, path):
    for key in path:
        value = value[key]
    return value


class Dashboards(unittest.TestCase):
    def test_all_decode(self):
        self.assertEqual(sorted(DASHBOARDS), ["entrain-fleet", "entrain-run", "entrain-sweep"])
        done = check(*FOLDER.glob("*.json"))
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_a_misspelt_field_is_refused_wherever_it_stands(self):
        kinds = set()
        for name, dashboard in DASHBOARDS.items():
            for path, _ in objects(dashboard):
                # One of a kind is enough: panel 3 is decoded like panel 1, except that the panel's type decides about its options.
                kind = tuple(step for step in path if isinstance(step, str))
                if path[:1] == ("panels",):
                    kind = (dashboard["panels"][path[1]]["type"], *kind)
                if kind in kinds:
                    continue
                kinds.add(kind)
                wrong = copy.deepcopy(dashboard)
                at(wrong, path)["misspelt"] = 1
                self.assertIn("misspelt", refused(wrong), f"{name}: {path}")
        self.assertGreater(len(kinds), 40)

    def test_wrong_types_and_missing_fields_are_refused(self):
        board = DASHBOARDS["entrain-sweep"]

        def breaks(change):
            wrong = copy.deepcopy(board)
            change(wrong)
            self.assertNotEqual(refused(wrong), "", change)

        self.assertEqual(refused(board), "")
        breaks(lambda one: one.update(title=3))
        breaks(lambda one: one.pop("schemaVersion"))
        breaks(lambda one: one.update(schemaVersion="39"))
        breaks(lambda one: one["panels"][0].update(type="tabel"))
        breaks(lambda one: one["panels"][0].pop("type"))
        breaks(lambda one: one["panels"][0]["gridPos"].update(w="wide"))
        breaks(lambda one: one["panels"][0]["options"].pop("showHeader"))
        breaks(lambda one: one["panels"][0]["targets"][0].update(expr=7))
        breaks(lambda one: one["panels"][0]["targets"][0]["datasource"].update(type="loki"))
        breaks(lambda one: one["panels"][0]["transformations"][0].update(id="marge"))
        breaks(lambda one: one["panels"][0]["fieldConfig"].pop("overrides"))
        breaks(lambda one: one["annotations"]["list"][0].pop("iconColor"))
        breaks(lambda one: one["templating"]["list"][0].pop("type"))


# Grafana reads these with its own, unpublished types: what its documentation lists is all that may be in them.
PROVIDER_FIELDS = {"name", "orgId", "folder", "folderUid", "type", "disableDeletion", "updateIntervalSeconds", "allowUiUpdates", "options"}
SOURCE_FIELDS = {"name", "type", "access", "orgId", "uid", "url", "user", "database", "basicAuth", "basicAuthUser", "withCredentials",
                 "isDefault", "jsonData", "secureJsonData", "version", "editable"}


class Provisioning(unittest.TestCase):
    folder = ROOT / "deploy/grafana/provisioning"

    def test_dashboards_are_read_from_a_folder(self):
        files = list((self.folder / "dashboards").iterdir())
        self.assertEqual([file.suffix for file in files], [".yaml"])
        content = yaml.safe_load(files[0].read_text())
        self.assertEqual(set(content), {"apiVersion", "providers"})
        self.assertEqual(content["apiVersion"], 1)
        for provider in content["providers"]:
            self.assertLessEqual(set(provider), PROVIDER_FIELDS)
            self.assertEqual(provider["type"], "file")
            self.assertIs(provider["disableDeletion"], True)
            self.assertEqual(provider["options"]["path"], "${ENTRAIN_DASHBOARDS}")

    def test_the_data_source_is_one_that_the_dashboards_take(self):
        files = list((self.folder / "datasources").iterdir())
        self.assertEqual([file.suffix for file in files], [".yaml"])
        content = yaml.safe_load(files[0].read_text())
        self.assertEqual((set(content), content["apiVersion"]), ({"apiVersion", "datasources"}, 1))
        source, = content["datasources"]
        self.assertLessEqual(set(source), SOURCE_FIELDS)
        self.assertEqual((source["type"], source["access"], source["isDefault"]), ("prometheus", "proxy", True))
        self.assertEqual(source["url"], "${ENTRAIN_PROMETHEUS_URL}")
        for name, dashboard in DASHBOARDS.items():
            choice = dashboard["templating"]["list"][0]
            self.assertEqual((choice["name"], choice["type"], choice["query"]), ("datasource", "datasource", source["type"]), name)


if __name__ == "__main__":
    unittest.main()
