"""What the chart renders, for tests that need its objects rather than judge them."""
import copy
import functools
import pathlib
import subprocess

import strict_schema

CHART = pathlib.Path(__file__).resolve().parents[2] / "deploy/k8s/chart"


@functools.lru_cache(maxsize=None)
def rendered(settings):
    flags = [flag for setting in settings for flag in ("--set", setting)]
    done = subprocess.run([strict_schema.TOOLS / "bin/helm", "template", "entrain", CHART, "--namespace", "entrain", *flags],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return strict_schema.load_all(done.stdout)


def render(settings):
    """The objects, which the caller may change."""
    return copy.deepcopy(rendered(tuple(settings)))


def named(objects, kind, name):
    return next(item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name))


def pool_file(objects, folder, **kubernetes):
    """The pool's ConfigMap as files in `folder`; `kubernetes` adds to that section what a pod would find around it. The pool file's path."""
    for name, text in named(objects, "ConfigMap", "entrain-pool")["data"].items():
        (folder / name).write_text(text.replace("/etc/entrain/pool", str(folder)))
    path = folder / "pool.yaml"
    path.write_text(path.read_text().rstrip("\n") + "".join(f"\n  {key}: {value}" for key, value in kubernetes.items()) + "\n")
    return path
