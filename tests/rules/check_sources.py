#!/usr/bin/env python3
"""The rules of docs/ARCHITECTURE.md that a script can hold: which room may include what, file and function sizes, banned names and calls.

    check_sources.py ROOT      prints every breach as path:line: rule; exit code 1 if there is one
    check_sources.py --self-test   proves that each rule finds a planted breach
"""
import pathlib
import re
import sys
import tempfile

# Room -> rooms and outside headers it may include, besides base, domain, std and absl (base itself: std and absl only).
ROOMS = {
    "base": set(),
    "domain": set(),
    "proto": {"protobuf"},
    "sweep": {"yaml-cpp", "nlohmann"},
    "data": {"sentencepiece", "compression", "nlohmann"},
    "artifacts": {"proto", "protobuf", "grpc", "transport"},
    "transport": {"grpc", "openssl", "curl"},
    "policy": set(),
    "coordinator/scheduler": set(),
    "coordinator/core": {"coordinator/scheduler", "policy"},
    "coordinator/store": {"proto", "protobuf", "sqlite", "libpq", "policy"},
    "coordinator/samples": {"policy", "coordinator/store", "coordinator/core"},
    "coordinator/retention": {"coordinator/core", "coordinator/store", "artifacts"},
    "coordinator/rpc": {"proto", "protobuf", "coordinator/core", "coordinator/samples", "sweep", "coordinator/store", "grpc",
                        "artifacts", "metrics", "transport", "coordinator/pool", "coordinator/retention"},
    "coordinator/pool": {"coordinator/scheduler", "sweep", "transport", "openssl", "nlohmann"},
    "coordinator/server": {"coordinator/scheduler", "coordinator/core", "coordinator/store", "coordinator/samples",
                           "coordinator/rpc", "coordinator/retention", "coordinator/pool", "artifacts", "metrics", "transport", "CLI"},
    # Of the server room only the decision loop, so that commit before acknowledge is tested where it stands.
    "sim": {"coordinator/core", "coordinator/scheduler", "coordinator/samples", "coordinator/store", "coordinator/server", "policy",
            "worker/core", "CLI"},
    "worker/attempt": {"nlohmann"},
    "worker/core": set(),
    "worker/launcher": {"worker/attempt", "CLI"},
    "worker/agent": {"worker/core", "worker/attempt", "worker/launcher", "artifacts", "policy", "proto", "protobuf", "grpc",
                     "metrics", "sweep", "transport", "CLI"},
    "worker/collective": {"nccl", "mpi", "torch", "cuda"},
    "worker/trainer": {"model", "model/kernels", "worker/collective", "data", "sweep", "worker/attempt", "torch", "cuda", "CLI", "nlohmann"},
    "model": {"model/kernels", "data", "torch"},
    "model/kernels": {"torch", "cuda"},
    "metrics": {"prometheus", "nlohmann"},
    "reports": {"data", "policy", "nlohmann"},
    "cli": {"proto", "protobuf", "grpc", "sweep", "data", "reports", "artifacts", "policy", "worker/launcher", "transport", "CLI", "nlohmann"},
}
OUTSIDE = [
    (r"google/protobuf/|entrain/.*\.pb\.h", "protobuf"), (r"grpcpp?/|entrain/.*\.grpc\.pb\.h", "grpc"), (r"yaml-cpp/", "yaml-cpp"),
    (r"nlohmann/", "nlohmann"), (r"sentencepiece", "sentencepiece"), (r"(zstd|zlib)\.h", "compression"),
    (r"openssl/", "openssl"), (r"curl/", "curl"), (r"sqlite3\.h", "sqlite"), (r"libpq|pqxx", "libpq"), (r"CLI/", "CLI"), (r"nccl\.h", "nccl"), (r"mpi\.h", "mpi"),
    (r"torch/|ATen/|c10/", "torch"), (r"cuda|cublas|cooperative_groups|mma\.h", "cuda"), (r"prometheus/", "prometheus"),
]
ALWAYS = {"base", "domain"}
BANNED_FILE_WORDS = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
ALLOWED_FILES = {"common.proto"}  # messages that both wire services share
BANNED_CALLS = [
    (r"system_clock::now|\bgettimeofday\(|(?<![\w.:>])time\(nullptr\)|(?<![\w.:>])time\(NULL\)", "wall clock outside base/ and mains: pass a Clock"),
    (r"(?<![\w:>.])(s?rand|drand48)\(", "rand: pass base/random.h's Rng"),
]
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 70


def room_of(path):
    parts = path.split("/")
    for depth in (2, 1):
        name = "/".join(parts[:depth])
        if name in ROOMS:
            return name
    return None


def target_of(include):
    """The room or outside package that an include names; None for std, absl and the system's own headers."""
    for pattern, name in OUTSIDE:
        if re.match(pattern, include):
            return name
    return room_of(include) if "/" in include else None


def include_breaches(path, lines):
    room = room_of(path)
    if room is None:
        return
    seen = {}
    for number, line in enumerate(lines, 1):
        match = re.match(r'\s*#include [<"]([^>"]+)[>"]', line)
        target = match and target_of(match.group(1))
        if not target:
            continue
        seen.setdefault(target, number)
        allowed = ROOMS[room] | {room} | (set() if room == "base" else ALWAYS)
        if target not in allowed:
            yield number, f"room {room} may not include {match.group(1)} ({target})"
    if "torch" in seen and ("protobuf" in seen or "grpc" in seen):
        yield seen["torch"], "torch and protobuf headers never meet in one source file"


def size_breaches(path, lines):
    if len(lines) > MAX_FILE_LINES:
        yield MAX_FILE_LINES, f"{len(lines)} lines, more than {MAX_FILE_LINES}: a room with two jobs?"
    start = None
    for number, line in enumerate(lines, 1):
        if start is None and re.match(r"^[A-Za-z~].*\{$", line) and "(" in "".join(lines[max(0, number - 4):number]) \
                and not re.match(r"^(namespace|class|struct|enum|union|extern)\b", line):
            start = number
        elif line.startswith("}"):
            if start is not None and number - start > MAX_FUNCTION_LINES:
                yield start, f"function of {number - start} lines, more than {MAX_FUNCTION_LINES}"
            start = None


def text_breaches(path, lines):
    name = pathlib.PurePath(path).name
    if name not in ALLOWED_FILES and set(re.split(r"[._-]", name)[:-1]) & BANNED_FILE_WORDS:
        yield 1, f"file name {name} says nothing: name the concept"
    exempt = path.startswith("base/") or name in ("main.cc",) or name.endswith("_main.cc")
    for number, line in enumerate(lines, 1):
        code = line.split("//")[0]
        if not exempt:
            for pattern, why in BANNED_CALLS:
                if re.search(pattern, code):
                    yield number, why
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            yield number, "unfinished work"


def breaches(root):
    root = pathlib.Path(root)
    for room in sorted({name.split("/")[0] for name in ROOMS} | {"tests", "bench"}):
        for file in sorted((root / room).rglob("*")):
            if file.suffix not in (".h", ".cc", ".cu", ".cuh") or not file.is_file():
                continue
            path = file.relative_to(root).as_posix()
            lines = file.read_text().splitlines()
            for check in (include_breaches, size_breaches, text_breaches):
                for number, rule in check(path, lines):
                    yield f"{path}:{number}: {rule}"


def self_test():
    planted = {
        "policy/a.cc": "#include <torch/torch.h>\n",
        "cli/b.cc": '#include "coordinator/core/core.h"\n',
        "base/c.cc": '#include "domain/event.h"\n',
        "model/long.cc": "int x;\n" * (MAX_FILE_LINES + 1),
        "model/function.cc": "int F(int a) {\n" + "  a++;\n" * (MAX_FUNCTION_LINES + 1) + "}\n",
        "data/utils.h": "",
        "sweep/clock.cc": "auto t = std::chrono::system_clock::now();\n",
        "sweep/random.cc": "int r = rand();\n",
    }
    with tempfile.TemporaryDirectory() as root:
        for path, text in planted.items():
            file = pathlib.Path(root, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        found = list(breaches(root))
    missed = [path for path in planted if not any(line.startswith(path + ":") for line in found)]
    return [f"planted breach not found: {path}" for path in missed]


def main():
    problems = self_test() if sys.argv[1] == "--self-test" else list(breaches(sys.argv[1]))
    print("\n".join(problems) if problems else "no breach")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
