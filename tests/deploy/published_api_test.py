#!/usr/bin/env python3
"""The tests' API server finds what it is there to find: each planted breach, and nothing in a request that is right."""
import copy
import json
import pathlib
import shutil
import ssl
import tempfile
import unittest
import urllib.error
import urllib.request

import kubernetes_api_server
import manifests
import published_api

SCALE = "/apis/apps/v1/namespaces/entrain/statefulsets/entrain-worker/scale"
JOBSETS = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/entrain/jobsets"
PODS = "/api/v1/namespaces/entrain/pods"


class Published(unittest.TestCase):
    def test_paths_and_verbs_are_those_of_the_documents(self):
        self.assertEqual(str(published_api.find("GET", SCALE, {})), "get statefulsets/scale")
        self.assertEqual(str(published_api.find("PUT", SCALE, {})), "update statefulsets/scale")
        self.assertEqual(str(published_api.find("GET", PODS, {})), "list pods")
        self.assertEqual(str(published_api.find("GET", PODS, {"watch": ["true"]})), "watch pods")
        self.assertEqual(str(published_api.find("DELETE", PODS, {})), "deletecollection pods")
        self.assertEqual(str(published_api.find("POST", JOBSETS, {})), "create jobsets")
        self.assertEqual(str(published_api.find("DELETE", JOBSETS + "/x", {})), "delete jobsets")
        for method, path in (("POST", SCALE), ("DELETE", SCALE), ("GET", SCALE + "/status"), ("GET", "/apis/apps/v2/namespaces/a/statefulsets"),
                             ("GET", "/apis/jobset.x-k8s.io/v1/namespaces/a/jobsets"), ("GET", "/api/v1/namespaces/a/podz"), ("GET", "/")):
            self.assertIsNone(published_api.find(method, path, {}), f"{method} {path}")

    def test_parameters(self):
        pods = published_api.find("GET", PODS, {})
        self.assertEqual(pods.problems({"labelSelector": ["a=b"], "limit": ["7"]}, None), [])
        for query in ({"labels": ["a"]}, {"limit": ["many"]}, {"limit": ["1", "2"]}, {"watch": ["maybe"]}):
            self.assertEqual(len(pods.problems(query, None)), 1, query)

    def test_bodies(self):
        scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "x", "resourceVersion": "1"}, "spec": {"replicas": 3}}
        put = published_api.find("PUT", SCALE, {})
        self.assertEqual(put.problems({}, scale), [])
        for wrong in (None, {**scale, "spec": {"replicas": "3"}}, {**scale, "spec": {"replica": 3}}, {**scale, "extra": 1},
                      {**scale, "metadata": {"resourceVersion": 1}}):
            self.assertNotEqual(put.problems({}, wrong), [], wrong)
        self.assertNotEqual(published_api.find("GET", SCALE, {}).problems({}, scale), [])
        drop = published_api.find("DELETE", JOBSETS + "/x", {})
        self.assertEqual(drop.problems({}, {"propagationPolicy": "Foreground", "preconditions": {"uid": "u"}}), [])
        self.assertNotEqual(drop.problems({}, {"preconditions": {"uuid": "u"}}), [])

    def test_a_jobset_is_held_to_its_definition(self):
        made = json.loads(manifests.named(manifests.render(["pool.mode=gangs"]), "ConfigMap", "entrain-pool")["data"]["jobset.json"])
        made["metadata"].update(name="x", namespace="entrain")
        create = published_api.find("POST", JOBSETS, {})
        self.assertEqual(create.problems({}, made), [])
        for change in (lambda it: it["spec"].update(suspended=True), lambda it: it["spec"]["replicatedJobs"][0].update(replicas="1"),
                       lambda it: it["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0].update(argz=[]),
                       lambda it: it["spec"]["replicatedJobs"][0].pop("name")):
            wrong = copy.deepcopy(made)
            change(wrong)
            self.assertNotEqual(create.problems({}, wrong), [])


class Server(unittest.TestCase):
    def setUp(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="published-api-"))
        self.addCleanup(shutil.rmtree, folder)
        rendered = manifests.render(["pool.mode=workers"])
        self.server = kubernetes_api_server.ApiServer(folder, "entrain", rendered, {"good": "entrain-coordinator", "other": "entrain-worker"})
        self.addCleanup(self.server.stop)
        self.server.objects.add_set(manifests.named(rendered, "StatefulSet", "entrain-worker"))
        self.context = ssl.create_default_context(cafile=str(self.server.authority))

    def ask(self, method, path, token="good", body=None, kind="application/json"):
        request = urllib.request.Request(self.server.address + path, method=method, data=json.dumps(body).encode() if body else None,
                                         headers={"Authorization": f"Bearer {token}", "Accept": "application/json", "Content-Type": kind})
        try:
            answer = urllib.request.urlopen(request, context=self.context, timeout=30)
            return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def test_answers_are_what_clusters_give(self):
        code, scale = self.ask("GET", SCALE)
        self.assertEqual((code, scale["spec"]["replicas"]), (200, 1))
        self.assertEqual(list(published_api.component("io.k8s.api.autoscaling.v1.Scale").iter_errors(scale)), [])
        code, pods = self.ask("GET", PODS)
        self.assertEqual((code, len(pods["items"])), (200, 1))
        self.assertEqual(list(published_api.component("io.k8s.api.core.v1.PodList", "api__v1_openapi.json").iter_errors(pods)), [])
        self.assertEqual(self.server.problems(), [])

    def test_only_the_rendered_rights(self):
        for method, path in (("GET", SCALE.replace("entrain-worker", "entrain-coordinator")), ("GET", SCALE.replace("/entrain/", "/other/")),
                             ("GET", PODS + "/entrain-worker-0"), ("DELETE", PODS + "/entrain-worker-0"), ("GET", JOBSETS), ("GET", SCALE[:-6])):
            code, answer = self.ask(method, path)
            self.assertEqual((code, answer["reason"]), (403, "Forbidden"), path)
        self.assertEqual(self.ask("GET", SCALE, token="other")[0], 403)
        self.assertEqual(self.ask("GET", SCALE, token="bad")[0], 401)

    def test_a_write_against_an_older_version_conflicts(self):
        _, scale = self.ask("GET", SCALE)
        wanted = {**scale, "spec": {"replicas": 2}}
        self.assertEqual(self.ask("PUT", SCALE, body=wanted)[0], 200)
        code, answer = self.ask("PUT", SCALE, body=wanted)
        self.assertEqual((code, answer["reason"]), (409, "Conflict"))
        self.assertEqual(list(published_api.component("io.k8s.apimachinery.pkg.apis.meta.v1.Status").iter_errors(answer)), [])

    def test_breaches_are_kept(self):
        _, scale = self.ask("GET", SCALE)
        for number, (method, path, body, kind) in enumerate([("GET", "/api/v1/podz", None, "application/json"),
                                                             ("GET", PODS + "?labels=a", None, "application/json"),
                                                             ("PUT", SCALE, {**scale, "x": 1}, "application/json"),
                                                             ("PUT", SCALE, {**scale, "metadata": {"name": "entrain-worker", "namespace": "entrain"}},
                                                              "text/plain")], 1):
            self.ask(method, path, body=body, kind=kind)
            self.assertEqual(len(self.server.problems()), number, self.server.problems())


if __name__ == "__main__":
    unittest.main()
