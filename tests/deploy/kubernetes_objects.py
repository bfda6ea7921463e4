"""The objects behind the tests' API server: a StatefulSet, JobSets, pods and Kueue's workloads, kept as Kubernetes' controllers keep them. Every
object that leaves is held to the published schema, so that a test cannot pass on answers that no cluster gives."""
import copy
import re
import threading
import uuid

import published_api
import strict_schema

LABEL = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
CREATED = "2026-01-01T00:00:00Z"
KINDS = {"pods": ("v1", "Pod"), "statefulsets": ("apps/v1", "StatefulSet"), "jobsets": ("jobset.x-k8s.io/v1alpha2", "JobSet"),
         "workloads": ("kueue.x-k8s.io/v1beta1", "Workload")}


class Refused(Exception):
    """What an API server says no with."""

    def __init__(self, code, reason, message):
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


def selects(selector, labels):
    """A label selector as a query has it: k=v, k!=v, and k alone."""
    for part in filter(None, selector.split(",")):
        key, negated, value = re.match(r"^([^!=]+?)(!?)(?:==?([^=]*))?$", part).groups()
        if value is None and key not in labels:
            return False
        if value is not None and (labels.get(key) == value) == bool(negated):
            return False
    return True


def owner(of):
    return {"apiVersion": of["apiVersion"], "kind": of["kind"], "name": of["metadata"]["name"], "uid": of["metadata"]["uid"], "controller": True,
            "blockOwnerDeletion": True}


class Objects:
    """`pods` starts and stops what a pod stands for: start(pod), stop(pod); None: a test sets every status itself. One lock around everything."""

    def __init__(self, namespace, pods=None):
        self.namespace, self.pods = namespace, pods
        self.lock = threading.RLock()
        self.version = 100
        self.kept = {}      # (resource, name) -> object
        self.wrong = []     # what our own objects violate

    # Reading and writing. Callers hold the lock.

    def put(self, resource, item):
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self.kept[resource, item["metadata"]["name"]] = item
        self.wrong += strict_schema.problems(item)
        return item

    def add(self, resource, item):
        api, kind = KINDS[resource]
        item.update(apiVersion=api, kind=kind)
        item["metadata"].update(namespace=self.namespace, uid=str(uuid.uuid4()), creationTimestamp=CREATED)
        return self.put(resource, item)

    def get(self, resource, name):
        item = self.kept.get((resource, name))
        if item is None:
            raise Refused(404, "NotFound", f'{resource} "{name}" not found')
        return item

    def of(self, resource, selector=""):
        return [item for (kind, _), item in sorted(self.kept.items())
                if kind == resource and selects(selector, item["metadata"].get("labels", {}))]

    # The StatefulSet and its controller.

    def add_set(self, rendered):
        item = copy.deepcopy(rendered)
        item["spec"].setdefault("replicas", 1)
        with self.lock:
            self.add("statefulsets", item)
            self.reconcile()

    def scale(self, name):
        item = self.get("statefulsets", name)
        selector = ",".join(f"{key}={value}" for key, value in sorted(item["spec"]["selector"]["matchLabels"].items()))
        # A number that is 0 is left out of the answer.
        spec = {"replicas": item["spec"]["replicas"]} if item["spec"]["replicas"] else {}
        mine = [pod for pod in self.of("pods") if pod["metadata"]["ownerReferences"][0]["name"] == name]
        return {"kind": "Scale", "apiVersion": "autoscaling/v1",
                "metadata": {key: item["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")},
                "spec": spec, "status": {"replicas": len(mine), "selector": selector}}

    def set_scale(self, name, scale):
        item = self.get("statefulsets", name)
        if scale["metadata"].get("name") != name or scale["metadata"].get("namespace") != self.namespace:
            raise Refused(400, "BadRequest", "the name of the object does not match the name on the URL")
        if scale["metadata"].get("resourceVersion") not in (None, item["metadata"]["resourceVersion"]):
            raise Refused(409, "Conflict", f'Operation cannot be fulfilled on statefulsets.apps "{name}": the object has been modified; '
                          "please apply your changes to the latest version and try again")
        replicas = scale["spec"].get("replicas", 0)
        if replicas < 0:
            raise Refused(422, "Invalid", "spec.replicas: Invalid value: must be greater than or equal to 0")
        item["spec"]["replicas"] = replicas
        self.put("statefulsets", item)
        self.reconcile()
        return self.scale(name)

    def reconcile(self):
        """What the controllers do once they see the objects: pods for the set's replicas and for released JobSets, none beyond."""
        for item in self.of("statefulsets"):
            name, wanted = item["metadata"]["name"], item["spec"]["replicas"]
            for ordinal in range(wanted):
                if ("pods", f"{name}-{ordinal}") not in self.kept:
                    self.add_pod(item, f"{name}-{ordinal}", item["spec"]["template"], {"apps.kubernetes.io/pod-index": str(ordinal)}, {})
            for pod in self.pods_of(item):
                if int(pod["metadata"]["name"].rsplit("-", 1)[1]) >= wanted:
                    self.delete_pod(pod)
        for item in self.of("jobsets"):
            if "deletionTimestamp" in item["metadata"]:
                for pod in self.pods_of(item):
                    self.delete_pod(pod)
                if not self.pods_of(item):
                    del self.kept["jobsets", item["metadata"]["name"]]
                    self.kept.pop(("workloads", "jobset-" + item["metadata"]["name"]), None)
            elif not item["spec"].get("suspend") and not item.get("status", {}).get("terminalState") and not self.pods_of(item):
                self.add_pods_of_gang(item)

    def pods_of(self, item):
        return [pod for pod in self.of("pods") if pod["metadata"]["ownerReferences"][0]["name"] == item["metadata"]["name"]]

    def add_pod(self, parent, name, template, labels, annotations):
        metadata = {"name": name, "labels": {**template["metadata"].get("labels", {}), **labels}, "annotations": annotations,
                    "ownerReferences": [owner(parent)]}
        pod = self.add("pods", {"metadata": metadata, "spec": copy.deepcopy(template["spec"]), "status": {"phase": "Pending"}})
        if self.pods:
            self.pods.start(pod)

    def delete_pod(self, pod):
        """Marked, then asked to end; `pod_ended` removes it."""
        if "deletionTimestamp" in pod["metadata"]:
            return
        pod["metadata"].update(deletionTimestamp=CREATED, deletionGracePeriodSeconds=30)
        self.put("pods", pod)
        if self.pods:
            self.pods.stop(pod)

    # What kubelet and scheduler report.

    def pod_status(self, name, phase, ready=None, **status):
        with self.lock:
            pod = self.get("pods", name)
            if ready is not None:
                status["conditions"] = [{"type": "Ready", "status": "True" if ready else "False"}]
            pod["status"] = {"phase": phase, **status}
            self.put("pods", pod)

    def pod_ended(self, name):
        with self.lock:
            self.kept.pop(("pods", name), None)
            self.reconcile()

    # JobSets, their controller and Kueue.

    def add_jobset(self, item):
        name = item["metadata"].get("name", "")
        job = item["spec"]["replicatedJobs"][0]
        longest = f"{name}-{job['name']}-0-{job['template']['spec']['parallelism'] - 1}"
        if not LABEL.match(name) or len(longest) > 63:
            raise Refused(422, "Invalid", f"metadata.name: Invalid value: {longest}")
        if ("jobsets", name) in self.kept:
            raise Refused(409, "AlreadyExists", f'jobsets.jobset.x-k8s.io "{name}" already exists')
        queue = item["metadata"].get("labels", {}).get("kueue.x-k8s.io/queue-name")
        if item["spec"].get("suspend") and not queue:
            self.wrong.append(f"the JobSet {name} is suspended and nobody will ever release it")
        item = self.add("jobsets", copy.deepcopy(item))
        if queue:
            self.add_workload(item, queue)
        self.reconcile()
        return item

    def add_workload(self, jobset, queue):
        job = jobset["spec"]["replicatedJobs"][0]
        self.add("workloads", {
            "metadata": {"name": "jobset-" + jobset["metadata"]["name"], "labels": {"kueue.x-k8s.io/job-uid": jobset["metadata"]["uid"]},
                         "ownerReferences": [owner(jobset)]},
            "spec": {"queueName": queue, "podSets": [{"name": job["name"], "count": job["template"]["spec"]["parallelism"],
                                                      "template": job["template"]["spec"]["template"]}]},
            "status": {"conditions": [{"type": "QuotaReserved", "status": "False", "reason": "Pending", "lastTransitionTime": CREATED,
                                       "message": "couldn't assign flavors to pod set worker: insufficient unused quota for cpu"}]}})

    def admit(self, name):
        """Kueue releases a gang."""
        with self.lock:
            item = self.get("jobsets", name)
            item["spec"]["suspend"] = False
            self.put("jobsets", item)
            self.reconcile()

    def add_pods_of_gang(self, item):
        name, job = item["metadata"]["name"], item["spec"]["replicatedJobs"][0]
        for index in range(job["template"]["spec"]["parallelism"]):
            labels = {"jobset.sigs.k8s.io/jobset-name": name, "jobset.sigs.k8s.io/replicatedjob-name": job["name"],
                      "batch.kubernetes.io/job-completion-index": str(index)}
            self.add_pod(item, f"{name}-{job['name']}-0-{index}-{uuid.uuid4().hex[:5]}", job["template"]["spec"]["template"], labels,
                         {"batch.kubernetes.io/job-completion-index": str(index), "jobset.sigs.k8s.io/jobset-name": name})

    def end_jobset(self, name, how, message):
        """As when its Jobs completed or failed."""
        with self.lock:
            item = self.get("jobsets", name)
            item["status"] = {"terminalState": how, "conditions": [{"type": how, "status": "True", "reason": "AllJobsCompleted", "message": message,
                                                                    "lastTransitionTime": CREATED}]}
            self.put("jobsets", item)

    def delete_jobset(self, name, options):
        item = self.get("jobsets", name)
        wanted = options.get("preconditions", {}).get("uid")
        if wanted not in (None, item["metadata"]["uid"]):
            raise Refused(409, "Conflict", f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {item['metadata']['uid']}")
        item["metadata"].update(deletionTimestamp=CREATED, deletionGracePeriodSeconds=0, finalizers=["foregroundDeletion"])
        self.put("jobsets", item)
        answer = copy.deepcopy(item)
        self.reconcile()
        return answer
