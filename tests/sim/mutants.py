#!/usr/bin/env python3
"""Plants every bug of mutants/*.patch in a copy of the sources and reports whether entrain-sim finds it, and after how many seeds.

    mutants.py --build build/release [--seeds 1000] [--jobs 2] [--work DIR] [NAME ...]

A patch is applied to a copy of the files that it names; only those, and what includes a header that it names, are compiled again, at -O1,
and linked with the rest. Exit code 1 when a bug is missed that mutants/known_missed.txt does not name, a patch does not apply or a mutant does
not compile.
"""
import argparse
import concurrent.futures
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATCHES = pathlib.Path(__file__).resolve().parent / "mutants"
# Library -> the folder whose CMakeLists.txt names its sources. Only these rooms can be patched.
ROOMS = {
    "core": "coordinator/core", "scheduler": "coordinator/scheduler", "core_loop": "coordinator/server", "samples": "coordinator/samples",
    "policy": "policy", "worker_core": "worker/core", "sim": "sim",
}
SEED_LIMIT_S = 240


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def sources_of(library):
    """The room's sources as CMake has them, relative to the root."""
    folder = ROOMS[library]
    text = (ROOT / folder / "CMakeLists.txt").read_text()
    listed = re.search(r"entrain_room\(NAME " + library + r"\s+SOURCES([^)]*?)DEPS", text).group(1)
    return [f"{folder}/{name}" for name in listed.split()]


def patched_files(patch):
    return re.findall(r"^\+\+\+ b/(\S+)", patch.read_text(), re.M)


class Builder:
    def __init__(self, build, work):
        self.build, self.work = build, work
        self.link = self.link_command()
        self.base = {}  # library -> {unit: object}
        self.compiler = shlex.split("ccache c++" if shutil.which("ccache") else "c++")

    def link_command(self):
        lines = run(["ninja", "-C", str(self.build), "-t", "commands", "entrain-sim"]).stdout.strip().splitlines()
        words = shlex.split(lines[-1])
        return [w for w in words if w not in (":", "&&")]

    def compile(self, unit, out, overlay=None):
        includes = [f"-I{overlay}"] if overlay else []
        command = self.compiler + ["-std=c++20", "-O1", "-fPIC", *includes, f"-I{ROOT}", f"-I{self.build}/base", "-MMD", "-c", str(unit), "-o", str(out)]
        done = run(command)
        if done.returncode != 0:
            raise RuntimeError(f"{unit} does not compile:\n{done.stdout[:2000]}")
        return out

    def prepare(self, touched):
        """Objects of every room that a patch touches: the touched files each, all others of the room as one unit."""
        jobs = []
        for library in ROOMS:
            mine = sources_of(library)
            if not any(name.startswith(ROOMS[library] + "/") for name in touched):
                continue
            alone = [name for name in mine if name in touched]
            rest = self.work / f"{library}_rest.cc"
            rest.write_text("".join(f'#include "{name}"\n' for name in mine if name not in touched))
            self.base[library] = {}
            for name in alone:
                jobs.append((library, name, ROOT / name, self.work / (name.replace("/", "_") + ".o")))
            jobs.append((library, str(rest), rest, self.work / f"{library}_rest.o"))
        return jobs

    def build_base(self, touched, pool):
        jobs = self.prepare(touched)
        for (library, name, _, out), _ in zip(jobs, pool.map(lambda job: self.compile(job[2], job[3]), jobs)):
            self.base[library][name] = out

    def depends(self, out, names):
        text = out.with_suffix(".d").read_text()
        return any(f"{ROOT}/{name}" in text for name in names)

    def mutant(self, patch):
        """The program with the bug in it."""
        folder = self.work / patch.stem
        shutil.rmtree(folder, ignore_errors=True)
        names = patched_files(patch)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        applied = run(["patch", "-p1", "--no-backup-if-mismatch", "-i", str(patch)], cwd=folder)
        if applied.returncode != 0:
            raise RuntimeError(f"{patch.name} does not apply:\n{applied.stdout}")
        objects = []
        for units in self.base.values():
            for name, out in units.items():
                if self.depends(out, names):
                    own = folder / out.name
                    unit = folder / name if (folder / name).exists() else (ROOT / name if not name.startswith("/") else pathlib.Path(name))
                    out = self.compile(unit, own, folder)
                objects.append(str(out))
        program = folder / "entrain-sim"
        command = []
        for word in self.link:
            library = re.match(r".*/libentrain_(\w+)\.a$", word)
            if library and library.group(1) in self.base:
                continue
            command.append(str(program) if word == "bin/entrain-sim" else word)
        at = next(i for i, word in enumerate(command) if word.endswith(".o")) + 1
        linked = run(command[:at] + objects + command[at:], cwd=self.build)
        if linked.returncode != 0:
            raise RuntimeError(f"{patch.name} does not link:\n{linked.stdout[-2000:]}")
        return program


def hunt(program, seeds):
    """(found, seeds it took, the sentence)."""
    try:
        done = run([str(program), "--seeds", str(seeds), "--trace-lines", "0"], timeout=SEED_LIMIT_S)
    except subprocess.TimeoutExpired:
        return True, 0, f"it does not come to an end in {SEED_LIMIT_S} s"
    failed = re.search(r"^seed (\d+) FAILED[^:]*: (.*)$", done.stdout, re.M)
    if failed:
        check = re.search(r"check failed: (.*)", done.stdout)
        return True, int(failed.group(1)), "check failed: " + check.group(1) if check else failed.group(2)
    unreachable = re.search(r"^reached, though said to be unreachable: .*$", done.stdout, re.M)
    if unreachable:
        return True, seeds, unreachable.group(0)
    if done.returncode != 0:
        raise RuntimeError(f"it neither fails nor holds, exit code {done.returncode}:\n{done.stdout[-500:]}")
    return False, seeds, done.stdout.strip().splitlines()[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--work")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("names", nargs="*")
    flags = parser.parse_args()
    build = pathlib.Path(flags.build).resolve()
    work = pathlib.Path(flags.work).resolve() if flags.work else build / "mutants"
    work.mkdir(parents=True, exist_ok=True)
    all_patches = sorted(PATCHES.glob("*.patch"))
    patches = [p for p in all_patches if not flags.names or p.stem in flags.names]
    # Of all patches, so that what is compiled once serves every later run.
    touched = {name for patch in all_patches for name in patched_files(patch)}
    began = time.monotonic()
    builder = Builder(build, work)

    def one(patch):
        try:
            return patch.stem, *hunt(builder.mutant(patch), flags.seeds)
        except RuntimeError as problem:
            return patch.stem, None, 0, str(problem)

    known_missed = {line for line in (PATCHES / "known_missed.txt").read_text().splitlines() if line and not line.startswith("#")}
    missed, surprises = 0, sorted(known_missed - {patch.stem for patch in all_patches})
    with concurrent.futures.ThreadPoolExecutor(flags.jobs) as pool:
        builder.build_base(touched, pool)
        print(f"the parts to mutate were compiled in {time.monotonic() - began:.0f} s", flush=True)
        for name, found, seeds, sentence in pool.map(one, patches):
            verdict = "BROKEN PATCH" if found is None else f"found by seed {seeds:3}" if found else f"MISSED in {seeds} seeds"
            print(f"{name:30} {verdict}  {sentence[:140]}", flush=True)
            missed += found is not True
            if found is None or (not found and name not in known_missed):
                surprises.append(name)
            if found and name in known_missed:
                print(f"{name} is found now: take it out of known_missed.txt")
    print(f"{len(patches) - missed} of {len(patches)} planted bugs found, {time.monotonic() - began:.0f} s")
    return 1 if surprises or not patches else 0


if __name__ == "__main__":
    sys.exit(main())
