#!/usr/bin/env python3
"""Trains sweep.yaml with `entrain local`, scraped by a real Prometheus, and draws every dashboard when half of its runs are over
(scripts/screens calls it).

    record.py ENTRAIN FOLDER [--delete]
"""
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import draw

# Short, because the runs are.
SCRAPE_S = 0.25
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SWEEP = "screens"
FINISHED_RUNS = 3  # of six, when the pictures are drawn


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def await_text(path, process):
    while not (path.exists() and path.read_text().strip()):
        if process.poll() is not None:
            sys.exit(f"record: it ended before {path} was there; see {path.parent}")
        time.sleep(0.05)
    return path.read_text().strip()


def start_prometheus(folder, targets):
    url = f"127.0.0.1:{free_port()}"
    config = {"global": {"scrape_interval": f"{SCRAPE_S * 1000:.0f}ms", "evaluation_interval": f"{SCRAPE_S * 1000:.0f}ms"},
              "rule_files": [str(ROOT / "deploy/prometheus/entrain.rules.yaml")],
              "scrape_configs": [{"job_name": "entrain", "static_configs": [{"targets": targets}]}]}
    path = folder / "prometheus.yaml"
    path.write_text(json.dumps(config))
    server = subprocess.Popen(["prometheus", f"--config.file={path}", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address={url}",
                               "--log.level=error"])
    return server, "http://" + url


def await_ready(url):
    while True:
        try:
            urllib.request.urlopen(url + "/-/ready", timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)


def await_finished(url, local):
    while True:
        now = time.time()
        found = draw.Prometheus(url, now - 60, now).ask("query", query="sum(entrain_runs_finished_total)", time=now)
        if found and float(found[0]["value"][1]) >= FINISHED_RUNS:
            return
        if local.poll() is not None:
            sys.exit(f"record: entrain local ended with {local.returncode}")
        time.sleep(0.5)


def span_of(url, promql, begin, end):
    """First and last time at which it has a value."""
    times = [float(time) for one in draw.Prometheus(url, begin, end).over_time(promql) for time, _ in one["values"]]
    return min(times), max(times)


def stopped_run(url, begin, end):
    """A run that a rule stopped."""
    series, *_ = draw.Prometheus(url, begin, end).ask(
        "query", query="count by (run) (last_over_time(entrain_run_verdict_timestamp_seconds{action=\"stop_and_keep\"}[1h]))", time=end)
    return series["metric"]["run"]


def draw_all(url, begin, end):
    run = stopped_run(url, begin, end)
    first, last = span_of(url, f'entrain_run_step{{run="{run}"}}', begin, end)
    for name, variables, span in (("entrain-fleet", {}, (begin, end)), ("entrain-sweep", {"sweep": SWEEP}, (begin, end)),
                                  ("entrain-run", {"sweep": SWEEP, "run": run}, (first, last))):
        dashboard = json.loads((ROOT / f"deploy/grafana/dashboards/{name}.json").read_text())
        svg = draw.Board(dashboard, draw.Prometheus(url, *span), variables).svg()
        out = HERE / f"{re.sub('entrain-', '', name)}.svg"
        out.write_text(svg)
        print(f"{out.relative_to(ROOT)}: {len(svg) // 1000} kB")


def main():
    entrain, folder = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    data = folder / "data"
    begin = time.time()
    local = subprocess.Popen([entrain, "local", str(HERE / "sweep.yaml"), "--dir", str(data), "--slots", "2", "--no-watch"],
                             stdout=subprocess.DEVNULL)
    prometheus = None
    try:
        targets = [await_text(data / f"{name}.metrics", local) for name in ("coordinator", "worker")]
        prometheus, url = start_prometheus(folder, targets)
        await_ready(url)
        await_finished(url, local)
        # From the first scrape on; the newest may still be under way.
        begin, end = span_of(url, "entrain_slots", begin, time.time() - 4 * SCRAPE_S)
        draw_all(url, begin, end)
    finally:
        for process in (local, prometheus):
            if process and process.poll() is None:
                process.terminate()
                process.wait()
        if "--delete" in sys.argv:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
