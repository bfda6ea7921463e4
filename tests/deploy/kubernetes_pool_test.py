#!/usr/bin/env python3
"""The Kubernetes pools' provider against an API server that holds every request to the published API and to the rights that the chart renders,
and that conflicts, refuses, stalls, breaks off and answers nonsense.

    kubernetes_pool_test.py PROBE     tests/coordinator/pool/kubernetes_pool_probe
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import kubernetes_api_server
import manifests
from kubernetes_api_server import Fault

PROBE = pathlib.Path(sys.argv.pop(1))
SCALE_GET, SCALE_PUT, PODS = "get statefulsets/scale", "update statefulsets/scale", "list pods"
MAKE, DROP, SETS = "create jobsets", "delete jobsets", "list jobsets"


class Pool(unittest.TestCase):
    """An API server, and the provider as a process of its own."""

    settings = []
    replicas = 0

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kubernetes-pool-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.rendered = manifests.render(self.settings)
        self.server = kubernetes_api_server.ApiServer(self.folder / "server", "entrain", self.rendered, {"first": "entrain-coordinator"})
        self.addCleanup(self.server.stop)
        self.add_workers()
        self.account = self.folder / "account"
        self.account.mkdir()
        (self.account / "token").write_text("first\n")
        (self.account / "namespace").write_text("entrain")
        shutil.copy(self.server.authority, self.account / "ca.crt")
        self.probe = None
        self.begin()

    def add_workers(self):
        workers = manifests.named(self.rendered, "StatefulSet", "entrain-worker")
        workers["spec"]["replicas"] = self.replicas
        self.server.objects.add_set(workers)

    def tearDown(self):
        self.end()
        self.assertEqual(self.server.problems(), [])

    def begin(self, expected="OK", limit_ms=6000):
        path = manifests.pool_file(self.rendered, self.folder, server=self.server.address, account=self.account)
        self.probe = subprocess.Popen([PROBE, path, str(limit_ms)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        answer = json.loads(self.probe.stdout.readline())
        self.assertEqual(answer["status"], expected, answer)
        return answer

    def end(self):
        if self.probe:
            self.probe.stdin.close()
            self.assertIn(self.probe.wait(30), (0, 1))
            self.probe.stdout.close()
            self.probe = None

    def hurry(self):
        """For what gets no better by waiting: no answer is expected in time from here on."""
        self.end()
        self.begin(limit_ms=900)

    def send(self, line):
        self.probe.stdin.write(line + "\n")
        self.probe.stdin.flush()

    def receive(self, expected="OK"):
        answer = json.loads(self.probe.stdout.readline())
        self.assertEqual(answer["status"], expected, answer)
        return answer

    def ask(self, line, expected="OK"):
        self.send(line)
        return self.receive(expected)

    def listed(self):
        return [(machine["id"], machine["state"], machine["detail"]) for machine in self.ask("list")["machines"]]

    def ready(self, name):
        self.server.objects.pod_status(name, "Running", ready=True)

    def wants(self):
        with self.server.lock:
            return self.server.objects.get("statefulsets", "entrain-worker")["spec"]["replicas"]


class Workers(Pool):
    settings = ["pool.mode=workers", "pool.max=4"]

    def test_from_nothing_to_some_and_back(self):
        self.assertEqual(self.listed(), [])
        self.ask("grow 2")
        self.assertEqual(self.listed(), [("entrain-worker-0", "pending", "starting"), ("entrain-worker-1", "pending", "starting")])
        self.ready("entrain-worker-0")
        self.server.objects.pod_status("entrain-worker-1", "Pending", conditions=[
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu."}])
        self.assertEqual(self.listed(), [("entrain-worker-0", "up", ""),
                                         ("entrain-worker-1", "pending", "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu.")])
        self.ask("release entrain-worker-1 entrain-worker-1")
        self.assertEqual(self.wants(), 1)
        # Until the kubelet has ended it.
        self.assertEqual(self.listed()[1], ("entrain-worker-1", "leaving", "terminating"))
        self.server.objects.pod_ended("entrain-worker-1")
        self.assertEqual([machine[0] for machine in self.listed()], ["entrain-worker-0"])

    def test_never_more_than_the_most(self):
        self.ask("grow 3")
        self.ask("grow 3")
        self.assertEqual(self.wants(), 4)
        self.ask("grow 1")
        self.assertEqual(len(self.server.asked(SCALE_PUT)), 2)

    def test_only_the_last_pods_go(self):
        self.ask("grow 3")
        answer = self.ask("release entrain-worker-0 entrain-worker-0", "FAILED_PRECONDITION")
        self.assertIn("gives back its last pods first, and entrain-worker-1 is not to go with entrain-worker-0", answer["message"])
        self.assertEqual(self.wants(), 3)
        self.ask("release entrain-worker-2 entrain-worker-2 entrain-worker-1 entrain-worker-1")
        self.assertEqual(self.wants(), 1)
        # What is gone already is no error.
        self.ask("release entrain-worker-2 entrain-worker-2")
        self.ask("release other-2 other-2", "FAILED_PRECONDITION")
        self.assertEqual(self.wants(), 1)

    def test_a_conflict_is_read_again(self):
        # The set's controller writes between our reading and our writing.
        for _ in range(3):
            self.server.disturb(Fault("status", SCALE_PUT, code=409, body={
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Conflict", "code": 409,
                "message": "the object has been modified"}))
        self.ask("grow 2")
        self.assertEqual(self.wants(), 2)
        self.assertEqual(len(self.server.asked(SCALE_GET)), 4)

    def test_a_set_that_somebody_else_always_changes(self):
        self.server.disturb(Fault("status", SCALE_PUT, times=100, code=409))
        self.assertIn("who else changes this set", self.ask("grow 1", "UNAVAILABLE")["message"])

    def test_an_answer_that_was_lost_doubles_nothing(self):
        self.server.disturb(Fault("lose", SCALE_PUT))
        self.ask("grow 2")
        self.assertEqual(self.wants(), 2)
        self.server.disturb(Fault("lose", SCALE_PUT))
        self.ask("release entrain-worker-1 entrain-worker-1")
        self.assertEqual(self.wants(), 1)
        self.assertEqual([one.code for one in self.server.asked(SCALE_PUT)], [0, 409, 0, 409])

    def test_a_provider_that_starts_again_asks_what_there_is(self):
        self.ask("grow 2")
        before = self.listed()
        self.end()
        self.begin()
        self.assertEqual(self.listed(), before)
        self.assertEqual(self.wants(), 2)

    def test_a_pod_that_is_made_anew_is_not_asked_for_again(self):
        self.ask("grow 1")
        self.ready("entrain-worker-0")
        with self.server.lock:
            pod = self.server.objects.get("pods", "entrain-worker-0")
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        self.assertEqual(self.listed(), [("entrain-worker-0", "pending", "to be made anew: terminating")])
        with self.server.lock:
            del self.server.objects.kept["pods", "entrain-worker-0"]
        self.assertEqual(self.listed(), [("entrain-worker-0", "pending", "no pod yet")])

    def test_pods_of_others_are_not_ours(self):
        self.ask("grow 1")
        workers = manifests.named(self.rendered, "StatefulSet", "entrain-worker")
        with self.server.lock:
            mine = self.server.objects.get("statefulsets", "entrain-worker")
            for name, owner in (("entrain-worker-1", "other"), ("entrain-worker-x", "entrain-worker"), ("gangs-r1-worker-0-0-abcde", "gangs-r1")):
                self.server.objects.add_pod({**mine, "metadata": {**mine["metadata"], "name": owner}}, name, workers["spec"]["template"], {}, {})
        self.assertEqual([machine[0] for machine in self.listed()], ["entrain-worker-0"])

    def test_pages(self):
        self.ask("grow 4")
        self.server.page_limit = 1
        self.assertEqual(len(self.listed()), 4)
        self.assertEqual(len(self.server.asked(PODS)), 4)
        # The list expires between two pages: from the beginning, once.
        self.server.disturb(Fault("status", PODS, code=410))
        self.assertEqual(len(self.listed()), 4)
        self.server.disturb(Fault("status", PODS, times=2, code=410))
        self.assertIn("410", self.ask("list", "FAILED_PRECONDITION")["message"])

    def test_a_busy_server_is_asked_again(self):
        self.server.disturb(Fault("status", SCALE_GET, code=500))
        self.server.disturb(Fault("status", SCALE_GET, code=503))
        self.server.disturb(Fault("drop", SCALE_GET))
        self.ask("grow 1")
        self.assertEqual(self.wants(), 1)
        self.assertEqual([one.code for one in self.server.asked(SCALE_GET)], [500, 503, 0, 200])

    def test_retry_after_is_honoured(self):
        self.server.disturb(Fault("status", SCALE_GET, code=429, headers={"Retry-After": "2"}))
        started_s = time.monotonic()
        self.ask("list")
        self.assertGreaterEqual(time.monotonic() - started_s, 2)
        self.server.disturb(Fault("status", SCALE_GET, code=429, headers={"Retry-After": "3600"}))
        self.assertIn("asks to wait 3600 s", self.ask("list", "UNAVAILABLE")["message"])
        self.assertEqual([one.code for one in self.server.asked(SCALE_GET)], [429, 200, 429])

    def test_a_server_that_never_answers_ends_by_the_deadline(self):
        self.hurry()
        fault = self.server.disturb(Fault("slow", SCALE_GET, times=100))
        self.addCleanup(fault.release.set)
        self.assertIn("timed out", self.ask("list", "UNAVAILABLE")["message"].lower())

    def test_answers_without_end_or_sense(self):
        ok = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        bodies = (b"<html>", b"[1]", b"\xff\xfe", b'{"kind": "Pod"}', b'{"kind": "Scale", "metadata": 7}', b'{"kind": "Scale", "spec": {"replicas": -1}}',
                  b'{"kind": "Scale", "spec": {"replicas": 99999999999}, "metadata": {"resourceVersion": "1"}}', b'{"a": ' * 100000)
        self.hurry()
        for body in bodies:
            self.server.disturb(Fault("raw", SCALE_GET, times=20, raw=ok + b"\r\n" + body))
            self.ask("list", "UNAVAILABLE")
            self.server.faults.clear()
        for raw in (b"not http\r\n\r\n", ok + b"Content-Length: 900\r\n\r\n{}", b""):
            self.server.disturb(Fault("raw", SCALE_GET, times=20, raw=raw))
            self.ask("list", "UNAVAILABLE")
            self.server.faults.clear()
        self.end()
        self.begin()
        self.assertEqual(self.listed(), [])
        self.server.disturb(Fault("endless", SCALE_GET, times=20))
        self.assertIn("larger than", self.ask("list", "UNAVAILABLE")["message"])

    def test_the_server_is_away_and_comes_back(self):
        self.ask("grow 1")
        self.server.stop()
        self.ask("list", "UNAVAILABLE")
        self.server.start()
        self.assertEqual(len(self.listed()), 1)

    def test_the_token_is_read_again(self):
        self.ask("list")
        self.server.tokens = {"second": "entrain-coordinator"}
        self.assertIn("401", self.ask("list", "FAILED_PRECONDITION")["message"])
        (self.account / "token").write_text("second")
        self.ask("list")
        (self.account / "token").unlink()
        self.assertIn("token", self.ask("list", "UNAVAILABLE")["message"])

    def test_a_token_that_cannot_be_sent(self):
        self.hurry()
        (self.account / "token").write_text("first\r\nX-Remote-User: admin")
        self.assertNotIn("admin", self.ask("list", "UNAVAILABLE")["message"])
        self.assertEqual(self.server.requests, [])

    def test_another_authority_is_not_trusted(self):
        other, _, _ = kubernetes_api_server.make_authority(self.folder / "other")
        shutil.copy(other, self.account / "ca.crt")
        self.assertIn("certificate", self.ask("list", "UNAVAILABLE")["message"].lower())
        self.assertEqual(self.server.requests, [])
        # A renewed authority counts without a restart.
        shutil.copy(self.server.authority, self.account / "ca.crt")
        self.ask("list")

    def test_rights_beyond_the_role_are_refused(self):
        self.server.rights = [item for item in self.server.rights if item["kind"] != "RoleBinding"]
        message = self.ask("grow 1", "FAILED_PRECONDITION")["message"]
        self.assertIn('403 Forbidden: statefulsets "entrain-worker" is forbidden: User "system:serviceaccount:entrain:entrain-coordinator" cannot get',
                      message)
        self.assertEqual(self.wants(), 0)

    def test_another_set_is_no_business_of_ours(self):
        self.end()
        workers = manifests.named(self.rendered, "ConfigMap", "entrain-pool")["data"]
        workers["pool.yaml"] = workers["pool.yaml"].replace("workers: entrain-worker", "workers: entrain-coordinator")
        self.begin()
        self.assertIn("403", self.ask("list", "FAILED_PRECONDITION")["message"])

    def test_what_a_pod_lacks_is_named(self):
        for name, why in (("token", "token"), ("ca.crt", "ca.crt"), ("namespace", "namespace")):
            self.end()
            text = (self.account / name).read_text()
            (self.account / name).unlink()
            self.assertIn(why, self.begin("FAILED_PRECONDITION")["message"])
            (self.account / name).write_text(text)

    def test_no_token_without_tls(self):
        self.end()
        path = manifests.pool_file(self.rendered, self.folder, server=self.server.address.replace("https", "http"), account=self.account)
        done = subprocess.run([PROBE, path, "1000"], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)
        self.assertIn("is not https", done.stdout)


class Gangs(Pool):
    settings = ["pool.mode=gangs", "worker.replicas=0"]
    run_id = "r0123456789"
    jobset = "gangs-r0123456789"

    def pods(self):
        with self.server.lock:
            return sorted(pod["metadata"]["name"] for pod in self.server.objects.of("pods"))

    def grow(self, expected="OK", machines=2):
        return self.ask(f"grow {machines} {self.run_id} {machines} 2", expected)

    def release(self, *indices, expected="OK"):
        return self.ask("release " + " ".join(f"{self.jobset}-worker-0-{index} {self.jobset}" for index in indices), expected)

    def test_a_gang_comes_and_goes_whole(self):
        self.assertEqual(self.listed(), [])
        self.grow()
        self.assertEqual(self.listed(), [(f"{self.jobset}-worker-0-0", "pending", "starting"), (f"{self.jobset}-worker-0-1", "pending", "starting")])
        for pod in self.pods():
            self.ready(pod)
        machines = self.ask("list")["machines"]
        self.assertEqual([machine["worker"] for machine in machines], self.pods())
        self.assertEqual({machine["state"] for machine in machines}, {"up"})
        self.assertEqual({machine["unit"] for machine in machines}, {self.jobset})
        self.assertIn("goes whole or not at all", self.release(0, expected="FAILED_PRECONDITION")["message"])
        self.assertEqual(len(self.server.asked(DROP)), 0)
        self.release(0, 1)
        self.assertEqual({state for _, state, _ in self.listed()}, {"leaving"})
        # Asked to go twice, it goes once.
        self.release(0, 1)
        self.assertEqual(len(self.server.asked(DROP)), 1)
        for pod in self.pods():
            self.server.objects.pod_ended(pod)
        self.assertEqual(self.listed(), [])
        self.release(0, 1)

    def test_what_is_made(self):
        self.grow(machines=3)
        made, = [one.body for one in self.server.asked(MAKE, 201)]
        job = made["spec"]["replicatedJobs"][0]["template"]["spec"]
        self.assertEqual((job["parallelism"], job["completions"], made["spec"]["suspend"]), (3, 3, False))
        self.assertEqual(made["metadata"]["labels"]["entrain/cluster"], "entrain")
        self.assertEqual(made["metadata"]["annotations"]["entrain/run"], self.run_id)

    def test_a_gang_never_gets_two(self):
        self.grow()
        self.grow()
        self.server.disturb(Fault("lose", MAKE))
        self.run_id, first = "rabcdefabcd", self.run_id
        self.grow()
        self.assertEqual(len(self.listed()), 4)
        self.run_id = first
        self.end()
        self.begin()
        self.grow()
        self.assertEqual(len(self.listed()), 4)
        self.assertEqual([one.code for one in self.server.asked(MAKE)], [201, 409, 0, 409, 409])

    def test_machines_for_nobody_are_not_made(self):
        self.ask("grow 2", "FAILED_PRECONDITION")
        self.assertEqual(self.server.asked(MAKE), [])

    def test_one_that_ended_makes_room(self):
        self.grow()
        self.server.objects.end_jobset(self.jobset, "Failed", "jobset failed due to one or more job failures")
        self.assertEqual(self.listed()[0], (f"{self.jobset}-worker-0-0", "leaving", "Failed: jobset failed due to one or more job failures"))
        self.assertIn("is not gone yet", self.grow("UNAVAILABLE")["message"])
        self.assertIn("is being deleted", self.grow("UNAVAILABLE")["message"])
        for pod in self.pods():
            self.server.objects.pod_ended(pod)
        self.grow()
        self.assertEqual({state for _, state, _ in self.listed()}, {"pending"})

    def test_a_jobset_of_another_is_left_alone(self):
        self.grow()
        with self.server.lock:
            self.server.objects.get("jobsets", self.jobset)["metadata"]["labels"]["entrain/cluster"] = "other"
        self.assertEqual(self.listed(), [])
        self.assertIn("is not of the cluster entrain's pool gangs", self.grow("FAILED_PRECONDITION")["message"])
        self.release(0, 1)
        self.assertEqual(self.server.asked(DROP), [])

    def test_a_later_jobset_of_the_same_name_is_not_deleted(self):
        self.grow()
        # Between our list and our delete it was made anew by hand.
        self.server.disturb(Fault("status", DROP, code=409))
        self.release(0, 1)
        self.assertEqual(len(self.pods()), 2)

    def test_a_quota_that_refuses(self):
        self.server.disturb(Fault("status", MAKE, code=403, body={
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden", "code": 403,
            "message": 'jobsets.jobset.x-k8s.io "x" is forbidden: exceeded quota: jobs, requested: count/jobsets=1, used: 4, limited: 4'}))
        self.assertIn("exceeded quota", self.grow("RESOURCE_EXHAUSTED")["message"])

    def test_no_jobset_controller(self):
        self.server.disturb(Fault("status", MAKE, code=404, body={
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
            "message": "the server could not find the requested resource"}))
        self.assertIn("404 NotFound", self.grow("FAILED_PRECONDITION")["message"])


class GangsWithKueue(Gangs):
    settings = ["pool.mode=gangs", "worker.replicas=0", "pool.queue=training", "pool.createQueue=true"]

    def grow(self, expected="OK", machines=2):
        answer = super().grow(expected, machines)
        if expected == "OK" and self.admitting:
            self.server.objects.admit("gangs-" + self.run_id)
        return answer

    admitting = True

    def test_what_is_made(self):
        self.admitting = False
        self.grow(machines=3)
        made, = [one.body for one in self.server.asked(MAKE, 201)]
        self.assertEqual((made["spec"]["suspend"], made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]), (True, "training"))

    def test_why_kueue_holds_it_back(self):
        self.admitting = False
        self.grow()
        self.assertEqual(self.listed()[0], (f"{self.jobset}-worker-0-0", "pending", "Kueue: Pending: couldn't assign flavors to pod set worker: "
                                            "insufficient unused quota for cpu"))
        # A cluster whose Kueue cannot be asked holds it back all the same.
        self.server.disturb(Fault("status", "list workloads", code=404))
        self.assertEqual(self.listed()[1], (f"{self.jobset}-worker-0-1", "pending", "waits in Kueue's queue training"))
        self.server.objects.admit(self.jobset)
        self.assertEqual(self.listed()[0], (f"{self.jobset}-worker-0-0", "pending", "starting"))

    def test_a_gang_in_the_queue_can_be_given_up(self):
        self.admitting = False
        self.grow()
        self.release(0, 1)
        self.assertEqual(self.listed(), [])


if __name__ == "__main__":
    unittest.main()
