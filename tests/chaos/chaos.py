#!/usr/bin/env python3
"""Kills and freezes the real programs at random while they train a sweep, and compares the outcome with a quiet run's.

    chaos.py --bin build/release/bin [--minutes 10] [--seed 1] [--rounds N] [--keep]

A round is one sweep, trained twice: on a quiet cluster (a coordinator, two workers of two slots), and on one whose coordinator, worker
daemons, supervisors, mpiruns and trainers are killed (SIGKILL) or frozen (SIGSTOP, then SIGCONT) one after the other. The leaderboards,
every run's state and result, every sample up to the result's step and the final weights must be equal bit for bit; what is a matter of
time (tokens per second, wall clock) is left out. At the end no process of the round is left. The seed gives the storm's choices and the
sweeps' seeds; which process stands at the chosen place when its time comes is the machine's affair.

Rounds follow each other until --minutes are over; --rounds ends earlier. Exit code 1 when anything differs; the folder is kept then.
"""
import argparse
import csv
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

LEASE_MS = 4_000
ROUND_LIMIT_S = 900
# After the sweep's end: the lease, and what the design gives a gang that learns of its end late.
LEFTOVER_LIMIT_S = 45
GANG_PROGRAMS = ("entrain-supervisor", "mpirun", "entrain-trainer")
# A matter of time, not of the results.
TIMED_FIELDS = ("tokens_per_second_mean",)
TIMED_COLUMNS = ("tokens_per_second", "wall_ms")
COMPARED_RUN_FIELDS = ("label", "state", "halt_reason", "result_step", "reason", "fully_judged", "eval_loss", "best_eval_loss", "generation")

SWEEP = """name: chaos
data: {{path: python-stdlib, include: ["*.py"], max_bytes: 200_000, tokenizer: bytes}}
model: {{n_layer: 2, n_head: 2, n_embd: 32, init_std: 0.07}}
train: {{steps: {steps}, batch_size: 4, context: 32, lr: 1e-3, eval_interval_steps: 100, eval_batches: 2, checkpoint_interval_steps: 50}}
resources: {{ranks_per_machine: 2}}
# What the storm does to a run is not its failure, however often.
retries: {{max_failures: 1000}}
variants:
  - SM+LN+G
  - {{name: alone, preset: SM+LN+R, resources: {{ranks_per_machine: 1}}}}
  - {{name: collapses, preset: SM, model: {{n_layer: 6, n_head: 4, n_embd: 64}}, train: {{steps: 300, batch_size: 8, context: 64, lr: 3e-3}}}}
axes: {{train.seed: [{seeds}]}}
"""


def say(text):
    print(f"{time.strftime('%H:%M:%S', time.gmtime())} {text}", flush=True)


def processes_of(folder):
    """(pid, program) of every process that names the folder or works in it, and is not a zombie."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            command = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            here = os.readlink(f"/proc/{entry}/cwd")
        except OSError:
            continue
        words = [word.decode(errors="replace") for word in command]
        if words[0] and (here.startswith(folder + "/") or any(folder + "/" in word for word in words)):
            found.append((int(entry), os.path.basename(words[0])))
    return found


class Cluster:
    """One coordinator and its workers in a folder of their own."""

    def __init__(self, programs, folder, workers=2, slots=2):
        self.programs, self.folder, self.slots = programs, folder, slots
        self.address = "127.0.0.1:0"
        self.names = [f"w{i + 1}" for i in range(workers)]
        self.children = {}
        os.makedirs(folder)

    def program(self, name):
        return os.path.join(self.programs, name)

    def spawn(self, name, command):
        with open(f"{self.folder}/{name}.log", "ab") as log:
            self.children[name] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def start_coordinator(self):
        """The first start takes a free port; later ones take the same again."""
        announced = pathlib.Path(f"{self.folder}/address")
        announced.unlink(missing_ok=True)
        self.spawn("coordinator", [
            self.program("entrain-coordinator"), "--data-dir", f"{self.folder}/data", "--listen", self.address, "--address-file", str(announced),
            "--artifacts", f"{self.folder}/artifacts", "--lease-ms", str(LEASE_MS), "--heartbeat-ms", "500", "--quarantine-after", "0",
            "--snapshot-every-facts", "60"])
        deadline = time.monotonic() + 60
        while not announced.exists():
            if self.children["coordinator"].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the coordinator does not start: {self.tail('coordinator')}")
            time.sleep(0.02)
        self.address = announced.read_text().strip()

    def start_worker(self, name):
        self.spawn(name, [
            self.program("entrain-worker"), "--coordinator", self.address, "--dir", f"{self.folder}/{name}", "--slots", str(self.slots), "--slot-kind", "cpu",
            "--name", name, "--metrics", "127.0.0.1:0", "--artifacts", f"{self.folder}/artifacts"])

    def start(self, name):
        self.start_coordinator() if name == "coordinator" else self.start_worker(name)

    def start_all(self):
        self.start_coordinator()
        for name in self.names:
            self.start_worker(name)

    def tail(self, name):
        return pathlib.Path(f"{self.folder}/{name}.log").read_text(errors="replace")[-1500:]

    def entrain(self, *words, check=True):
        done = subprocess.run([self.program("entrain"), *words, "--coordinator", self.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if check and done.returncode not in (0, 3):
            raise RuntimeError(f"entrain {' '.join(words)}: exit code {done.returncode}: {done.stderr[-1500:]}")
        return done.stdout

    def gang_processes(self):
        return [(pid, program) for pid, program in processes_of(self.folder) if program in GANG_PROGRAMS]

    def stop(self):
        """Ends everything by the clean way; what is left after it is named."""
        for name in [*self.names, "coordinator"]:
            child = self.children.get(name)
            if child is not None and child.poll() is None:
                child.terminate()
        for child in self.children.values():
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                say(f"does not end by SIGTERM: {child.args[0]}")
        return processes_of(self.folder)

    def kill_all(self):
        for child in self.children.values():
            if child.poll() is None:
                child.kill()
                child.wait()
        for pid, _ in processes_of(self.folder):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


class Storm:
    """One blow after the other. What it froze it wakes, what it killed of ours it starts again."""

    PLACES = ("coordinator", "coordinator", "worker", "worker", "worker", "entrain-supervisor", "mpirun", "entrain-trainer", "entrain-trainer")

    def __init__(self, cluster, rng):
        self.cluster, self.rng = cluster, rng
        self.due = []  # (when, action)
        self.next_blow = time.monotonic() + 2.0
        self.blows = {}
        self.frozen = set()
        self.down = set()

    def later(self, delay_s, action):
        self.due.append((time.monotonic() + delay_s, action))

    def step(self, goes_on):
        now = time.monotonic()
        ready = [action for when, action in self.due if when <= now]
        self.due = [(when, action) for when, action in self.due if when > now]
        for action in ready:
            action()
        if goes_on and now >= self.next_blow:
            self.blow()
            self.next_blow = now + self.rng.uniform(0.5, 4.0)

    def blow(self):
        place, freezes, long_s = self.rng.choice(self.PLACES), self.rng.random() < 0.4, self.rng.uniform(0.2, 7.0)
        number = self.rng.randrange(1 << 30)
        if place in ("coordinator", "worker"):
            name = place if place == "coordinator" else self.cluster.names[number % len(self.cluster.names)]
            if name in self.down or name in self.frozen:
                return
            pid = self.cluster.children[name].pid
        else:
            name = place
            pids = [pid for pid, program in self.cluster.gang_processes() if program == place and pid not in self.frozen]
            if not pids:
                return
            pid = pids[number % len(pids)]
        key = ("froze " if freezes else "killed ") + place
        self.blows[key] = self.blows.get(key, 0) + 1
        try:
            if freezes:
                self.freeze(pid, name, long_s)
            else:
                self.kill(pid, name, long_s)
        except ProcessLookupError:
            pass

    def freeze(self, pid, name, long_s):
        os.kill(pid, signal.SIGSTOP)
        say(f"froze {name} ({pid}) for {long_s:.1f} s")
        mark = name if name in self.cluster.children else pid
        self.frozen.add(mark)

        def wake():
            self.frozen.discard(mark)
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass
        self.later(long_s, wake)

    def kill(self, pid, name, long_s):
        os.kill(pid, signal.SIGKILL)
        if name not in self.cluster.children:
            say(f"killed {name} ({pid})")
            return
        say(f"killed {name} ({pid}), starts again after {long_s:.1f} s")
        self.cluster.children[name].wait()
        self.down.add(name)

        def again():
            self.down.discard(name)
            self.cluster.start(name)
        self.later(long_s, again)

    def calm(self):
        """Wakes and starts whatever still lies low, at once."""
        for _, action in self.due:
            action()
        self.due = []


def untimed_rows(path, last_step):
    """The rows of a CSV file up to a step, without the columns that time gives."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [row for row in rows if int(row["step"]) <= last_step]
    for row in kept:
        for column in TIMED_COLUMNS:
            row.pop(column, None)
    return kept


def weights_of(cluster, run):
    """A hash of the newest checkpoint's weights; of runs that trained to their end alone, since a stop lands where it lands."""
    if run["state"] != "succeeded":
        return ""
    detail = json.loads(cluster.entrain("describe", run["id"], "-o", "json"))
    newest = max(detail["checkpoints"], key=lambda checkpoint: checkpoint["step"])
    return hashlib.sha256(pathlib.Path(f"{cluster.folder}/artifacts/{newest['path']}/model.safetensors").read_bytes()).hexdigest()


def outcome_of(cluster, sweep):
    """Everything that must be equal, by label."""
    leaderboard = json.loads(cluster.entrain("report", sweep, "-o", "json"))["leaderboard"]
    for row in leaderboard:
        for field in TIMED_FIELDS:
            row.pop(field)
    outcome = {"leaderboard": leaderboard}
    folder = f"{cluster.folder}/export"
    cluster.entrain("export", sweep, "--format", "csv", "-o", folder)
    for run in json.loads(cluster.entrain("describe", sweep, "-o", "json"))["runs"]:
        label = run["label"]
        outcome[f"run {label}"] = {field: run[field] for field in COMPARED_RUN_FIELDS}
        outcome[f"weights of {label}"] = weights_of(cluster, run)
        for kind in ("", ".evaluations"):
            path, = pathlib.Path(folder).glob(f"*-{run['id']}{kind}.csv")
            outcome[f"samples{kind} of {label}"] = untimed_rows(path, run["result_step"])
    return outcome


def train(cluster, file, storm, storm_until):
    """Submits the sweep and waits for its end; returns its id."""
    cluster.start_all()
    sweep = json.loads(cluster.entrain("submit", file, "--artifacts", f"{cluster.folder}/artifacts", "-o", "json"))["sweep_id"]
    waiting = subprocess.Popen([cluster.program("entrain"), "wait", sweep, "--coordinator", cluster.address], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + ROUND_LIMIT_S
    while waiting.poll() is None:
        if time.monotonic() > deadline:
            waiting.kill()
            raise RuntimeError(f"the sweep did not end within {ROUND_LIMIT_S} s:\n{cluster.entrain('describe', sweep, check=False)}")
        if storm is not None:
            storm.step(time.monotonic() < storm_until)
        time.sleep(0.05)
    if storm is not None:
        storm.calm()
    return sweep


def await_no_gangs(cluster):
    deadline = time.monotonic() + LEFTOVER_LIMIT_S
    while cluster.gang_processes():
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes of gangs are left {LEFTOVER_LIMIT_S} s after the end: {cluster.gang_processes()}")
        time.sleep(0.1)


def train_and_collect(cluster, file, rng=None, storm_until=0.0):
    storm = Storm(cluster, rng) if rng is not None else None
    try:
        sweep = train(cluster, file, storm, storm_until)
        await_no_gangs(cluster)
        outcome = outcome_of(cluster, sweep)
        attempts = sum(run["attempt"] for run in json.loads(cluster.entrain("describe", sweep, "-o", "json"))["runs"])
        left = cluster.stop()
        if left:
            raise RuntimeError(f"processes are left after a clean end: {left}")
        return outcome, attempts, storm
    finally:
        cluster.kill_all()


def play_round(programs, folder, number, flags, until):
    rng = random.Random(f"{flags.seed}/{number}")
    os.makedirs(folder)
    file = f"{folder}/sweep.yaml"
    seeds = [rng.randrange(1, 1 << 20) for _ in range(flags.runs)]
    pathlib.Path(file).write_text(SWEEP.format(steps=flags.steps, seeds=", ".join(map(str, seeds))))
    say(f"round {number}: quiet")
    began = time.monotonic()
    quiet, _, _ = train_and_collect(Cluster(programs, f"{folder}/quiet"), file)
    say(f"round {number}: storm (the quiet one took {time.monotonic() - began:.0f} s)")
    began = time.monotonic()
    stormy, attempts, storm = train_and_collect(Cluster(programs, f"{folder}/storm"), file, rng, max(until, began + 20))
    blows = ", ".join(f"{count} x {what}" for what, count in sorted(storm.blows.items()))
    say(f"round {number}: {len(stormy['leaderboard'])} rows, {attempts} attempts, {sum(storm.blows.values())} blows in {time.monotonic() - began:.0f} s: {blows}")
    different = [name for name in sorted(set(quiet) | set(stormy)) if quiet.get(name) != stormy.get(name)]
    for name in different:
        say(f"DIFFERS: {name}\n  quiet: {str(quiet.get(name))[:600]}\n  storm: {str(stormy.get(name))[:600]}")
    return not different and sum(storm.blows.values()) > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="folder of the programs")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=2, help="runs of each of the three variants")
    parser.add_argument("--steps", type=int, default=1_000, help="of a run that is not stopped")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    flags = parser.parse_args()
    # Ended from outside, it ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Short: a socket's path lies below it.
    root = tempfile.mkdtemp(prefix="chaos-")
    until = time.monotonic() + 60 * flags.minutes
    good, number = True, 0
    try:
        while good and number < flags.rounds and (number == 0 or time.monotonic() < until):
            number += 1
            folder = f"{root}/{number}"
            good = play_round(os.path.abspath(flags.bin), folder, number, flags, until)
            if good and not flags.keep:
                shutil.rmtree(folder)
    except RuntimeError as problem:
        say(f"FAILED: {problem}")
        good = False
    if good and not flags.keep:
        shutil.rmtree(root)
    else:
        say(f"kept: {root}")
    say(f"{number} rounds, seed {flags.seed}: {'every result equal, no process left' if good else 'NOT EQUAL'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
