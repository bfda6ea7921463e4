#!/usr/bin/env python3
"""Runs a sweep with the images' root filesystems, under the restrictions of the chart's pods: the root read-only, only the volumes that the
chart mounts writable, user 10001 without capabilities or a way to new ones, a process namespace of its own, certificates mounted as the
kubelet mounts them. The worker with CUDA, where it was built, says what it lacks without a GPU and trains on the CPU. Needs root, buildah and openssl;
`scripts/images --check` calls it.

    images_check.py REGISTRY VERSION ROLE ...    the roles that were built: coordinator, worker, cli, and perhaps worker-cuda
"""
import contextlib
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

LIMIT_S = 120
USER = 10001
NEEDED = {"coordinator", "worker", "cli"}
# The node's driver brings it into the container.
FROM_THE_NODE = "libcuda.so.1"
SWEEP = """name: images
data: {path: text}
model: {n_layer: 2, n_head: 2, n_embd: 32}
train: {steps: 30, batch_size: 4, context: 32, lr: 1e-3}
resources: {ranks_per_machine: 2}
variants: [SM+LN+G]
"""
# Mounts the image's folder read-only with the pod's volumes, then becomes the user and the image's own command. Arguments: root, volume
# folder, command.
ENTER = r"""
set -eu
root=$1 volumes=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro,nosuid "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for each in var/lib/entrain srv/entrain etc/entrain/tls; do
  [ ! -d "$volumes/$each" ] || mount --bind "$volumes/$each" "$root/$each"
done
exec chroot "$root" /usr/bin/setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all -- "$@"
"""


def run(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=LIMIT_S, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def buildah(*arguments):
    return run("buildah", "--storage-driver", "vfs", *arguments).strip()


def await_that(what, condition):
    deadline = time.monotonic() + LIMIT_S
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {LIMIT_S} s"
        time.sleep(0.1)


class Image:
    def __init__(self, stack, registry, version, role):
        name = f"{registry}/entrain-{role}:{version}"
        self.config = json.loads(buildah("inspect", "--type", "image", name))["Docker"]["config"]
        container = buildah("from", "--pull-never", name)
        stack.callback(buildah, "rm", container)
        self.root = pathlib.Path(buildah("mount", container))
        self.role = role
        # A container runtime makes this file.
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n")

    def command(self, volumes, *arguments):
        environment = self.config["Env"]
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "bash", "-c", ENTER, "enter", str(self.root), str(volumes), "/usr/bin/env", "-i",
                *environment, *self.config["Entrypoint"], *arguments]

    def check_contents(self):
        names = {path.name for folder in ("usr/bin", "usr/sbin", "usr/local/bin", "usr/libexec") for path in (self.root / folder).glob("*")}
        for unwanted in names:
            assert not re.fullmatch(r"(.*-)?(gcc|g\+\+|cc|c\+\+|cc1|cc1plus|clang|as|ld|make|cmake|nvcc|apt|apt-get|pip3?)(-[0-9.]+)?", unwanted), \
                f"{self.role}: {unwanted} has no place in an image"
        privileged = run("find", self.root, "-xdev", "-type", "f", "-perm", "/6000")
        assert not privileged, f"{self.role}: set-uid files:\n{privileged}"
        assert self.config["User"] == f"{USER}:{USER}", self.config["User"]
        assert self.config["Labels"]["org.opencontainers.image.version"]
        assert self.role == "cli" or self.config["Healthcheck"]["Test"][0] == "CMD", self.role
        bill = json.loads((self.root / "usr/share/entrain/sbom.spdx.json").read_text())
        installed = set(run("dpkg-query", f"--admindir={self.root}/var/lib/dpkg", "-W", "-f=${Package}\n").split())
        listed = {package["name"] for package in bill["packages"]}
        assert installed <= listed, f"{self.role}: not in the bill of materials: {installed - listed}"
        self.check_libraries()
        print(f"{self.role}: {len(bill['packages'])} packages, {len(bill['files'])} files in the bill; "
              f"{run('du', '-sm', self.root).split()[0]} MiB unpacked")

    def check_libraries(self):
        """Everything of ours finds what it is linked with inside the image, as the image's user, and every symbol of a program is somewhere."""
        own = [path for path in sorted((self.root / "opt/entrain").rglob("*")) if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]
        assert own, self.role
        bill = (self.root / "usr/share/entrain/sbom.spdx.json").read_text()
        assert ("pkg:pypi/torch@" in bill) == any(path.name == "libtorch_cpu.so" for path in own), f"{self.role}: LibTorch and the bill"
        for path in own:
            inside = path.relative_to(self.root)
            found = run("chroot", f"--userspec={USER}:{USER}", self.root, "/usr/bin/ldd", *(["-r"] if inside.match("bin/*") else []), f"/{inside}")
            missing = [line.strip() for line in found.splitlines()
                       if ("not found" in line and line.split()[0] != FROM_THE_NODE) or ("undefined symbol" in line)]
            assert not missing, f"{self.role}: /{inside}: {missing[:5]}"

    def refuses_without_gpus(self):
        """Where the NVIDIA runtime brings no driver, the container ends and says why."""
        assert self.config["Env"].count("NVIDIA_DRIVER_CAPABILITIES=compute,utility") == 1, self.config["Env"]
        if pathlib.Path("/dev/nvidiactl").exists():
            return
        for slots, sentence in (("auto", "--slot-kind gpu: this machine offers no GPU: "), ("8", "--slots 8: this machine offers no GPU: ")):
            with tempfile.TemporaryDirectory() as volumes:
                arguments = ["--coordinator=127.0.0.1:1", "--dir=/tmp/worker", "--artifacts=/tmp/artifacts", "--slot-kind=gpu", f"--slots={slots}", "--metrics=127.0.0.1:0"]
                done = subprocess.run(self.command(volumes, *arguments), capture_output=True, text=True, timeout=LIMIT_S)
            assert done.returncode == 64 and sentence + "the NVIDIA driver's libraries are not here" in done.stderr, f"exit {done.returncode}\n{done.stderr}"
        print(f"{self.role}: without a GPU: {done.stderr.strip().splitlines()[-1]}")


class Certificates:
    """A folder as the kubelet lays a Secret: files are links through ..data, which one rename exchanges."""

    def __init__(self, folder):
        self.authority = folder / "authority"
        self.authority.mkdir()
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=test authority",
            "-keyout", self.authority / "ca.key", "-out", self.authority / "ca.crt")
        self.number = 0

    def issue(self, mount, name):
        self.number += 1
        target = mount / f"..{self.number}"
        target.mkdir(parents=True)
        key, request = target / "tls.key", self.authority / f"{self.number}.csr"
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/O=entrain:workers/CN=pod" if name.startswith("worker") else f"/CN={name}", "-keyout", key, "-out", request)
        extensions = self.authority / "extensions"
        extensions.write_text(f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth,clientAuth\n")
        run("openssl", "x509", "-req", "-in", request, "-CA", self.authority / "ca.crt", "-CAkey", self.authority / "ca.key", "-CAcreateserial", "-days", "1",
            "-extfile", extensions, "-out", target / "tls.crt")
        shutil.copy(self.authority / "ca.crt", target / "ca.crt")
        key.chmod(0o644)
        link = mount / "..next"
        link.symlink_to(target.name)
        link.rename(mount / "..data")
        for file in ("ca.crt", "tls.crt", "tls.key"):
            if not (mount / file).is_symlink():
                (mount / file).symlink_to(f"..data/{file}")


TLS = ["--tls-ca=/etc/entrain/tls/ca.crt", "--tls-cert=/etc/entrain/tls/tls.crt", "--tls-key=/etc/entrain/tls/tls.key"]


class Check:
    def __init__(self, stack, registry, version, roles):
        assert NEEDED <= set(roles), f"images_check: needs {sorted(NEEDED)}, not only {roles}"
        self.stack = stack
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="entrain-images-"))
        stack.callback(shutil.rmtree, self.folder)
        self.images = {role: Image(stack, registry, version, role) for role in roles}
        self.certificates = Certificates(self.folder)
        artifacts = self.folder / "artifacts"
        artifacts.mkdir()
        self.volumes = {}
        for role in self.images:
            volumes = self.folder / role
            (volumes / "var/lib/entrain").mkdir(parents=True)
            (volumes / "srv").mkdir()
            # One shared folder, as the ReadWriteMany volume is.
            if role == "cli":
                (volumes / "srv/entrain").mkdir()
            else:
                (volumes / "srv/entrain").symlink_to(artifacts)
            self.certificates.issue(volumes / "etc/entrain/tls", "localhost" if role == "coordinator" else role)
            os.chown(volumes / "var/lib/entrain", USER, USER)
            os.chown(volumes / "srv/entrain", USER, USER)
            self.volumes[role] = volumes
        self.address = ""
        self.last_answer = ""
        stack.push(self.show_logs)

    def show_logs(self, kind, _value, _trace):
        """Of a check that failed, before its folder goes."""
        if kind is None:
            return
        print(f"last answer: {self.last_answer}", file=sys.stderr)
        for log in self.folder.glob("*.log"):
            print(f"== {log.name}\n{log.read_text()[-4000:]}", file=sys.stderr)

    def start(self, role, *arguments):
        log = open(self.folder / f"{role}.log", "w")
        process = subprocess.Popen(self.images[role].command(self.volumes[role], *arguments), stdout=log, stderr=log)
        self.stack.callback(self.kill, process)
        return process

    def kill(self, process):
        """The image's first process, and with it all of its namespace: its tie to unshare went when it became another user."""
        below = self.descendants(process)
        if process.poll() is None and below:
            os.kill(below[0][0], signal.SIGKILL)
            process.wait(LIMIT_S)

    def file_of(self, role, name, process):
        path = self.folder / role / "var/lib/entrain" / name

        def read():
            assert process.poll() is None, f"{role} ended: {(self.folder / (role + '.log')).read_text()}"
            return path.read_text().strip() if path.exists() else ""
        return await_that(f"{role}: {name}", read)

    def entrain(self, *arguments):
        return subprocess.run(self.images["cli"].command(self.volumes["cli"], *arguments, f"--coordinator={self.address}", *TLS), capture_output=True, text=True,
                              timeout=LIMIT_S)

    def live_workers(self):
        done = self.entrain("workers")
        self.last_answer = done.stdout + done.stderr
        return done.returncode == 0 and "live" in done.stdout

    def check(self):
        for image in self.images.values():
            image.check_contents()
        coordinator = self.start("coordinator", "--data-dir=/var/lib/entrain", "--artifacts=/srv/entrain", "--listen=127.0.0.1:0", "--metrics=127.0.0.1:0",
                                 "--address-file=/var/lib/entrain/address", "--metrics-address-file=/var/lib/entrain/metrics", *TLS)
        self.address = "localhost:" + self.file_of("coordinator", "address", coordinator).rsplit(":", 1)[1]
        worker = self.start_worker("worker")
        self.check_health(self.file_of("worker", "metrics", worker))
        await_that("a live worker", self.live_workers)
        self.kill_daemon(worker)
        for role in self.volumes:
            self.certificates.issue(self.volumes[role] / "etc/entrain/tls", "localhost" if role == "coordinator" else role)
        await_that("a live worker after kill -9 of the daemon and new certificates", self.live_workers)
        self.train()
        self.check_read_only(coordinator, worker)
        self.back_up(coordinator)
        self.drain(worker)
        if "worker-cuda" in self.images:
            self.check_cuda()
        self.stop("coordinator", coordinator)

    def start_worker(self, role):
        return self.start(role, f"--coordinator={self.address}", "--dir=/var/lib/entrain", "--artifacts=/srv/entrain", "--slot-kind=cpu", "--slots=2",
                          "--metrics=127.0.0.1:0", "--metrics-address-file=/var/lib/entrain/metrics", f"--name={role}", *TLS)

    def check_cuda(self):
        """Its trainers load every library of CUDA, also where there is no GPU: the run that the drain left goes on with them."""
        self.images["worker-cuda"].refuses_without_gpus()
        worker = self.start_worker("worker-cuda")

        def trainer_maps():
            for pid, command in self.descendants(worker):
                if command[0].endswith("/entrain-trainer"):
                    with contextlib.suppress(OSError):
                        return pathlib.Path(f"/proc/{pid}/maps").read_text()
            return ""
        await_that("a trainer with CUDA", lambda: "/libtorch_cuda.so" in trainer_maps())
        await_that("a running gang", self.is_running)
        done = self.entrain("stop", "last")
        assert done.returncode == 0, done.stdout + done.stderr
        self.train()
        self.check_read_only(worker)
        self.stop("worker-cuda", worker)
        print("worker-cuda: the drained run went on with CUDA's libraries, and another one was trained, on the CPU")

    def check_health(self, metrics):
        image = self.images["worker"]
        probe = image.config["Healthcheck"]["Test"][1:-1]
        for port, expected in ((metrics.rsplit(":", 1)[1], 0), ("1", 1)):
            done = subprocess.run(["chroot", f"--userspec={USER}:{USER}", str(image.root), *probe, port], capture_output=True, timeout=LIMIT_S)
            assert done.returncode == expected, f"healthz {port}: exit {done.returncode}"

    @staticmethod
    def descendants(process):
        """(pid, command line) of everything below, parents first."""
        parents = {}
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        found, waiting = [], [process.pid]
        while waiting:
            above = waiting.pop(0)
            for pid in sorted(pid for pid, parent in parents.items() if parent == above):
                waiting.append(pid)
                with contextlib.suppress(OSError):
                    found.append((pid, pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")))
        return found

    def kill_daemon(self, worker):
        daemons = [pid for pid, command in self.descendants(worker) if command[0].endswith("/entrain-worker")]
        assert len(daemons) == 1, daemons
        os.kill(daemons[0], signal.SIGKILL)
        await_that("a new daemon", lambda: [pid for pid, command in self.descendants(worker)
                                            if command[0].endswith("/entrain-worker") and pid != daemons[0]])

    def train(self):
        home = self.folder / "cli/var/lib/entrain"
        (home / "text").mkdir(exist_ok=True)
        for number in range(40):
            (home / f"text/{number}.txt").write_text(f"Document {number}. " + " ".join(f"word{(number * step) % 97}" for step in range(300)))
        (home / "sweep.yaml").write_text(SWEEP)
        started_s = time.monotonic()
        done = self.entrain("submit", "/var/lib/entrain/sweep.yaml", "--artifacts=/srv/entrain", "--wait")
        assert done.returncode == 0, f"submit: exit {done.returncode}\n{done.stdout}{done.stderr}"
        listed = self.entrain("describe", "last", "-o", "json")
        assert listed.returncode == 0 and '"succeeded"' in listed.stdout, listed.stdout + listed.stderr
        print(f"a run of two ranks under mpirun succeeded in {time.monotonic() - started_s:.1f} s")

    def execute(self, process, *command):
        """As `kubectl exec` does."""
        first, _ = self.descendants(process)[0]
        return run("nsenter", f"--target={first}", "--mount", "--pid", "--root", "--wd=/", "--", "/usr/bin/setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups",
                   *command)

    def back_up(self, coordinator):
        """docs/k8s.md's command, while it serves."""
        self.execute(coordinator, *self.images["coordinator"].config["Entrypoint"], "backup", "--data-dir", "/var/lib/entrain", "--to", "/var/lib/entrain/backup")
        kept = [path.name for path in (self.folder / "coordinator/var/lib/entrain/backup").rglob("*.db")]
        assert len(kept) >= 2, f"no databases in the backup: {kept}"
        print("a backup was made while the coordinator served")

    def drain(self, worker):
        """The preStop hook while a gang trains: it returns once the gang has stopped at a checkpoint, and the run waits for another worker."""
        (self.folder / "cli/var/lib/entrain/long.yaml").write_text(SWEEP.replace("steps: 30", "steps: 1000000"))
        done = self.entrain("submit", "/var/lib/entrain/long.yaml", "--artifacts=/srv/entrain")
        assert done.returncode == 0, done.stdout + done.stderr
        await_that("a running gang", self.is_running)
        self.execute(worker, *self.images["worker"].config["Entrypoint"][2:], "--drain")
        assert worker.wait(LIMIT_S) == 0, f"worker: exit {worker.returncode}"
        self.last_answer = self.entrain("describe", "last", "-o", "json").stdout
        assert '"queued"' in self.last_answer, self.last_answer
        kept = list((self.folder / "artifacts/checkpoints").glob("*/*/step-*"))
        assert len(kept) >= 2, f"no checkpoint of the drained gang: {kept}"
        print("a drained gang stopped at a checkpoint, and its run is queued again")

    def is_running(self):
        self.last_answer = self.entrain("describe", "last", "-o", "json").stdout
        return '"running"' in self.last_answer

    def check_read_only(self, *processes):
        for process in processes:
            for pid, command in self.descendants(process):
                if "/entrain" not in command[0]:
                    continue
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                assert re.search(rf"^Uid:\t{USER}\t{USER}", status, re.M) and "CapEff:\t0000000000000000" in status and "CapBnd:\t0000000000000000" in status \
                    and "NoNewPrivs:\t1" in status, f"{command[0]}:\n{status}"
                mounts = pathlib.Path(f"/proc/{pid}/mounts").read_text().split("\n")
                own = [line.split() for line in mounts if len(line.split()) > 3 and line.split()[1] == "/"][-1]
                assert "ro" in own[3].split(","), own

    def stop(self, role, process):
        # unshare passes no signal on: the image's first process gets it, as from a kubelet.
        first, _ = self.descendants(process)[0]
        os.kill(first, signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0, f"{role}: exit {process.returncode}\n{(self.folder / (role + '.log')).read_text()[-2000:]}"


if __name__ == "__main__":
    if os.getuid() != 0:
        print("skipped: needs root, for mount namespaces", file=sys.stderr)
        sys.exit(77)
    with contextlib.ExitStack() as exits:
        Check(exits, *sys.argv[1:3], sys.argv[3:]).check()
    print("images: a sweep ran from read-only root filesystems without rights")
