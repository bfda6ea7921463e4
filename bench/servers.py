"""Contestants as processes that work on command, so that all are started once and then take turns.

A server writes one JSON line when it is ready. It reads `step N` and answers, after N steps, with a JSON line that holds at least `cpu` and
`wall`, the seconds its process spent; `profile N` is answered with [[name, share, calls a step], ...].
"""
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
CACHE = pathlib.Path(os.environ.get("ENTRAIN_CACHE", pathlib.Path.home() / ".cache/entrain"))


class ServerDied(RuntimeError):
    pass


def python_command():
    """A Python that has torch, with its environment: the one of the tests, and the torch that the build links."""
    environment = dict(os.environ)
    python = CACHE / "python-tests/bin/python"
    for flavour in ("torch-cuda", "torch-cpu"):
        sites = sorted((CACHE / flavour / "lib").glob("python3*/site-packages"))
        if python.exists() and sites:
            environment["PYTHONPATH"] = str(sites[0])
            return [str(python)], environment
    return [sys.executable], environment


class Server:
    def __init__(self, name, command, environment=None):
        self.name = name
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment)
        self.ready = self._answer()
        self.answers = []

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise ServerDied(f"{self.name} ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return self._answer()

    def step(self, count=1):
        """CPU seconds of `count` steps."""
        answer = self.ask(f"step {count}")
        self.answers.append(answer)
        return answer["cpu"]

    def best_wall(self):
        return min(answer["wall"] for answer in self.answers)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


class Crew:
    """One contestant as several processes that take turns: which pages of memory a process got is worth several percent of its speed."""

    def __init__(self, make, count):
        self.members = [make() for _ in range(count)]
        self.turn = 0

    @property
    def ready(self):
        return self.members[0].ready

    @property
    def answers(self):
        return [answer for member in self.members for answer in member.answers]

    def warm_up(self, steps):
        """Compilation and first allocations, which count nowhere."""
        for member in self.members:
            member.step(steps)
            member.answers.clear()

    def step(self):
        """CPU seconds of a step of the one whose turn it is."""
        member = self.members[self.turn % len(self.members)]
        self.turn += 1
        return member.step()

    def best_wall(self):
        return min(answer["wall"] for answer in self.answers)

    def close(self):
        for member in self.members:
            member.close()


def baseline(name, form, *arguments):
    python, environment = python_command()
    return Server(name, [*python, ROOT / "bench/baselines/gpt2_step.py", "--form", form, *arguments], environment)


def ours(name, *arguments, bin_dir=ROOT / "build/release/bin"):
    return Server(name, [pathlib.Path(bin_dir) / "bench_step_server", *arguments])
