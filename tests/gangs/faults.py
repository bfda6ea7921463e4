#!/usr/bin/env python3
"""Gangs over two hosts, trained by the real programs and disturbed: prints what was noticed after how long, and checks that the final weights
equal the undisturbed ones, that no attempt ends which should not, and that no process is left.

    faults.py BIN_DIR [--only NAME,NAME] [--short] [--keep]
"""
import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cluster as clusters
import hosts

SKIPPED = 77
# Enough that a fault meets a gang that trains: a thousand small steps take a second.
STEPS = 4000
SHORT_STEPS = 3000
# Where the fault comes; the last checkpoint before it is not the newest step.
FAULT_STEP = 250
LINK_TIMEOUT_S = 15
END_LIMIT_S = 15
FROZEN_LIMIT_S = 15
# To SIGTERM and SIGKILL, and for the coordinator to hear of it.
AFTERWARDS_S = 15


class Gang:
    """One run of the sweep under test, and what is left of its attempts."""

    steps = STEPS

    def __init__(self, cluster, name):
        self.cluster = cluster
        self.run = cluster.submit(name, self.steps)
        self.await_step(FAULT_STEP)
        folders = dict(zip(cluster.network.hosts, cluster.attempt_folders(self.run, 1)))
        # Which host heads the gang is the scheduler's affair.
        heads = [host for host in folders if hosts.of_program(hosts.processes(folders[host]), "mpirun")]
        self.head = heads[0] if heads else ""
        self.other = "b" if self.head == "a" else "a"
        self.folders = {"head": folders.get(self.head), "other": folders[self.other]}

    def detail(self):
        return self.cluster.describe(self.run)

    def text(self):
        detail = self.detail()
        return f"{detail['run']['state']} {detail['run']['reason']} {detail['attempts']}"

    def await_step(self, step):
        hosts.wait_until(lambda: self.detail()["run"]["step"] >= step, 90, self.text, pause_s=0.2)

    def on(self, role, program):
        pids = hosts.of_program(hosts.processes(self.folders[role]), program)
        if not pids:
            raise AssertionError(f"no {program} on the {role} host: {hosts.processes(self.folders[role])}")
        return pids[-1]

    def live(self, attempt=1):
        return self.cluster.gang(self.run, attempt)

    def gone(self, limit_s):
        """Seconds until no process of the first attempt is left anywhere."""
        return hosts.wait_until(lambda: not self.live(), limit_s, lambda: f"left: {self.live()}; {self.text()}", pause_s=0.02)

    def ended(self, limit_s):
        """Seconds until the coordinator knows that the first attempt ended."""
        return hosts.wait_until(lambda: self.detail()["attempts"][0]["cause"], limit_s, self.text, pause_s=0.1)

    def succeeded(self, attempts=None, limit_s=150):
        hosts.wait_until(lambda: self.detail()["run"]["state"] in ("succeeded", "failed"), limit_s, self.text, pause_s=0.3)
        detail = self.detail()
        if detail["run"]["state"] != "succeeded":
            raise AssertionError(self.text())
        if attempts is not None and detail["run"]["attempt"] != attempts:
            raise AssertionError(f"{detail['run']['attempt']} attempts instead of {attempts}: {self.text()}")
        for attempt in range(1, detail["run"]["attempt"] + 1):
            hosts.wait_until(lambda a=attempt: not self.live(a), 30, lambda a=attempt: f"left of attempt {a}: {self.live(a)}")
        return self.weights(detail)

    def weights(self, detail):
        newest = max(detail["checkpoints"], key=lambda checkpoint: checkpoint["step"])
        folder = self.cluster.folder / "artifacts" / newest["path"]
        return {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}


class Faults:
    """Each method is one fault; it returns what the table says of it."""

    def __init__(self, cluster, reference):
        self.cluster = cluster
        self.network = cluster.network
        self.reference = reference

    def same(self, gang, attempts):
        if gang.succeeded(attempts) != self.reference:
            raise AssertionError("the final checkpoint differs from the undisturbed one")

    def ends(self, name, injure, limit_s):
        """`injure(gang)`, and the gang is gone within the limit; the next attempt goes on from its checkpoint."""
        gang = Gang(self.cluster, name)
        injure(gang)
        began = time.monotonic()
        gone_s = gang.gone(limit_s)
        gang.ended(AFTERWARDS_S)
        known_s = time.monotonic() - began
        message = gang.detail()["attempts"][0]
        self.same(gang, 2)
        first_line = message["message"].splitlines()[0] if message["message"] else ""
        return f"gone after {gone_s:.1f} s, known after {known_s:.1f} s ({message['cause']}: {first_line[:90]})"

    def lives(self, name, injure):
        """`injure(gang)` and the first attempt goes on to the end."""
        gang = Gang(self.cluster, name)
        before = sorted(gang.live())
        injure(gang)
        after = sorted(gang.live())
        if not set(after) <= set(before):  # fewer or none: the gang came to its end meanwhile, which its one attempt shows below
            raise AssertionError(f"processes changed: {before} to {after}")
        self.same(gang, 1)
        return "no attempt ended"

    # --- processes ---

    def undisturbed(self):
        return self.lives("undisturbed", lambda gang: None)

    def killed_rank(self):
        return self.ends("killed-rank", lambda gang: os.kill(gang.on("other", "entrain-trainer"), signal.SIGKILL), END_LIMIT_S)

    def killed_head_rank(self):
        return self.ends("killed-head-rank", lambda gang: os.kill(gang.on("head", "entrain-trainer"), signal.SIGKILL), END_LIMIT_S)

    def killed_orted(self):
        return self.ends("killed-orted", lambda gang: os.kill(gang.on("other", "orted"), signal.SIGKILL), END_LIMIT_S)

    def killed_mpirun(self):
        return self.ends("killed-mpirun", lambda gang: os.kill(gang.on("head", "mpirun"), signal.SIGKILL), END_LIMIT_S)

    def killed_head_supervisor(self):
        return self.ends("killed-head-supervisor", lambda gang: os.kill(gang.on("head", "entrain-supervisor"), signal.SIGKILL), END_LIMIT_S)

    def killed_supervisor(self):
        return self.ends("killed-supervisor", lambda gang: os.kill(gang.on("other", "entrain-supervisor"), signal.SIGKILL), END_LIMIT_S)

    def stopped_rank(self):
        return self.ends("stopped-rank", lambda gang: os.kill(gang.on("other", "entrain-trainer"), signal.SIGSTOP), FROZEN_LIMIT_S)

    def stopped_head_rank(self):
        return self.ends("stopped-head-rank", lambda gang: os.kill(gang.on("head", "entrain-trainer"), signal.SIGSTOP), FROZEN_LIMIT_S)

    def hung_step(self):
        held = []

        def hold(gang):
            held.append(HeldThread(gang.on("other", "entrain-trainer")))

        return self.ends("hung-step", hold, 30 + 5)

    # --- daemons ---

    def restarted_daemons(self):
        def restart(gang):
            for host in ("a", "b"):
                self.cluster.kill_worker(host)
                self.cluster.start_worker(host, 2)
            self.cluster.await_workers({"a", "b"})

        return self.lives("restarted-daemons", restart)

    # --- the link ---

    def cut_for(self, seconds):
        def cut(gang):
            self.network.cut()
            time.sleep(seconds)
            self.network.join()

        return self.lives(f"cut-{seconds}", cut)

    def cut_1_s(self):
        return self.cut_for(1)

    def cut_10_s(self):
        return self.cut_for(10)

    def cut_for_good(self):
        gang = Gang(self.cluster, "cut-for-good")
        self.network.cut()
        began = time.monotonic()
        try:
            gone_s = gang.gone(LINK_TIMEOUT_S + 15)
            gang.ended(AFTERWARDS_S)
            known_s = time.monotonic() - began
        finally:
            self.network.join()
        end = gang.detail()["attempts"][0]
        self.same(gang, None)
        return f"gone after {gone_s:.1f} s, known after {known_s:.1f} s ({end['cause']}: {end['message'].splitlines()[0][:90]})"

    # --- storage ---

    def full_disk(self):
        # Each worker's folder is a small file system of its own: see main.
        gang = Gang(self.cluster, "full-disk")
        ballast = self.cluster.folder / gang.head / "ballast"
        with open(ballast, "wb") as file:
            try:
                while True:
                    file.write(b"x" * 65536)
                    file.flush()
            except OSError:
                pass
        gone_s = gang.gone(60)
        known_s = gone_s + gang.ended(AFTERWARDS_S)
        end = gang.detail()["attempts"][0]
        ballast.unlink()
        if end["cause"] != "storage":
            raise AssertionError(f"cause {end['cause']}: {end['message']}")
        self.same(gang, None)
        return f"gone after {gone_s:.1f} s (at its next checkpoint), known after {known_s:.1f} s ({end['cause']}: {end['message'].splitlines()[0][:90]})"

    # --- machines; the last, since a third host takes over ---

    def resumes_elsewhere(self, name, lose, bring_back, limit_s):
        gang = Gang(self.cluster, name)
        self.cluster.start_worker("c", 4)
        lose(gang)
        began = time.monotonic()
        hosts.wait_until(lambda: gang.detail()["run"]["attempt"] > 1, clusters.LEASE_MS / 1000 + LINK_TIMEOUT_S + 15, gang.text, pause_s=0.2)
        moved_s = time.monotonic() - began
        gone_s = moved_s + gang.gone(limit_s)
        self.same(gang, None)
        self.cluster.kill_worker("c")
        bring_back(gang)
        self.cluster.await_workers({"a", "b"})
        return f"elsewhere after {moved_s:.1f} s, nothing left after {gone_s:.1f} s"

    def daemon_never_restarted(self):
        return self.resumes_elsewhere("daemon-never-restarted", lambda gang: self.cluster.kill_worker(gang.other),
                                      lambda gang: self.cluster.start_worker(gang.other, 2), LINK_TIMEOUT_S + 15)

    def lost_host(self):
        return self.resumes_elsewhere("lost-host", lambda gang: self.network.unplug(gang.other), lambda gang: self.network.plug(gang.other), LINK_TIMEOUT_S + 15)


HOLD = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
tid = int(sys.argv[1])
for request in (0x4206, 0x4207):  # PTRACE_SEIZE, PTRACE_INTERRUPT
    if libc.ptrace(request, tid, None, None) != 0:
        sys.exit(f"ptrace {request:#x}: {os.strerror(ctypes.get_errno())}")
print("held", flush=True)
# Its parent hears of its end only after its tracer did.
while os.WIFSTOPPED(os.waitpid(tid, 0x40000000)[1]):  # __WALL
    pass
"""


class HeldThread:
    """Stops one thread of a process and no other: the training thread hangs while the process runs."""

    def __init__(self, tid):
        self.holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tid)], stdout=subprocess.PIPE, text=True)
        if self.holder.stdout.readline().strip() != "held":
            raise AssertionError("ptrace is not permitted here")


SHORT = ["undisturbed", "killed_head_rank", "killed_orted", "restarted_daemons", "cut_1_s", "cut_10_s", "cut_for_good", "stopped_rank",
         "stopped_head_rank"]
FULL = ["undisturbed", "killed_rank", "killed_head_rank", "killed_orted", "killed_mpirun", "killed_head_supervisor", "killed_supervisor",
        "stopped_rank", "stopped_head_rank", "hung_step", "restarted_daemons", "cut_1_s", "cut_10_s", "cut_for_good", "full_disk",
        "daemon_never_restarted", "lost_host"]


def small_disk(path):
    path.mkdir(parents=True)
    return subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "entrain-gangs", str(path)], check=False).returncode == 0


def trained_on_one_host(cluster):
    """The weights of the same run with all four ranks on one machine."""
    cluster.start_worker("c", 4)
    cluster.await_workers({"c"})
    gang = Gang(cluster, "one-host")
    workers = gang.detail()["attempts"][0]["workers"] if gang.detail()["attempts"] else []
    weights = gang.succeeded(1)
    if not weights or len(workers) > 1:
        raise AssertionError(f"not one machine: {workers}")
    cluster.kill_worker("c")
    return weights


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs")
    parser.add_argument("--only", default="")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    why_not = hosts.permitted()
    if why_not:
        print(f"skipped: {why_not}")
        return SKIPPED
    if arguments.short:
        Gang.steps = SHORT_STEPS
    names = arguments.only.split(",") if arguments.only else SHORT if arguments.short else FULL
    folder = pathlib.Path(tempfile.mkdtemp(prefix="entrain-gangs-"))
    network = hosts.Network(["a", "b", "c"])
    mounted = [folder / host for host in ("a", "b") if small_disk(folder / host)]
    cluster = None
    failed = True
    try:
        cluster = clusters.Cluster(arguments.programs, folder, network)
        began = time.monotonic()
        reference = trained_on_one_host(cluster)
        print(f"4 ranks on one host          {time.monotonic() - began:6.1f} s  the reference", flush=True)
        for host in ("a", "b"):
            cluster.start_worker(host, 2)
        cluster.await_workers({"a", "b"})
        faults = Faults(cluster, reference)
        for name in names:
            began = time.monotonic()
            outcome = getattr(faults, name)()
            print(f"{name.replace('_', ' '):28} {time.monotonic() - began:6.1f} s  {outcome}", flush=True)
        failed = False
    except AssertionError as failure:
        print(f"FAILED: {failure}")
    finally:
        if failed and cluster:
            for log in sorted(folder.glob("*.log")):
                print(f"--- {log.name}\n{cluster.log(log.stem)}")
        if cluster:
            cluster.close()
        network.close()
        for disk in mounted:
            subprocess.run(["umount", "-l", str(disk)], check=False)
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
