#!/usr/bin/env python3
"""The worker image's init, under tini as in the image, with a shell script in the daemon's place: it restarts a daemon that dies, leaves what
the daemon started alone, reaps it, and passes one drain on however often it is asked."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

INIT = pathlib.Path(__file__).resolve().parents[2] / "deploy/images/worker-init"
LIMIT_S = 30

# Says what happens to it in `log`. "gang" leaves a process of a session of its own behind, as a supervisor is, and dies at the first start.
DAEMON = """#!/bin/sh
echo "start $*" >> "$LOG"
trap 'echo term >> "$LOG"; while [ ! -e "$LOG.go" ]; do sleep 0.05; done; exit 0' TERM
case "$1" in
  gang) if [ ! -e "$LOG.gang" ]; then setsid sleep 300 & echo $! > "$LOG.gang"; kill -9 $$; fi ;;
  status) exit "$2" ;;
esac
echo ready >> "$LOG"
while :; do sleep 0.05; done
"""


def alive(pid):
    """Neither gone nor a zombie."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class WorkerInit(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="worker-init-"))
        self.addCleanup(shutil.rmtree, self.folder)
        daemon = self.folder / "daemon"
        daemon.write_text(DAEMON)
        daemon.chmod(0o755)
        self.log = self.folder / "log"
        self.environment = {**os.environ, "LOG": str(self.log), "TMPDIR": str(self.folder), "ENTRAIN_WORKER_PROGRAM": str(daemon)}

    def start(self, *arguments):
        process = subprocess.Popen(["tini", "-s", "--", str(INIT), *arguments], env=self.environment, stderr=subprocess.DEVNULL,
                                   start_new_session=True)
        self.addCleanup(self.end_session, process)
        return process

    # tini gives its child a process group of its own, so that a group is not enough.
    @staticmethod
    def end_session(process):
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(stat.read_text().rsplit(")", 1)[1].split()[3]) == process.pid:
                    os.kill(int(stat.parent.name), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                continue
        process.wait(LIMIT_S)

    def lines(self):
        return self.log.read_text().split("\n")[:-1] if self.log.exists() else []

    def await_that(self, condition):
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"not within {LIMIT_S} s; the log says {self.lines()}")
            time.sleep(0.02)

    def test_a_dead_daemon_is_started_again_and_its_gang_lives(self):
        process = self.start("gang", "--flag=with space")
        self.await_that(lambda: "ready" in self.lines())
        self.assertEqual(self.lines(), ["start gang --flag=with space"] * 2 + ["ready"])
        gang = int(pathlib.Path(f"{self.log}.gang").read_text())
        self.assertTrue(alive(gang))
        # An orphan belongs to process 1, here tini, which reaps it.
        os.kill(gang, signal.SIGKILL)
        self.await_that(lambda: not pathlib.Path(f"/proc/{gang}").exists())
        self.assertIsNone(process.poll())

    def test_one_drain_reaches_the_daemon_and_the_init_waits_for_it(self):
        process = self.start("run")
        self.await_that(lambda: "ready" in self.lines())
        hook = subprocess.Popen([str(INIT), "--drain"], env=self.environment)
        self.await_that(lambda: "term" in self.lines())
        # The kubelet's signal after the hook, and an impatient person's.
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)  # not for something to happen, but for nothing to
        self.assertEqual(self.lines(), ["start run", "ready", "term"])
        self.assertIsNone(process.poll())
        self.assertIsNone(hook.poll())
        pathlib.Path(f"{self.log}.go").touch()
        self.assertEqual(process.wait(LIMIT_S), 0)
        self.assertEqual(hook.wait(LIMIT_S), 0)

    def test_what_ends_it(self):
        self.assertEqual(self.start("status", "0").wait(LIMIT_S), 0)
        # Wrong arguments stay wrong: the kubelet shall show it.
        self.assertEqual(self.start("status", "64").wait(LIMIT_S), 64)
        self.assertEqual(len(self.lines()), 2)

    def test_it_can_be_ended_while_it_waits(self):
        process = self.start("status", "1")
        self.await_that(lambda: len(self.lines()) >= 2)
        started_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(LIMIT_S), 1)
        self.assertLess(time.monotonic() - started_s, 10)

    def test_without_a_daemon_a_drain_fails(self):
        done = subprocess.run([str(INIT), "--drain"], env=self.environment, stderr=subprocess.DEVNULL, timeout=LIMIT_S)
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main()
