#!/usr/bin/env python3
"""Whole sweeps on machines that come and go: the real coordinator with a Kubernetes pool, the API server of these tests, and pods that are real
workers, started from the chart's own pod templates.

    elastic_pool_test.py BIN_DIR
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import kubernetes_api_server
import manifests
import pod_processes
from kubernetes_api_server import Fault

BIN_DIR = pathlib.Path(sys.argv.pop(1))
LIMIT_S = 120
SWEEP = """name: elastic
data: {{path: {text}, tokenizer: bytes}}
model: {{n_layer: 1, n_head: 2, n_embd: 16}}
train: {{steps: {steps}, batch_size: 2, context: 16, lr: 1e-3, checkpoint_interval_steps: 10}}
resources: {{ranks_per_machine: {ranks}}}
variants: [{variants}]
"""
# What a pod's addresses and volumes are here. Pods' names lead nowhere on this machine, so that no gang spans two of them.
HERE = {"--metrics=": "--metrics=127.0.0.1:0", "--peer-": None, "--dir=": "--dir={pod}/state"}
SCALE_PUT = "update statefulsets/scale"


def issue(folder, rendered):
    """What cert-manager makes of the chart's Certificates: folder/HOLDER/{ca.crt,tls.crt,tls.key}."""
    run = lambda *arguments: subprocess.run(["openssl", *map(str, arguments)], cwd=folder, check=True, capture_output=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    folder.mkdir()
    run("req", "-x509", *key, "-days", 2, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=entrain authority")
    for holder in ("coordinator", "worker", "client"):
        spec = manifests.named(rendered, "Certificate", f"entrain-{holder}")["spec"]
        target = folder / holder
        target.mkdir()
        subject = "".join(f"/O={name}" for name in spec.get("subject", {}).get("organizations", [])) + f"/CN={spec['commonName']}"
        run("req", "-new", *key, "-keyout", target / "tls.key", "-out", f"{holder}.csr", "-subj", subject)
        usages = ",".join({"server auth": "serverAuth", "client auth": "clientAuth"}[usage] for usage in spec["usages"] if usage.endswith("auth"))
        (folder / "extensions").write_text("subjectAltName=" + ",".join(f"DNS:{name}" for name in spec["dnsNames"]) + f"\nextendedKeyUsage={usages}\n")
        run("x509", "-req", "-in", f"{holder}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", 2, "-extfile", "extensions",
            "-out", target / "tls.crt")
        shutil.copy(folder / "ca.crt", target / "ca.crt")


def tls(folder):
    return [f"--tls-ca={folder}/ca.crt", f"--tls-cert={folder}/tls.crt", f"--tls-key={folder}/tls.key"]


class Cluster(unittest.TestCase):
    settings = []
    pool_lines = ["poll_seconds: 1"]

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="elastic-pool-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.rendered = manifests.render(["worker.slots=1", "pool.idleSeconds=2", *self.settings])
        self.pods = pod_processes.PodProcesses(self.folder / "pods", BIN_DIR / "entrain-worker", dict(HERE))
        self.server = kubernetes_api_server.ApiServer(self.folder / "server", "entrain", self.rendered, {"token": "entrain-coordinator"}, self.pods)
        self.addCleanup(self.server.stop)
        self.objects = self.server.objects
        workers = manifests.named(self.rendered, "StatefulSet", "entrain-worker")
        workers["spec"]["replicas"] = 0
        self.objects.add_set(workers)
        account = self.folder / "account"
        account.mkdir()
        (account / "token").write_text("token")
        (account / "namespace").write_text("entrain")
        shutil.copy(self.server.authority, account / "ca.crt")
        self.pool = manifests.pool_file(self.rendered, self.folder, account=account)
        self.pool.write_text("\n".join(self.pool_lines) + "\n" + self.pool.read_text())
        self.certificates = self.folder / "tls"
        issue(self.certificates, self.rendered)
        self.coordinator = None
        self.port = 0
        self.start_coordinator()
        self.pods.replace["--coordinator="] = f"--coordinator=localhost:{self.port}"
        self.pods.replace.update({argument.split("=")[0] + "=": argument for argument in tls(self.certificates / "worker")})
        self.pods.replace["--artifacts="] = f"--artifacts={self.folder}/artifacts"
        self.pods.begin(self.objects)
        self.addCleanup(self.stop)
        text = self.folder / "text"
        text.mkdir()
        for number in range(20):
            (text / f"{number}.txt").write_text(f"Document {number}. " + " ".join(f"word{(number * step) % 97}" for step in range(300)))

    def start_coordinator(self):
        file = self.folder / "address"
        file.unlink(missing_ok=True)
        environment = {**os.environ, "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.server.port)}
        command = [BIN_DIR / "entrain-coordinator", f"--data-dir={self.folder}/data", f"--artifacts={self.folder}/artifacts",
                   f"--listen=127.0.0.1:{self.port}", f"--address-file={file}", f"--pool={self.pool}", "--lease-ms=5000", "--heartbeat-ms=1000",
                   *tls(self.certificates / "coordinator")]
        with open(self.folder / "coordinator.log", "a") as log:
            self.coordinator = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        address = self.await_that("the coordinator", lambda: file.exists() and file.read_text().strip())
        self.port = address.rsplit(":", 1)[1]

    def kill_coordinator(self):
        self.coordinator.send_signal(signal.SIGKILL)
        self.coordinator.wait(LIMIT_S)

    def stop(self):
        failed = self._outcome.result.failures + self._outcome.result.errors
        self.coordinator.terminate()
        self.coordinator.wait(LIMIT_S)
        self.pods.close()
        if any(case is self for case, _ in failed):
            for log in [self.folder / "coordinator.log", *sorted((self.folder / "pods").glob("*.log"))]:
                print(f"== {log.name}\n{log.read_text()[-3000:]}", file=sys.stderr)

    def await_that(self, what, condition):
        deadline = time.monotonic() + LIMIT_S
        while True:
            found = condition()
            if found:
                return found
            self.assertIsNone(self.coordinator.poll(), (self.folder / "coordinator.log").read_text()[-3000:])
            self.assertLess(time.monotonic(), deadline, f"{what}: not within {LIMIT_S} s")
            time.sleep(0.05)

    def entrain(self, *arguments, expected=0):
        command = [BIN_DIR / "entrain", *arguments, f"--coordinator=localhost:{self.port}", *tls(self.certificates / "client")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
        self.assertEqual(done.returncode, expected, done.stdout + done.stderr)
        return done.stdout

    def submit(self, runs, steps=20, ranks=1):
        variants = ["SM+LN+G", "SM+LN+R", "SM+LN", "SM+G"][:runs]
        sweep = self.folder / "sweep.yaml"
        sweep.write_text(SWEEP.format(text=self.folder / "text", steps=steps, ranks=ranks, variants=", ".join(variants)))
        self.entrain("submit", sweep, f"--artifacts={self.folder}/artifacts")

    def runs(self):
        return json.loads(self.entrain("describe", "last", "-o", "json"))["runs"]

    def states(self):
        return sorted(run["state"] for run in self.runs())

    def explained(self, what):
        """A waiting run's explanation, once it says this."""
        run = self.runs()[0]["id"]
        return self.await_that(f"explain: {what}", lambda: (text := self.entrain("explain", run)) and re.search(what, text) and text)

    def await_end(self, runs):
        self.await_that("the sweep's end", lambda: self.states() == ["succeeded"] * runs)

    def wants(self):
        with self.server.lock:
            return self.objects.get("statefulsets", "entrain-worker")["spec"]["replicas"]

    def live_pods(self):
        with self.server.lock:
            return len(self.objects.of("pods"))

    def writes(self):
        """What was written, in order."""
        return [one.body["spec"]["replicas"] for one in self.server.asked(SCALE_PUT, 200)]


class Workers(Cluster):
    settings = ["pool.mode=workers", "pool.max=2"]

    def test_a_sweep_from_no_worker_to_the_end_and_back(self):
        self.submit(runs=3)
        self.await_end(3)
        self.await_that("an empty pool", lambda: self.wants() == 0 and self.live_pods() == 0)
        self.assertEqual(max(self.writes()), 2)
        # Never more pods than the most at a time, and none but the set's own.
        self.assertLessEqual(set(self.pods.started), {"entrain-worker-0", "entrain-worker-1"})
        # Who is gone is off the list.
        self.await_that("an empty fleet", lambda: "entrain-worker-" not in self.entrain("workers", "-o", "json"))
        self.assertEqual(self.server.problems(), [])

    def test_a_coordinator_that_is_killed_neither_doubles_nor_loses(self):
        self.pods.blocked = "0/1 nodes are available: 1 Insufficient cpu."
        self.submit(runs=2)
        self.await_that("two pods asked for", lambda: self.wants() == 2)
        self.explained(r"Insufficient cpu")
        self.kill_coordinator()
        self.start_coordinator()
        self.explained(r"Insufficient cpu")
        self.assertEqual(self.writes(), [2])
        self.pods.unblock()
        self.await_end(2)
        self.await_that("an empty pool", lambda: self.wants() == 0 and self.live_pods() == 0)
        self.assertEqual(self.server.problems(), [])

    def test_the_api_server_is_away_while_runs_train(self):
        self.submit(runs=1, steps=150)
        self.await_that("a running run", lambda: self.states() == ["running"])
        self.server.stop()
        self.await_end(1)
        self.server.start()
        self.await_that("an empty pool", lambda: self.wants() == 0 and self.live_pods() == 0)
        self.assertEqual(self.server.problems(), [])

    def test_a_refusal_is_explained(self):
        rights, self.server.rights = self.server.rights, []
        self.submit(runs=1)
        self.assertNotIn("never", self.explained(r"cannot get"))
        self.assertEqual(self.states(), ["queued"])
        self.server.rights = rights
        self.await_end(1)
        self.assertEqual(self.server.problems(), [])


class Gangs(Cluster):
    settings = ["pool.mode=gangs", "worker.replicas=0", "worker.slots=2", "pool.max=2", "pool.queue=training", "pool.createQueue=true"]

    def jobsets(self):
        with self.server.lock:
            return [item["metadata"]["name"] for item in self.objects.of("jobsets")]

    def test_a_gang_waits_for_kueue_trains_and_its_machines_go(self):
        self.submit(runs=1, ranks=2)
        name, = self.await_that("a JobSet", self.jobsets)
        self.assertEqual(name, "gangs-" + self.runs()[0]["id"])
        self.explained("insufficient unused quota")
        self.kill_coordinator()
        self.start_coordinator()
        self.explained("insufficient unused quota")
        self.assertEqual(self.jobsets(), [name])
        self.objects.admit(name)
        self.await_end(1)
        self.await_that("no JobSet", lambda: not self.jobsets() and self.live_pods() == 0)
        self.assertEqual(len(self.server.asked("create jobsets", 201)), 1)
        self.assertEqual(len(self.server.asked("delete jobsets", 200)), 1)
        self.assertEqual(self.server.problems(), [])


if __name__ == "__main__":
    unittest.main()
