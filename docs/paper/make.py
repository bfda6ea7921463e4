#!/usr/bin/env python3
"""Runs the reduced twins of examples/paper and writes what they gave into this folder.

    docs/paper/make.py run NAME...       trains examples/paper/NAME.reduced.yaml through `entrain local` on two slots
    docs/paper/make.py compare NAME...   asks `entrain report --paper` of what `run` left, for `collect`
    docs/paper/make.py collect NAME...   NAME.json, NAME.csv and NAME.md from what `run` left

They work in --dir (default ./paper-data, one folder a name); programs are taken from --bin (default build/release/bin). Everything that is
written comes from the sweep's HTML report, whose page carries its data as JSON, and from cost.json, where `run` keeps the processor
time of all processes of the sweep. Standard library only.
"""

import argparse
import base64
import csv
import glob
import json
import math
import os
import re
import statistics
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
COLLAPSED = 0.05  # of U = ln(T!)/T, as the default health rule


# ---- run

class ProcessorTime(threading.Thread):
    """Sums the processor time of all processes whose command line names `folder`.

    A gang's processes are no descendants that `wait` would account for, so each is read from /proc while it lives. What a process
    uses after its last reading, at most `interval_s`, is missed.
    """

    def __init__(self, folder, interval_s=0.25):
        super().__init__(daemon=True)
        self.folder = folder.encode()
        self.interval_s = interval_s
        self.seconds = {}
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(self.interval_s):
            self.read()

    def read(self):
        ticks = os.sysconf("SC_CLK_TCK")
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    if self.folder not in file.read():
                        continue
                with open(f"/proc/{pid}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            self.seconds[pid, fields[19]] = (int(fields[11]) + int(fields[12])) / ticks

    def total(self):
        self.ended.set()
        self.join()
        return sum(self.seconds.values())


def processor():
    with open("/proc/cpuinfo") as file:
        names = re.findall(r"model name\s*: (.*)", file.read())
    return f"{len(names)} x {names[0]}" if names else "unknown"


def run(name, options):
    folder = os.path.abspath(os.path.join(options.dir, name))
    os.makedirs(folder, exist_ok=True)
    sweep = os.path.join(ROOT, "examples", "paper", f"{name}.reduced.yaml")
    command = [os.path.join(options.bin, "entrain"), "local", sweep, "--dir", folder, "--slots", "2", "--no-watch"]
    clock = ProcessorTime(folder)
    clock.start()
    began = time.monotonic()
    with open(os.path.join(folder, "local.log"), "w") as log:
        code = subprocess.call(command, stdout=log, stderr=log)
    cost = {"wall_s": round(time.monotonic() - began, 1), "cpu_s": round(clock.total(), 1), "exit_code": code,
            "slots": 2, "processor": processor()}
    with open(os.path.join(folder, "cost.json"), "w") as file:
        json.dump(cost, file, indent=1)
    print(name, json.dumps(cost), flush=True)


# ---- compare

TABLES = {"architectures": ["architectures", "heads", "layers"], "entropy": ["heads", "layers"]}


def compare(name, options):
    folder = os.path.abspath(os.path.join(options.dir, name))
    address = os.path.join(folder, "compare.address")
    if os.path.exists(address):
        os.remove(address)
    with open(os.path.join(folder, "compare.log"), "w") as log:
        coordinator = subprocess.Popen(
            [os.path.join(options.bin, "entrain-coordinator"), "--data-dir", os.path.join(folder, "coordinator"), "--artifacts",
             os.path.join(folder, "artifacts"), "--listen", "127.0.0.1:0", "--address-file", address], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while not (os.path.exists(address) and os.path.getsize(address)):
            if time.monotonic() > deadline or coordinator.poll() is not None:
                sys.exit(f"the coordinator does not start: {folder}/compare.log")
            time.sleep(0.1)
        with open(address) as file:
            where = file.read().strip()
        for table in TABLES.get(name, [name]):
            text = subprocess.check_output([os.path.join(options.bin, "entrain"), "report", "last", "--coordinator", where, "--paper", table],
                                           text=True)
            with open(os.path.join(folder, f"paper-{table}.txt"), "w") as file:
                file.write(text)
            print(text)
    finally:
        coordinator.terminate()
        coordinator.wait()


# ---- what a report holds

def report_of(folder):
    pages = sorted(glob.glob(os.path.join(folder, "report-*.html")), key=os.path.getmtime)
    if not pages:
        sys.exit(f"{folder} has no report yet")
    with open(pages[-1]) as file:
        page = file.read()
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1))


def is_seed(axis):
    return axis.rpartition(".")[2] == "seed"


def frames_of(run):
    """(step, [share of U of every head]) at up to 120 steps; None where the entropy is not finite."""
    heads = run["layers"] * run["heads"]
    words = struct.unpack(f"<{len(run['frames']['s']) * heads}H", base64.b64decode(run["frames"]["d"]))
    shares = [None if word == 65535 else word / 65000 for word in words]
    return [(step, shares[i * heads:(i + 1) * heads]) for i, step in enumerate(run["frames"]["s"])]


def layer_means(run, shares):
    means = []
    for layer in range(run["layers"]):
        values = [s for s in shares[layer * run["heads"]:(layer + 1) * run["heads"]] if s is not None]
        means.append(statistics.fmean(values) if values else math.nan)
    return means


def largest(curve):
    values = [value for value in curve["v"] if value is not None]
    return max(values) if values else None


def whole_layer_collapses(run, frames):
    """The first step shown at which every head of some layer is below the limit; None when there is none."""
    for step, shares in frames:
        for layer in range(run["layers"]):
            heads = shares[layer * run["heads"]:(layer + 1) * run["heads"]]
            if all(share is not None and share < COLLAPSED for share in heads):
                return step
    return None


def summary_of(run):
    frames = frames_of(run)
    last = [share for share in frames[-1][1] if share is not None]
    bands = run["result"]["bands"] or {"log": [0] * 4, "max": [0] * 4}
    return {
        "seed": next(int(value) for axis, value in run["axes"].items() if is_seed(axis)), "state": run["state"], "step": run["result"]["step"],
        "perplexity": run["result"]["perplexity"], "training_loss": run["result"]["loss"],
        "evaluations": dict(zip(map(str, run["eval"]["s"]), run["eval"]["v"])),
        "layer_mean_share_of_bound": [round(mean, 4) for mean in layer_means(run, frames[-1][1])],
        "heads_below_0.05_of_bound": sum(share < COLLAPSED for share in last), "heads": len(last),
        "heads_by_quarter_of_ln_t": bands["log"], "heads_by_quarter_of_largest": bands["max"],
        "first_collapsed_layer_step": whole_layer_collapses(run, frames),
        "largest_score": largest(run["score"]), "largest_gradient_norm": largest(run["grad"]),
        "theta_range": [min(run["theta"]["last"]), max(run["theta"]["last"])] if run["theta"] else None,
    }


def mean_and_spread(values):
    values = [value for value in values if value is not None]
    if not values:
        return None, None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def row_of(name, runs):
    runs = sorted(runs, key=lambda one: one["seed"])
    perplexity, spread = mean_and_spread([one["perplexity"] for one in runs])
    layers = len(runs[0]["layer_mean_share_of_bound"])
    return {
        "variant": name, "n": sum(one["perplexity"] is not None for one in runs), "runs": len(runs),
        "perplexity_mean": perplexity, "perplexity_spread": spread,
        "training_loss_mean": mean_and_spread([one["training_loss"] for one in runs])[0],
        "layer_mean_share_of_bound": [
            round(statistics.fmean(one["layer_mean_share_of_bound"][layer] for one in runs), 4) for layer in range(layers)],
        "collapsed_heads_percent": 100 * sum(one["heads_below_0.05_of_bound"] for one in runs) / sum(one["heads"] for one in runs),
        "runs_with_a_collapsed_layer": sum(one["first_collapsed_layer_step"] is not None for one in runs),
        "by_seed": runs,
    }


def rows_of(report):
    groups = {}
    for one in report["runs"]:
        axes = " ".join(f"{axis}={value}" for axis, value in sorted(one["axes"].items()) if not is_seed(axis))
        groups.setdefault(f"{one['variant']} {axes}".strip(), []).append(summary_of(one))
    rows = [row_of(name, runs) for name, runs in groups.items()]
    return sorted(rows, key=lambda row: (row["perplexity_mean"] is None, row["perplexity_mean"]))


# ---- collect

def text(value, digits=2):
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.1e}" if abs(value) >= 1e5 else f"{value:.{digits}f}"


def percent(counts):
    return " / ".join(f"{100 * count / max(sum(counts), 1):.0f}" for count in counts)


def summed(row, field):
    return [sum(column) for column in zip(*(one[field] for one in row["by_seed"]))]


def first_steps(row):
    steps = [one["first_collapsed_layer_step"] for one in row["by_seed"]]
    return ", ".join("never" if step is None else str(step) for step in steps) if any(steps) else "never"


def results_table(rows):
    lines = ["| variant | n | perplexity | training loss | heads below 0.05 U, % | a whole layer below 0.05 U, first step shown, by seed | largest score "
             "| quarters of ln T, % | of the largest, % |", "|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        spread = "" if row["perplexity_spread"] is None else f" ± {text(row['perplexity_spread'])}"
        score = max((one["largest_score"] or 0 for one in row["by_seed"]), default=None)
        lines.append(f"| {row['variant']} | {row['n']} of {row['runs']} | {text(row['perplexity_mean'])}{spread} | "
                     f"{text(row['training_loss_mean'], 3)} | {text(row['collapsed_heads_percent'], 0)} | {first_steps(row)} | {text(score, 1)} | "
                     f"{percent(summed(row, 'heads_by_quarter_of_ln_t'))} | {percent(summed(row, 'heads_by_quarter_of_largest'))} |")
    return lines


def layers_table(rows):
    layers = len(rows[0]["layer_mean_share_of_bound"])
    lines = ["| variant | " + " | ".join(map(str, range(layers))) + " |", "|---" * (layers + 1) + "|"]
    for row in rows:
        lines.append(f"| {row['variant']} | " + " | ".join(text(mean) for mean in row["layer_mean_share_of_bound"]) + " |")
    return lines


def comparison_of(name, options):
    """What `entrain report --paper` says, kept by `compare`; empty when it was not asked."""
    sections = []
    for path in sorted(glob.glob(os.path.join(options.dir, name, "paper-*.txt"))):
        with open(path) as file:
            table = os.path.basename(path)[len("paper-"):-len(".txt")]
            sections += [f"## Beside the paper: {table}", "", "```", file.read().rstrip(), "```", ""]
    return sections


def page(name, report, rows, cost, options):
    return "\n".join([
        f"# {name}, reduced", "",
        f"`examples/paper/{name}.reduced.yaml`, run whole: {len(report['runs'])} runs, {cost['cpu_s'] / 60:.1f} minutes of processor time "
        f"({cost['processor']}, {cost['slots']} slots; {cost['wall_s'] / 60:.1f} minutes passed on a machine that did other work too). Data: "
        f"{report['dataset']}. Program: {report['build']}. Perplexity is of held-out text at the last step, mean ± sample standard deviation over seeds; "
        "entropies are of the last training step; collapse is looked for at about 120 evenly spread steps.", "",
        *results_table(rows), "",
        "Mean entropy by layer, as a share of U = ln(T!)/T, mean over seeds:", "", *layers_table(rows), "",
        *comparison_of(name, options),
        f"Every run: [{name}.json]({name}.json), [{name}.csv]({name}.csv). Written by `docs/paper/make.py collect {name}`.", ""])


def write_csv(path, rows):
    fields = ["variant", "seed", "state", "step", "perplexity", "training_loss", "heads_below_0.05_of_bound", "heads",
              "first_collapsed_layer_step", "largest_score", "largest_gradient_norm"]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(fields)
        for row in rows:
            for one in row["by_seed"]:
                writer.writerow([row["variant"] if field == "variant" else "" if one[field] is None else one[field] for field in fields])


def collect(name, options):
    folder = os.path.join(options.dir, name)
    report = report_of(folder)
    with open(os.path.join(folder, "cost.json")) as file:
        cost = json.load(file)
    rows = rows_of(report)
    stem = os.path.join(HERE, name)
    with open(stem + ".json", "w") as file:
        json.dump({"sweep": report["name"], "dataset": report["dataset"], "build": report["build"], "cost": cost, "rows": rows}, file,
                  indent=1)
        file.write("\n")
    write_csv(stem + ".csv", rows)
    with open(stem + ".md", "w") as file:
        file.write(page(name, report, rows, cost, options))
    print(f"{stem}.md")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "compare", "collect"])
    parser.add_argument("names", nargs="+", help="such as architectures")
    parser.add_argument("--dir", default="paper-data")
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "release", "bin"))
    options = parser.parse_args()
    for name in options.names:
        {"run": run, "compare": compare, "collect": collect}[options.what](name, options)


if __name__ == "__main__":
    main()
