#!/usr/bin/env python3
"""The schema check itself: it accepts what is right and finds every planted mistake, in built-in kinds and in custom resources."""
import copy
import unittest

import strict_schema

SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 1, "targetPort": "x"}]}}
POD_MONITOR = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "a"},
               "spec": {"selector": {"matchLabels": {"a": "b"}}, "podMetricsEndpoints": [{"port": "metrics"}], "sampleLimit": 1}}
ALERTS = {"apiVersion": "monitoring.coreos.com/v1alpha1", "kind": "AlertmanagerConfig", "metadata": {"name": "a"}, "spec": {
    "route": {"receiver": "r", "matchers": [{"name": "a", "matchType": "=", "value": "b"}]},
    "receivers": [{"name": "r", "webhookConfigs": [{"urlSecret": {"name": "s", "key": "k"}}]}]}}
CERTIFICATE = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "a"},
               "spec": {"secretName": "a", "issuerRef": {"name": "a"}, "usages": ["server auth"]}}
ISSUER = {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "a"}, "spec": {"selfSigned": {}}}
JOB_SET = {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": {"name": "a"},
           "spec": {"replicatedJobs": [{"name": "w", "replicas": 1, "template": {"spec": {"template": {"spec": {
               "containers": [{"name": "c", "resources": {"limits": {"cpu": 1}}}]}}}}}]}}
QUEUE = {"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "ClusterQueue", "metadata": {"name": "a"}, "spec": {"resourceGroups": [
    {"coveredResources": ["cpu"], "flavors": [{"name": "f", "resources": [{"name": "cpu", "nominalQuota": "4"}]}]}]}}


def changed(document, path, value):
    result = copy.deepcopy(document)
    at = result
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return result


class StrictSchemaTest(unittest.TestCase):
    def test_right_objects_pass(self):
        self.assertTrue(strict_schema.VERSIONS)
        for document in (SERVICE, POD_MONITOR, ALERTS, CERTIFICATE, ISSUER, JOB_SET, QUEUE):
            self.assertEqual(strict_schema.problems(document), [], document["kind"])

    def test_planted_mistakes_are_found(self):
        pod = ("spec", "replicatedJobs", 0, "template", "spec", "template", "spec")
        for document, path, value in [
                (SERVICE, ("spec", "ports", 0, "port"), "eighty"), (SERVICE, ("spec", "slector"), {}),
                (POD_MONITOR, ("spec", "sampleLimit"), "many"), (POD_MONITOR, ("spec", "sampelLimit"), 1),
                (POD_MONITOR, ("spec", "podMetricsEndpoints", 0, "ports"), "x"),
                (ALERTS, ("spec", "route", "groupWait"), 5), (ALERTS, ("spec", "receivers", 0, "webhookConfig"), []),
                (ALERTS, ("spec", "route", "matchers", 0, "matchType"), "is"),
                (CERTIFICATE, ("spec", "usages"), ["anything"]), (CERTIFICATE, ("spec", "issuerRef"), {}),
                (CERTIFICATE, ("spec", "dnsName"), "a"), (ISSUER, ("spec", "selfsigned"), {}),
                (JOB_SET, pod + ("containers", 0, "imagee"), "x"), (JOB_SET, pod + ("restartpolicy",), "Never"),
                (JOB_SET, ("spec", "replicatedJobs", 0, "replicas"), "one"), (QUEUE, ("spec", "resourceGroup"), []),
                (QUEUE, ("kind",), "Unheard")]:
            self.assertTrue(strict_schema.problems(changed(document, path, value)), f"{document['kind']} {path}")


if __name__ == "__main__":
    unittest.main()
