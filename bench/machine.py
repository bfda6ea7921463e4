"""What a figure was measured on, in a few lines of text."""
import os
import pathlib
import platform
import subprocess

ISA_FLAGS = ("avx2", "fma", "avx512f", "avx512vl", "avx512_bf16", "amx_bf16")


def _cpu_field(name):
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def _first_line(path, missing):
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return missing


def _output(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def describe(**versions):
    """Lines that name the CPU, its cores, instruction sets, clock governor, load, the system, GPUs, the commit and the given versions."""
    flags = _cpu_field("flags").split()
    root = pathlib.Path(__file__).resolve().parent
    governor = _first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "not told")
    lines = [
        f"CPU {_cpu_field('model name')} (family {_cpu_field('cpu family')}, model {_cpu_field('model')}), "
        f"{len(os.sched_getaffinity(0))} cores used of {os.cpu_count()}, cache {_cpu_field('cache size')}; "
        f"{' '.join(flag for flag in ISA_FLAGS if flag in flags)}; governor {governor}",
        f"load {' '.join(f'{load:.2f}' for load in os.getloadavg())}; {platform.system()} {platform.release()}, "
        f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB; ENTRAIN_CPU_ISA {os.environ.get('ENTRAIN_CPU_ISA', 'not set')}",
    ]
    gpus = _output("nvidia-smi", "--query-gpu=name,driver_version,clocks.sm,persistence_mode", "--format=csv,noheader")
    lines += [f"GPU {gpu}" for gpu in gpus.splitlines()] or ["no GPU"]
    commit = _output("git", "-C", str(root), "rev-parse", "--short", "HEAD") or "unknown"
    changed = " with changes" if _output("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no") else ""
    versions = {"Python": platform.python_version(), **versions}
    lines.append(f"commit {commit}{changed}; " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    return lines


if __name__ == "__main__":
    print("\n".join(describe()))
