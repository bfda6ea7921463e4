#!/usr/bin/env python3
"""What the chart and the overlays render: valid against the published schemas, without rights but a pool's, every port behind a policy, every
argument and every metric one that the programs have.

    manifests_test.py BIN_DIR                        tests
    ENTRAIN_REGENERATE=1 manifests_test.py BIN_DIR   also writes deploy/k8s/base/entrain.yaml and the high-availability overlay's coordinator
"""
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

import strict_schema

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/k8s/chart"
BASE = ROOT / "deploy/k8s/base/entrain.yaml"
STANDBY = ROOT / "deploy/k8s/overlays/high-availability/coordinator.yaml"
BIN_DIR = pathlib.Path(sys.argv.pop(1)) if len(sys.argv) > 1 else None

GPU = ["worker.slotKind=gpu", "worker.slots=8", "worker.gpus=8"]
POSTGRES = ["coordinator.postgres.url=postgresql://entrain@postgres.postgres.svc/entrain?sslmode=verify-full&sslrootcert=/etc/entrain/postgres/ca.crt",
            "coordinator.postgres.secret=entrain-postgres"]
VALUE_SETS = {
    "defaults": [],
    "secrets that exist": ["tls.certManager.enabled=false", "tls.coordinatorSecret=a", "tls.workerSecret=b"],
    "issuer that exists": ["tls.certManager.issuer.name=corporate", "tls.certManager.issuer.kind=ClusterIssuer"],
    "tokens that exist": ["tokens.secret=people"],
    "no monitoring": ["monitoring.enabled=false"],
    "no dashboards": ["monitoring.dashboards.enabled=false", "monitoring.labels.release=prometheus"],
    "alerts by webhook": ["monitoring.alertmanager.secret=hooks", "monitoring.alertmanager.labels.team=training",
                          "monitoring.alertmanager.keys.oncall=pager"],
    "no policies": ["networkPolicy.enabled=false"],
    "nothing shared": ["artifacts.shared=false", "artifacts.accessMode=ReadWriteOnce"],
    "volumes": ["artifacts.existingClaim=shared", "coordinator.storage.storageClassName=fast", "worker.storage.storageClassName=local"],
    "registry": ["image.registry=registry.example.org/ml", "image.tag=1.2.3", "image.pullSecrets={one,two}"],
    "GPUs": GPU + ["worker.nodeSelector.pool=gpu", "worker.tolerations[0].key=nvidia.com/gpu", "worker.tolerations[0].operator=Exists"],
    "high availability": POSTGRES,
    "pool of workers": ["pool.mode=workers", "pool.min=1", "pool.max=20", "pool.name=night"],
    "pool of gangs": GPU + ["pool.mode=gangs", "worker.replicas=0"],
    "pool of gangs with Kueue": GPU + ["pool.mode=gangs", "pool.queue=training", "pool.createQueue=true",
                                       "pool.apiServer.peers[0].ipBlock.cidr=10.0.0.1/32", "pool.apiServer.ports={6443}"],
    "pool with two coordinators": POSTGRES + ["pool.mode=workers", "networkPolicy.enabled=true"],
}
POOLS = {name: next(value for value in settings if value.startswith("pool.mode=")).split("=")[1]
         for name, settings in VALUE_SETS.items() if any(value.startswith("pool.mode=") for value in settings)}
REFUSED = ["worker.replicas=-1", "worker.replicas=two", "worker.slotKind=tpu", "worker.slots=0", "worker.drainSeconds=1", "worker.slot=2",
           "coordinator.postgres.url=postgresql://entrain:secret@db/entrain", "coordinator.postgres.url=http://db/entrain",
           "coordinator.postgres.port=0", "coordinator.retention.keepCheckpoints=50", "coordinator.retention.artifactQuota=lots",
           "coordinator.retention.releaseAfter=soon", "coordinator.retention.keep=1", "logFormat=xml",
           "image.pullPolicy=Sometimes", "image.tag=a b", "artifacts.accessMode=ReadWriteOncePod", "artifacts.size=lots",
           "coordinator.leaseSeconds=0", "coordinator.replicas=2", "monitoring.workerSampleLimit=0", "tls.enabled=false", "tokens.file=inline", "tokens.secret=Upper_case",
           "tls.certManager.duration=soon", "networkPolicy.clients[0].anyone=true", "gang.enabled=true", "pool.mode=hpa", "pool.max=0",
           "pool.name=UPPER", "pool.idleSeconds=-1", "pool.apiServer.ports={}", "pool.replicas=2",
           "monitoring.alertmanager.secret=UPPER", "monitoring.alertmanager.keys.oncall=", "monitoring.alertmanager.keys.team=url",
           "monitoring.alertmanager.url=http://a",
           # Each field is right, together they are not.
           "worker.slotKind=gpu", "worker.gpus=1", "tls.certManager.enabled=false", "coordinator.heartbeatSeconds=10",
           "coordinator.postgres.url=postgresql://entrain@db/entrain"]
# Refused only together: the values, and what the refusal says.
REFUSED_POOLS = {("pool.mode=workers", "pool.min=9"): "pool.min (9) is more than pool.max (8)",
                 ("pool.mode=gangs", "pool.min=1"): "pool.min must be 0",
                 ("pool.mode=workers", "pool.queue=q"): "pool.queue is only for pool.mode gangs",
                 ("pool.mode=gangs", "pool.createQueue=true"): "pool.queue is needed"}


def tool(name, *arguments):
    return subprocess.run([strict_schema.TOOLS / "bin" / name, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def render(settings):
    flags = [flag for setting in settings for flag in ("--set", setting)]
    return tool("helm", "template", "entrain", CHART, "--namespace", "entrain", *flags)


@functools.lru_cache(maxsize=None)
def everything():
    """Name of a rendering -> its objects: the chart under every value set, and the overlays."""
    result = {}
    for name, settings in VALUE_SETS.items():
        done = render(settings)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        result[name] = strict_schema.load_all(done.stdout)
        result[name] += gang_sets(result[name])
    for overlay in sorted((ROOT / "deploy/k8s/overlays").iterdir()):
        done = tool("kustomize", "build", overlay)
        assert done.returncode == 0, f"{overlay.name}: {done.stderr}"
        result["overlay " + overlay.name] = strict_schema.load_all(done.stdout)
    return result


def gang_sets(objects):
    """The JobSet that the coordinator would make of a pool's template, with what it adds."""
    for item in of_kind(objects, "ConfigMap"):
        if "jobset.json" in item["data"]:
            made = json.loads(item["data"]["jobset.json"])
            made["metadata"].update(name="gangs-r0123456789", namespace="entrain")
            made["spec"]["replicatedJobs"][0]["template"]["spec"].update(parallelism=4, completions=4)
            yield made


def renderings():
    return everything().items()


def of_kind(objects, *kinds):
    return [document for document in objects if document["kind"] in kinds]


def pod_templates(objects):
    """(owner, labels, pod spec)."""
    for owner in of_kind(objects, "StatefulSet", "Deployment"):
        yield owner, owner["spec"]["template"]["metadata"]["labels"], owner["spec"]["template"]["spec"]
    for owner in of_kind(objects, "JobSet"):
        for job in owner["spec"]["replicatedJobs"]:
            template = job["template"]["spec"]["template"]
            yield owner, template["metadata"]["labels"], template["spec"]


def selects(selector, labels):
    absent = [one["key"] for one in selector.get("matchExpressions", []) if one["operator"] == "DoesNotExist"]
    assert len(absent) == len(selector.get("matchExpressions", [])), selector
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and not set(absent) & set(labels)


def milliseconds_of(container, flag):
    return int(next(argument for argument in container["args"] if argument.startswith(flag + "=")).split("=")[1])


class Validity(unittest.TestCase):
    def test_lint(self):
        done = tool("helm", "lint", "--strict", CHART)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_rendering_is_valid(self):
        for name, objects in renderings():
            self.assertGreater(len(objects), 8, name)
            for document in objects:
                self.assertEqual(strict_schema.problems(document), [], name)

    def test_only_the_coordinator_has_a_root_that_is_not_shared(self):
        for name, objects in renderings():
            for owner, _, pod in pod_templates(objects):
                shared = name != "nothing shared" or owner["metadata"]["name"].endswith("coordinator")
                self.assertEqual("artifacts" in [volume["name"] for volume in pod["volumes"]], shared, name)
                self.assertEqual("--artifacts=/srv/entrain" in pod["containers"][0]["args"], shared, name)

    def test_names_are_unique(self):
        for name, objects in renderings():
            keys = [(document["kind"], document["metadata"]["name"]) for document in objects]
            self.assertEqual(len(keys), len(set(keys)), name)

    def test_base_is_the_rendered_chart(self):
        done = render([])
        self.assertEqual(done.returncode, 0, done.stderr)
        if os.environ.get("ENTRAIN_REGENERATE"):
            BASE.write_text(done.stdout)
        self.assertTrue(BASE.read_text() == done.stdout, "deploy/k8s/base/entrain.yaml is not what the chart renders; "
                        f"ENTRAIN_REGENERATE=1 {' '.join(sys.argv)} writes it")

    def test_high_availability_overlay_is_the_rendered_chart(self):
        rendered = everything()["high availability"]
        if os.environ.get("ENTRAIN_REGENERATE"):
            text = next(part for part in render(POSTGRES).stdout.split("\n---\n") if "kind: Deployment" in part)
            STANDBY.write_text("\n".join(line for line in text.split("\n") if not line.startswith("# Source:")) + "\n")
            everything.cache_clear()
            rendered = everything()["high availability"]
        key = lambda document: (document["kind"], document["metadata"]["name"])
        overlay = [document for document in everything()["overlay high-availability"] if document["kind"] != "Namespace"]
        self.assertEqual(sorted(overlay, key=key), sorted(rendered, key=key))

    def test_wrong_values_are_refused(self):
        for setting in REFUSED:
            done = render([setting])
            self.assertNotEqual(done.returncode, 0, setting)
            self.assertRegex(done.stderr.split("Error:")[1], re.split("[.=]", setting)[0] + "[./']", setting)

    def test_refusals_name_the_reason(self):
        self.assertIn("worker.slots (2) must equal worker.gpus (0)", render(["worker.slotKind=gpu"]).stderr)
        self.assertRegex(render(["tls.certManager.enabled=false"]).stderr, r"tls\.(coordinator|worker)Secret is needed")
        self.assertIn("replicas", render(["coordinator.replicas=2"]).stderr)
        self.assertIn("both coordinators share", render(POSTGRES + ["artifacts.accessMode=ReadWriteOnce"]).stderr)
        self.assertIn("both coordinators share", render(POSTGRES + ["artifacts.shared=false"]).stderr)
        self.assertIn("no rule would raise an alert", render(["monitoring.enabled=false", "monitoring.alertmanager.secret=hooks"]).stderr)


class Pods(unittest.TestCase):
    def test_restricted(self):
        for name, objects in renderings():
            for owner, _, pod in pod_templates(objects):
                where = f"{name}: {owner['metadata']['name']}"
                for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
                    self.assertFalse(pod.get(field), where)
                self.assertIs(pod["securityContext"]["runAsNonRoot"], True, where)
                self.assertGreater(pod["securityContext"]["runAsUser"], 0, where)
                self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"}, where)
                self.assertLessEqual({kind for volume in pod["volumes"] for kind in volume if kind != "name"},
                                     {"emptyDir", "secret", "persistentVolumeClaim", "configMap"}, where)
                for container in pod["containers"] + pod.get("initContainers", []):
                    self.assertEqual(container["securityContext"], {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                                                    "capabilities": {"drop": ["ALL"]}}, where)
                    self.assertIn("requests", container["resources"], where)
                    self.assertIn("memory", container["resources"]["limits"], where)
                    self.assertIn("livenessProbe", container, where)
                    self.assertIn("readinessProbe", container, where)

    def test_two_coordinators_need_one_database_and_one_root(self):
        for name in ("high availability", "overlay high-availability"):
            objects = everything()[name]
            owner, = of_kind(objects, "Deployment")
            self.assertEqual((owner["spec"]["replicas"], owner["spec"]["strategy"]), (2, {"type": "Recreate"}))
            container = owner["spec"]["template"]["spec"]["containers"][0]
            # A standby listens on no gRPC port: ready is who leads. It lives all the same.
            self.assertEqual(container["readinessProbe"]["tcpSocket"], {"port": "grpc"})
            self.assertEqual(container["livenessProbe"]["httpGet"]["port"], "metrics")
            self.assertFalse([argument for argument in container["args"] if argument.startswith("--data-dir")])
            self.assertNotRegex(" ".join(container["args"]), r"://[^@/]*:[^@/]*@", "a password among the arguments")
            self.assertIn("--store-password-file=/etc/entrain/postgres/password", container["args"])
            claim, = [item for item in of_kind(objects, "PersistentVolumeClaim") if item["metadata"]["name"] == "entrain-artifacts"]
            self.assertEqual(claim["spec"]["accessModes"], ["ReadWriteMany"])
            # One ready pod of two would forbid every eviction of the leader.
            self.assertEqual(len(of_kind(objects, "PodDisruptionBudget")), 1)
            policy, = [item for item in of_kind(objects, "NetworkPolicy") if item["metadata"]["name"] == "entrain-coordinator"]
            self.assertEqual([port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]], [5432, 53, 53])

    def test_no_rights_but_a_pools(self):
        for name, objects in renderings():
            self.assertEqual(of_kind(objects, "ClusterRole", "ClusterRoleBinding", "Secret"), [], name)
            rights = [(rule["apiGroups"], rule["resources"], rule.get("resourceNames"), rule["verbs"])
                      for role in of_kind(objects, "Role") for rule in role["rules"]]
            pods = ([""], ["pods"], None, ["list"])
            jobsets = (["jobset.x-k8s.io"], ["jobsets"], None, ["create", "delete", "list"])
            self.assertEqual(rights, {
                None: [],
                "workers": [(["apps"], ["statefulsets/scale"], ["entrain-worker"], ["get", "update"]), pods],
                "gangs": [jobsets, (["kueue.x-k8s.io"], ["workloads"], None, ["list"]), pods] if "Kueue" in name else [jobsets, pods],
            }[POOLS.get(name)], name)
            for binding in of_kind(objects, "RoleBinding"):
                self.assertEqual([(subject["kind"], subject["name"], subject["namespace"]) for subject in binding["subjects"]],
                                 [("ServiceAccount", "entrain-coordinator", "entrain")], name)
                self.assertIn(binding["roleRef"]["name"], [role["metadata"]["name"] for role in of_kind(objects, "Role")], name)
            self.assertEqual(len(of_kind(objects, "RoleBinding")), 1 if name in POOLS else 0, name)

    def test_a_token_only_for_a_coordinator_with_a_pool(self):
        for name, objects in renderings():
            accounts = {account["metadata"]["name"]: account for account in of_kind(objects, "ServiceAccount")}
            for account in accounts.values():
                self.assertIs(account["automountServiceAccountToken"], False, name)
            for _, labels, pod in pod_templates(objects):
                asks = name in POOLS and labels["app.kubernetes.io/component"] == "coordinator"
                self.assertIs(pod["automountServiceAccountToken"], asks, name)
                self.assertIn(pod["serviceAccountName"], accounts, name)

    def test_arguments_are_flags_of_the_programs(self):
        if BIN_DIR is None:
            self.skipTest("no programs given")
        known = {}
        for component in ("coordinator", "worker"):
            text = subprocess.run([BIN_DIR / f"entrain-{component}", "--help"], capture_output=True, text=True, check=True).stdout
            known[component] = set(re.findall(r"--[a-z-]+", text))
        for name, objects in renderings():
            for _, labels, pod in pod_templates(objects):
                for argument in pod["containers"][0]["args"]:
                    self.assertIn(argument.split("=")[0], known[labels["app.kubernetes.io/component"]], name)

    def test_every_mount_has_its_volume(self):
        for name, objects in renderings():
            for owner, _, pod in pod_templates(objects):
                volumes = {volume["name"] for volume in pod["volumes"]}
                volumes |= {claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", [])}
                self.assertEqual({mount["name"] for mount in pod["containers"][0]["volumeMounts"]}, volumes, name)

    def test_a_worker_has_time_to_drain(self):
        for name, objects in renderings():
            for _, labels, pod in pod_templates(objects):
                if labels["app.kubernetes.io/component"] != "worker":
                    continue
                container = pod["containers"][0]
                drain_ms = milliseconds_of(container, "--drain-limit-ms")
                self.assertGreaterEqual(pod["terminationGracePeriodSeconds"] * 1000, drain_ms + 10_000, name)
                self.assertEqual(container["lifecycle"]["preStop"]["exec"]["command"][-1], "--drain", name)
                probe = container["livenessProbe"]
                # Gangs outlive their daemon for ten minutes; a kubelet that acts earlier would end them.
                self.assertGreater(probe["periodSeconds"] * probe["failureThreshold"], 600, name)
                shared = next(volume for volume in pod["volumes"] if volume["name"] == "shared-memory")
                self.assertEqual(shared["emptyDir"]["medium"], "Memory", name)
                gpus = container["resources"]["limits"].get("nvidia.com/gpu", 0)
                self.assertEqual("--slot-kind=gpu" in container["args"], gpus > 0, name)
                if gpus:
                    self.assertEqual(milliseconds_of(container, "--slots"), gpus, name)

    def test_worker_set(self):
        for name, objects in renderings():
            owner = next(item for item in of_kind(objects, "StatefulSet") if item["metadata"]["name"] == "entrain-worker")
            service = next(item for item in of_kind(objects, "Service") if item["metadata"]["name"] == owner["spec"]["serviceName"])
            self.assertEqual(owner["spec"]["podManagementPolicy"], "Parallel", name)
            self.assertEqual(service["spec"]["clusterIP"], "None", name)
            self.assertIs(service["spec"]["publishNotReadyAddresses"], True, name)
            budget, = of_kind(objects, "PodDisruptionBudget")
            self.assertTrue(selects(budget["spec"]["selector"], owner["spec"]["template"]["metadata"]["labels"]), name)
            self.assertEqual(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow", name)
            for gang, labels, _ in pod_templates(of_kind(objects, "JobSet")):
                # With what the JobSet controller adds. maxUnavailable counts by the owner's scale, which a Job does not have.
                labels = {**labels, "jobset.sigs.k8s.io/jobset-name": gang["metadata"]["name"]}
                self.assertFalse(selects(budget["spec"]["selector"], labels), name)

    def test_a_pool_alone_sets_the_number_of_workers(self):
        for name, objects in renderings():
            workers = next(item for item in of_kind(objects, "StatefulSet") if item["metadata"]["name"] == "entrain-worker")
            # What the chart wrote at an upgrade would take running machines away.
            self.assertEqual("replicas" in workers["spec"], POOLS.get(name) != "workers", name)
            self.assertEqual(of_kind(objects, "HorizontalPodAutoscaler"), [], name)

    def test_the_pool_file_is_what_the_workers_are(self):
        for name, mode in POOLS.items():
            objects = everything()[name]
            settings, = [item["data"] for item in of_kind(objects, "ConfigMap") if item["metadata"]["name"] == "entrain-pool"]
            pool, = strict_schema.load_all(settings["pool.yaml"])
            workers = next(pod for owner, _, pod in pod_templates(objects) if owner["metadata"]["name"] == "entrain-worker")
            self.assertIn(f"--slots={pool['slots']}", workers["containers"][0]["args"], name)
            self.assertIn(f"--slot-kind={pool['kind']}", workers["containers"][0]["args"], name)
            coordinator = next(pod for owner, _, pod in pod_templates(objects) if owner["metadata"]["name"] == "entrain-coordinator")
            mount = next(mount for mount in coordinator["containers"][0]["volumeMounts"] if mount["name"] == "pool")
            self.assertIn(f"--pool={mount['mountPath']}/pool.yaml", coordinator["containers"][0]["args"], name)
            if mode == "workers":
                self.assertEqual(pool["kubernetes"], {"workers": "entrain-worker"}, name)
            else:
                self.assertEqual((pool["gang"], pool["kubernetes"]), (True, {"jobset": mount["mountPath"] + "/jobset.json"}), name)

    def test_a_changed_pool_file_starts_the_coordinator_anew(self):
        sums = set()
        for most in ("3", "4"):
            objects = strict_schema.load_all(render(["pool.mode=workers", f"pool.max={most}"]).stdout)
            owner = next(item for item in of_kind(objects, "StatefulSet") if item["metadata"]["name"] == "entrain-coordinator")
            sums.add(owner["spec"]["template"]["metadata"]["annotations"]["checksum/pool"])
        self.assertEqual(len(sums), 2)

    def test_a_gang_is_whole_and_its_machines_have_names(self):
        for name, mode in POOLS.items():
            objects = everything()[name]
            self.assertEqual(len(of_kind(objects, "JobSet")), 1 if mode == "gangs" else 0, name)
            for gang in of_kind(objects, "JobSet"):
                job = gang["spec"]["replicatedJobs"][0]["template"]["spec"]
                self.assertEqual((job["completionMode"], job["backoffLimit"], gang["spec"]["failurePolicy"]["maxRestarts"]), ("Indexed", 0, 0), name)
                # JobSet makes no service of its own where the subdomain's exists, and the workers' selects these pods too.
                service = next(item for item in of_kind(objects, "Service") if item["metadata"]["name"] == gang["spec"]["network"]["subdomain"])
                self.assertTrue(selects({"matchLabels": service["spec"]["selector"]}, job["template"]["metadata"]["labels"]), name)
                address = next(value for value in job["template"]["spec"]["containers"][0]["args"] if value.startswith("--peer-address="))
                self.assertIn("." + service["metadata"]["name"] + ".entrain.svc:", address, name)
                queues = [queue["metadata"]["name"] for queue in of_kind(objects, "LocalQueue")]
                self.assertEqual([gang["metadata"]["labels"].get("kueue.x-k8s.io/queue-name")], queues or [None], name)

    def test_a_gangs_workers_are_who_their_certificate_says(self):
        """*.POOL.REST stands for names that begin with POOL- (docs/SECURITY.md), and the coordinator names JobSets POOL-RUN."""
        for name, mode in POOLS.items():
            objects = everything()[name]
            settings, = [item["data"] for item in of_kind(objects, "ConfigMap") if item["metadata"]["name"] == "entrain-pool"]
            pool, = strict_schema.load_all(settings["pool.yaml"])
            certificate, = [item for item in of_kind(objects, "Certificate") if item["metadata"]["name"] == "entrain-worker"]
            self.assertEqual(f"*.{pool['pool']}.entrain.svc" in certificate["spec"]["dnsNames"], mode == "gangs", name)

    def test_contradictory_pools_are_refused(self):
        for settings, why in REFUSED_POOLS.items():
            done = render(list(settings))
            self.assertNotEqual(done.returncode, 0, settings)
            self.assertIn(why, done.stderr, settings)


class Network(unittest.TestCase):
    def test_default_is_deny(self):
        for name, objects in renderings():
            if name == "no policies":
                self.assertEqual(of_kind(objects, "NetworkPolicy"), [])
                continue
            deny = [policy for policy in of_kind(objects, "NetworkPolicy")
                    if set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"} and not policy["spec"].get("ingress")
                    and not policy["spec"].get("egress")]
            for _, labels, _ in pod_templates(objects):
                self.assertTrue(any(selects(policy["spec"]["podSelector"], labels) for policy in deny), name)

    def test_every_port_is_named_in_a_policy(self):
        for name, objects in renderings():
            if name == "no policies":
                continue
            for _, labels, pod in pod_templates(objects):
                named = {port.get("port") for policy in of_kind(objects, "NetworkPolicy") if selects(policy["spec"]["podSelector"], labels)
                         for rule in policy["spec"].get("ingress") or [] for port in rule["ports"]}
                ports = {port["name"] for port in pod["containers"][0]["ports"]}
                self.assertLessEqual(ports, named, name)
                self.assertLessEqual(named - {None}, ports, f"{name}: a policy opens a port that no container has")
                for service in of_kind(objects, "Service"):
                    if selects({"matchLabels": service["spec"]["selector"]}, labels):
                        self.assertLessEqual({port["targetPort"] for port in service["spec"]["ports"]}, ports, name)

    def test_listening_addresses_are_the_ports(self):
        for name, objects in renderings():
            for _, _, pod in pod_templates(objects):
                container = pod["containers"][0]
                listening = {int(argument.rsplit(":", 1)[1]) for argument in container["args"]
                             if argument.startswith(("--listen=", "--metrics=", "--peer-listen="))}
                self.assertEqual(listening, {port["containerPort"] for port in container["ports"]}, name)

    def test_all_ports_only_between_workers(self):
        for name, objects in renderings():
            for policy in of_kind(objects, "NetworkPolicy"):
                for direction, peers in (("ingress", "from"), ("egress", "to")):
                    for rule in policy["spec"].get(direction) or []:
                        if any("port" not in port for port in rule["ports"]):
                            self.assertEqual([peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in rule[peers]],
                                             ["worker"], name)
                        self.assertTrue(rule[peers], f"{name}: a rule without peers admits everyone")

    def test_the_api_server_only_for_a_pool(self):
        for name, objects in renderings():
            for policy in of_kind(objects, "NetworkPolicy"):
                blocks = [peer["ipBlock"]["cidr"] for rule in policy["spec"].get("egress") or [] for peer in rule["to"] if "ipBlock" in peer]
                if name in POOLS and policy["metadata"]["name"] == "entrain-coordinator":
                    self.assertEqual(blocks, ["10.0.0.1/32" if "Kueue" in name else "0.0.0.0/0"], name)
                else:
                    self.assertEqual(blocks, [], name)

    def test_certificates_name_what_is_dialled(self):
        for name, objects in renderings():
            certificates = {item["spec"]["secretName"]: item for item in of_kind(objects, "Certificate")}
            for _, labels, pod in pod_templates(objects):
                secret = next(volume for volume in pod["volumes"] if volume["name"] == "tls")["secret"]["secretName"]
                if name == "secrets that exist":
                    self.assertIn(secret, ("a", "b"))
                    continue
                self.assertIn(secret, certificates, name)
                for argument in pod["containers"][0]["args"]:
                    if argument.startswith("--coordinator="):
                        host = argument.split("=")[1].rsplit(":", 1)[0]
                        self.assertIn(host, certificates["entrain-coordinator-tls"]["spec"]["dnsNames"], name)


class Monitoring(unittest.TestCase):
    def test_rules_and_dashboards_are_those_of_deploy(self):
        for name, objects in renderings():
            rules = of_kind(objects, "PrometheusRule")
            self.assertEqual(len(rules), 0 if name == "no monitoring" else 1, name)
            expected, = strict_schema.load_all((ROOT / "deploy/prometheus/entrain.rules.yaml").read_text())
            if name == "alerts by webhook":
                # The operator hands an AlertmanagerConfig only alerts of its namespace, and most expressions lose that label.
                for one in [one for group in expected["groups"] for one in group["rules"] if "alert" in one]:
                    one["labels"]["namespace"] = "entrain"
            for rule in rules:
                self.assertEqual(rule["spec"], expected, name)
            self.assertEqual(len(of_kind(objects, "AlertmanagerConfig")), 1 if name == "alerts by webhook" else 0, name)
            maps = {key: value for item in of_kind(objects, "ConfigMap") if item["metadata"]["name"] != "entrain-pool"
                    for key, value in item["data"].items()}
            files = {} if name in ("no monitoring", "no dashboards") else \
                {path.name: path.read_text() for path in (ROOT / "deploy/grafana/dashboards").glob("*.json")}
            self.assertEqual({key: value.rstrip("\n") for key, value in maps.items()},
                             {key: value.rstrip("\n") for key, value in files.items()}, name)

    def test_every_metric_exists(self):
        table = set(re.findall(r"^\| `(entrain_[a-z_]+)`", (ROOT / "docs/metrics.md").read_text(), re.M))
        histograms = {metric for metric in table if metric.endswith("_seconds")}
        known = table | {metric + suffix for metric in histograms for suffix in ("_bucket", "_count", "_sum")}
        self.assertGreater(len(table), 30)
        rule, = of_kind(everything()["defaults"], "PrometheusRule")
        rules = [one for group in rule["spec"]["groups"] for one in group["rules"]]
        recorded = {one["record"] for one in rules if "record" in one}
        used = {name for one in rules for name in re.findall(r"\bentrain[a-z0-9_:]*", one["expr"])}
        self.assertGreater(len(used), 15)
        self.assertLessEqual({name for name in used if ":" in name}, recorded)
        self.assertLessEqual({name for name in used if ":" not in name}, known)

    def test_monitors_find_their_ports(self):
        for name, objects in renderings():
            for monitor in of_kind(objects, "ServiceMonitor"):
                services = [item for item in of_kind(objects, "Service") if selects(monitor["spec"]["selector"], item["metadata"]["labels"])]
                self.assertEqual([item["metadata"]["name"] for item in services], ["entrain-coordinator"], name)
                self.assertIn(monitor["spec"]["endpoints"][0]["port"], {port["name"] for port in services[0]["spec"]["ports"]}, name)
                self.assertGreater(monitor["spec"]["sampleLimit"], 0, name)
            for monitor in of_kind(objects, "PodMonitor"):
                pods = [pod for _, labels, pod in pod_templates(objects) if selects(monitor["spec"]["selector"], labels)]
                self.assertTrue(pods, name)
                for pod in pods:
                    self.assertIn(monitor["spec"]["podMetricsEndpoints"][0]["port"], {port["name"] for port in pod["containers"][0]["ports"]})
                # 4096 heads of two series each are what one worker shows at most (docs/metrics.md), and some hundred more.
                self.assertGreater(monitor["spec"]["sampleLimit"], 2 * 4096 + 1000, name)


if __name__ == "__main__":
    unittest.main()
