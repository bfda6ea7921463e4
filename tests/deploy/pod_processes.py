"""The kubelet of the tests' cluster: what a pod's container is told to run runs, as a process on this machine, with the paths and addresses of the
pod's volumes and services replaced. A deleted pod gets SIGTERM, as its preStop hook gives it, and SIGKILL when its grace is over; a
container that ends is started anew where the pod's restartPolicy says so."""
import os
import pathlib
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

INTERVAL_S = 0.05


class PodProcesses:
    """`replace`: what an argument begins with in the pod -> here; {pod} is the pod's own folder. None: the argument is left out."""

    def __init__(self, folder, program, replace, grace_s=30):
        self.folder, self.program, self.replace, self.grace_s = pathlib.Path(folder), program, replace, grace_s
        self.objects = None
        self.running = {}       # pod -> (process, its pod, when it must be gone)
        self.started = []       # every pod that ever ran, in order
        self.blocked = ""       # a reason why no pod is scheduled; empty: all are
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)

    def begin(self, objects):
        self.objects = objects
        self.thread.start()

    def close(self):
        self.ending.set()
        self.thread.join()
        for name, (process, _, _) in self.running.items():
            self.kill_all_of(name, process)

    # Called with the objects' lock held.

    def start(self, pod):
        name = pod["metadata"]["name"]
        if self.blocked:
            pod["status"] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                                                                  "message": self.blocked}]}
            return
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics").unlink(missing_ok=True)
        values = self.environment(pod)
        command = [self.program, *self.arguments(pod, folder, values), f"--metrics-address-file={folder}/metrics"]
        with open(self.folder / f"{name}.log", "a") as log:
            self.running[name] = (subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **values}), pod, None)
        self.started.append(name)

    def stop(self, pod):
        name = pod["metadata"]["name"]
        if name not in self.running:
            # Never scheduled: gone at once.
            self.objects.kept.pop(("pods", name), None)
            return
        process, _, _ = self.running[name]
        process.send_signal(signal.SIGTERM)
        self.running[name] = (process, pod, time.monotonic() + self.grace_s)

    def unblock(self):
        """Nodes have room again."""
        with self.objects.lock:
            self.blocked = ""
            for pod in self.objects.of("pods"):
                if pod["metadata"]["name"] not in self.running:
                    self.start(pod)

    def environment(self, pod):
        return {variable["name"]: variable["value"] if "value" in variable else self.field(pod, variable["valueFrom"]["fieldRef"]["fieldPath"])
                for variable in pod["spec"]["containers"][0].get("env", [])}

    def arguments(self, pod, folder, values):
        for argument in pod["spec"]["containers"][0]["args"]:
            argument = re.sub(r"\$\((\w+)\)", lambda match: values[match.group(1)], argument)
            for beginning, here in self.replace.items():
                if argument.startswith(beginning):
                    argument = here and here.format(pod=folder)
                    break
            if argument:
                yield argument

    @staticmethod
    def field(pod, path):
        """The downward API's paths that pods here use."""
        keyed = re.match(r"^metadata\.(labels|annotations)\['([^']+)'\]$", path)
        if keyed:
            return pod["metadata"][keyed.group(1)][keyed.group(2)]
        return {"metadata.name": pod["metadata"]["name"]}[path]

    # The thread.

    def work(self):
        while not self.ending.wait(INTERVAL_S):
            with self.objects.lock:
                running = list(self.running.items())
            for name, (process, pod, end_s) in running:
                if process.poll() is not None:
                    self.ended(name, process, pod)
                elif end_s and time.monotonic() > end_s:
                    process.kill()
                elif not end_s:
                    self.report(name)

    def ended(self, name, process, pod):
        self.kill_all_of(name, process)
        with self.objects.lock:
            del self.running[name]
            if "deletionTimestamp" in pod["metadata"]:
                self.objects.pod_ended(name)
            elif pod["spec"].get("restartPolicy", "Always") == "Always":
                self.start(pod)
            else:
                self.objects.pod_status(name, "Failed" if process.returncode else "Succeeded")

    def report(self, name):
        address = self.folder / name / "metrics"
        ready = False
        if address.exists():
            try:
                ready = urllib.request.urlopen(f"http://{address.read_text().strip()}/healthz", timeout=5).status == 200
            except (urllib.error.URLError, OSError, ValueError):
                pass
        with self.objects.lock:
            pod = self.objects.kept.get(("pods", name))
            if pod and "deletionTimestamp" not in pod["metadata"]:
                self.objects.pod_status(name, "Running" if ready else "Pending", ready=ready or None)

    def kill_all_of(self, name, process):
        """A container's end is the end of every process in it."""
        process.kill()
        process.wait()
        mark = f"{self.folder / name}/".encode()
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if mark in path.read_bytes():
                    os.kill(int(path.parent.name), signal.SIGKILL)
            except (OSError, ValueError):
                pass
