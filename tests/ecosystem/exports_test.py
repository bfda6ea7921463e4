"""What `entrain export` writes, read by the programs it is for: TensorBoard's own reader, NumPy, safetensors, csv.

    exports_test.py BIN      trains examples/tiny.yaml through `entrain local`, exports it in every format, and compares
"""
import csv
import glob
import math
import os
import subprocess
import sys
import tempfile

import numpy
from safetensors.numpy import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run(binary, *arguments, codes=(0,)):
    result = subprocess.run([os.path.join(binary, "entrain"), *arguments], capture_output=True, text=True)
    assert result.returncode in codes, f"{arguments}: exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def numbers(row, prefix):
    return [float(value) for name, value in row.items() if name.startswith(prefix)]


def check_run(folder, name):
    with open(os.path.join(folder, "csv", name + ".csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    arrays = numpy.load(os.path.join(folder, "npz", name + ".npz"))
    tensors = load_file(os.path.join(folder, "safetensors", name + ".safetensors"))
    assert sorted(arrays.files) == sorted(tensors), (arrays.files, sorted(tensors))
    for array in arrays.files:
        assert numpy.array_equal(arrays[array], tensors[array], equal_nan=True), array
    steps = len(rows)
    assert steps == 40, f"{steps} samples of 40"
    assert arrays["step"].tolist() == list(range(1, steps + 1))
    assert arrays["loss"].tolist() == [float(row["loss"]) for row in rows]
    layers, heads = arrays["entropy_nats"].shape[1:]
    assert (layers, heads) == (2, 2)
    for i, row in enumerate(rows):
        wanted = numpy.array(numbers(row, "entropy_nats_"), dtype=numpy.float32).reshape(layers, heads)
        assert numpy.array_equal(arrays["entropy_nats"][i], wanted), i
        assert numpy.array_equal(arrays["max_abs_score"][i], numpy.array(numbers(row, "max_abs_score_"), dtype=numpy.float32)), i

    events = EventAccumulator(os.path.join(folder, "tensorboard", name), size_guidance={"scalars": 0, "histograms": 0})
    events.Reload()
    tags = events.Tags()["scalars"]
    losses = events.Scalars("train/loss")
    assert [event.step for event in losses] == arrays["step"].tolist()
    assert numpy.array_equal(numpy.array([event.value for event in losses], dtype=numpy.float32), arrays["loss"].astype(numpy.float32))
    bound = math.lgamma(32 + 1) / 32  # ln(T!)/T of examples/tiny.yaml's T=32
    for layer in range(layers):
        for head in range(heads):
            shares = [event.value for event in events.Scalars(f"entropy_share/layer_{layer:02}/head_{head:02}")]
            assert numpy.allclose(shares, arrays["entropy_nats"][:, layer, head] / bound, rtol=1e-6), (layer, head)
        assert f"max_abs_score/layer_{layer:02}" in tags
    evaluations = events.Scalars("eval/loss")
    assert [event.step for event in evaluations] == arrays["eval_step"].tolist() == [20, 40]
    histograms = events.Histograms("entropy_share_of_heads")
    assert histograms and all(histogram.histogram_value.num == layers * heads for histogram in histograms)
    print(f"{name}: {steps} samples, {len(tags)} scalar tags, {len(histograms)} histograms")


def main():
    binary = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, "local")
        run(binary, "local", os.path.join(ROOT, "examples", "tiny.yaml"), "--dir", local, "--slots", "2", "--no-watch")
        for kind in ["tensorboard", "csv", "npz", "safetensors", "traces"]:
            run(binary, "export", "last", "--dir", local, "--format", kind, "-o", os.path.join(folder, kind))
        names = sorted(os.path.basename(path)[:-4] for path in glob.glob(os.path.join(folder, "npz", "*.npz")))
        assert len(names) == 2, names
        for name in names:
            check_run(folder, name)
        with open(os.path.join(folder, "csv", "runs.csv"), newline="") as file:
            assert sorted(row["state"] for row in csv.DictReader(file)) == ["succeeded", "succeeded"]
        report = run(binary, "policy", "test", "--traces", os.path.join(folder, "traces"))
        assert "healthy runs stopped" in report, report


if __name__ == "__main__":
    main()
