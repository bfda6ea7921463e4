"""Hosts for tests: network namespaces of this machine, each with a host name of its own, joined by a router that can be told to stop."""
import os
import pathlib
import subprocess
import time


def run(*command, check=True):
    return subprocess.run(command, check=check, capture_output=True, text=True)


def permitted():
    """Why hosts cannot be made here; empty: they can."""
    name = f"en{os.getpid()}t"
    try:
        made = run("ip", "netns", "add", name, check=False)
    except FileNotFoundError:
        return "iproute2 is not installed"
    if made.returncode != 0:
        return f"network namespaces are not permitted here: {made.stderr.strip()}"
    run("ip", "netns", "del", name)
    return ""


class Network:
    """A router and hosts around it. Host i has 10.77.i.2, the router 10.77.i.1 there."""

    def __init__(self, hosts):
        self.prefix = f"en{os.getpid()}"
        self.hosts = hosts
        for name in ["r"] + hosts:
            run("ip", "netns", "add", self.namespace(name))
            self.ip(name, "link", "set", "lo", "up")
        for i, host in enumerate(hosts, 1):
            run("ip", "link", "add", "net0", "netns", self.namespace(host), "type", "veth", "peer", "name", f"to{host}", "netns", self.namespace("r"))
            self.ip(host, "addr", "add", f"10.77.{i}.2/24", "dev", "net0")
            self.ip("r", "addr", "add", f"10.77.{i}.1/24", "dev", f"to{host}")
            self.ip(host, "link", "set", "net0", "up")
            self.ip("r", "link", "set", f"to{host}", "up")
            self.ip(host, "route", "add", "default", "via", f"10.77.{i}.1")
        self.join()

    def namespace(self, name):
        return f"{self.prefix}{name}"

    def ip(self, name, *words):
        return run("ip", "-n", self.namespace(name), *words)

    def address(self, host):
        return f"10.77.{self.hosts.index(host) + 1}.2"

    def router_address(self, host):
        return f"10.77.{self.hosts.index(host) + 1}.1"

    def _forward(self, value):
        run("ip", "netns", "exec", self.namespace("r"), "sh", "-c", f"echo {value} > /proc/sys/net/ipv4/ip_forward")

    def join(self):
        self._forward(1)

    def cut(self):
        """No host reaches another; all still reach the router."""
        self._forward(0)

    def unplug(self, host):
        self.ip("r", "link", "set", f"to{host}", "down")

    def plug(self, host):
        self.ip("r", "link", "set", f"to{host}", "up")

    def command(self, host, argv):
        """`argv` as a command on that host; the process keeps its pid."""
        setup = f"echo host-{host} > /proc/sys/kernel/hostname; exec \"$@\""
        return ["ip", "netns", "exec", self.namespace(host), "unshare", "--uts", "sh", "-c", setup, "sh", *map(str, argv)]

    def close(self):
        for name in ["r"] + self.hosts:
            run("ip", "netns", "del", self.namespace(name), check=False)


def processes(*folders):
    """pid -> command line of the live processes that carry one of these attempt folders, or are their supervisors."""
    found = {}
    wanted = [f"ENTRAIN_ATTEMPT_FOLDER={folder}".encode() for folder in folders]
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX":
                continue
            command = (entry / "cmdline").read_bytes().split(b"\0")[:-1]
            environment = (entry / "environ").read_bytes().split(b"\0")
        except (OSError, IndexError):
            continue
        supervises = len(command) > 1 and command[0].endswith(b"entrain-supervisor") and command[1].decode() in folders
        if supervises or any(line in environment for line in wanted):
            found[int(entry.name)] = [word.decode(errors="replace") for word in command]
    return found


def of_program(found, program):
    """Those that run this program."""
    return sorted(pid for pid, command in found.items() if command and os.path.basename(command[0]).split(".")[0] == program)


def wait_until(condition, limit_s, what, pause_s=0.05):
    """Seconds until `condition()` is true; fails with `what` otherwise."""
    began = time.monotonic()
    while True:
        value = condition()
        waited = time.monotonic() - began
        if value:
            return waited
        if waited > limit_s:
            raise AssertionError(f"not within {limit_s} s: {what() if callable(what) else what}")
        time.sleep(pause_s)
