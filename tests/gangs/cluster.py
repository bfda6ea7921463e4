"""The real programs on the hosts of hosts.py: a coordinator at the router, one worker a host, mutual TLS throughout."""
import json
import pathlib
import signal
import subprocess
import time

import hosts

LEASE_MS = 5000


class Authority:
    """Certificates by the openssl program, one for every host of the network."""

    def __init__(self, folder, network):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        names = ["IP:127.0.0.1", "DNS:localhost"]
        names += [f"IP:{address(host)}" for host in network.hosts for address in (network.address, network.router_address)]
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self._openssl("req", "-x509", *curve, "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
        # One for the coordinator and people, one for each host's worker, which names it.
        for holder, subject in [("entrain", "/CN=entrain"), *((host, f"/O=entrain:workers/CN={host}") for host in network.hosts)]:
            self._openssl("req", *curve, "-subj", subject, "-keyout", f"{holder}.key", "-out", "request")
            (self.folder / "names").write_text(f"subjectAltName={','.join(names)}\n")
            self._openssl("x509", "-req", "-days", "2", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                          "-extfile", "names", "-out", f"{holder}.pem")

    def _openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

    def flags(self, holder="entrain"):
        return ["--tls-ca", self.folder / "ca.pem", "--tls-cert", self.folder / f"{holder}.pem", "--tls-key", self.folder / f"{holder}.key"]


class Cluster:
    def __init__(self, programs, folder, network, worker_flags=()):
        self.programs = pathlib.Path(programs)
        self.folder = pathlib.Path(folder)
        self.network = network
        self.worker_flags = list(worker_flags)
        self.authority = Authority(self.folder / "tls", network)
        self.workers = {}
        self.coordinator = self._start("r", "coordinator", [
            self.programs / "entrain-coordinator", "--data-dir", self.folder / "data", "--listen", "0.0.0.0:7070", "--artifacts", self.folder / "artifacts",
            "--lease-ms", LEASE_MS, "--heartbeat-ms", 500, "--address-file", self.folder / "address", *self.authority.flags()])
        hosts.wait_until(lambda: (self.folder / "address").exists(), 20, lambda: self.log("coordinator"))
        self.dataset = self._prepare()

    def _start(self, host, name, argv):
        with open(self.folder / f"{name}.log", "ab") as log:
            return subprocess.Popen(self.network.command(host, argv), stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _prepare(self):
        text = self.folder / "text.txt"
        text.write_text("".join(f"line {i} of a text that repeats itself every {i % 17} lines\n" for i in range(20_000)))
        return text

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")[-4000:]

    def start_worker(self, host, slots):
        address = self.network.address(host)
        self.workers[host] = self._start(host, f"worker-{host}", [
            self.programs / "entrain-worker", "--coordinator", f"{self.network.router_address(host)}:7070", "--dir", self.folder / host,
            "--artifacts", self.folder / "artifacts", "--slots", slots, "--slot-kind", "cpu", "--name", host,
            "--peer-listen", f"{address}:7071", *self.worker_flags, *self.authority.flags(host)])

    def kill_worker(self, host):
        self.workers[host].send_signal(signal.SIGKILL)
        self.workers[host].wait()

    def entrain(self, command, *words):
        argv = [self.programs / "entrain", command, *words, "--coordinator", "localhost:7070", *self.authority.flags(), "-o", "json"]
        done = subprocess.run(["ip", "netns", "exec", self.network.namespace("r"), *map(str, argv)], capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"entrain {command}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def live_workers(self):
        return [worker["name"] for worker in self.entrain("workers") if worker["state"] == "live"]

    def await_workers(self, names, limit_s=30):
        hosts.wait_until(lambda: set(names) == set(self.live_workers()), limit_s, lambda: f"live are {self.live_workers()}", pause_s=0.2)

    def submit(self, name, steps, checkpoint_interval=100):
        sweep = self.folder / f"{name}.yaml"
        sweep.write_text(f"""name: {name}
data:
  path: {self.dataset}
  tokenizer: bytes
model: {{n_layer: 2, n_head: 2, n_embd: 32, init_std: 0.07}}
variants:
  - preset: SM+LN+G
train: {{steps: {steps}, batch_size: 4, context: 32, lr: 0.001, eval_interval_steps: 1000, checkpoint_interval_steps: {checkpoint_interval}}}
resources: {{machines: 2, ranks_per_machine: 2}}
""")
        submitted = self.entrain("submit", sweep)
        return self.entrain("describe", submitted["sweep_id"])["runs"][0]["id"]

    def describe(self, run):
        return self.entrain("describe", run)

    def attempt_folders(self, run, attempt):
        return [str(self.folder / host / "attempts" / f"{run}.{attempt}") for host in self.network.hosts]

    def gang(self, run, attempt):
        return hosts.processes(*self.attempt_folders(run, attempt))

    def close(self):
        for process in [*self.workers.values(), self.coordinator]:
            process.kill()
            process.wait()
        time.sleep(0.1)
        left = hosts.processes(*[str(path) for host in self.network.hosts for path in (self.folder / host / "attempts").glob("*")])
        for pid in left:
            subprocess.run(["kill", "-9", str(pid)], check=False)
