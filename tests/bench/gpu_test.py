"""What bench/gpu computes besides measuring, and that it measures nothing without a GPU."""
import importlib.machinery
import importlib.util
import pathlib
import sys
import unittest
from unittest import mock

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("gpu", str(BENCH / "gpu"))
gpu = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu", loader))
loader.exec_module(gpu)


class Figures(unittest.TestCase):
    def test_flops_are_those_of_llm_c(self):
        self.assertAlmostEqual(gpu.flops_a_token(1024) / 1e6, 803.3, delta=0.05)
        self.assertAlmostEqual(gpu.flops_a_token(128) / 1e6, 753.7, delta=0.05)

    def test_utilisation_of_the_published_figure(self):
        # llm.c's 468,000 tokens/s an H100 at T=1024 is 38 %.
        self.assertEqual(gpu.utilisation(468_000, 1024, "NVIDIA H100 80GB HBM3"), "38.0 %")
        self.assertEqual(gpu.utilisation(1.0, 1024, "some card"), "peak unknown")

    def test_verdicts(self):
        self.assertEqual(gpu.verdict(4.0, 4.0), "met")
        self.assertEqual(gpu.verdict(3.99, 4.0), "missed")
        self.assertEqual(gpu.verdict(1.006, 1.005, at_least=False), "missed")


class Processes(unittest.TestCase):
    def test_json_lines_are_read(self):
        rows, error = gpu.run_json([sys.executable, "-c", "print('warming up'); print('{\"ms\": 1.5}')"])
        self.assertEqual((rows, error), ([{"ms": 1.5}], None))

    def test_out_of_memory_is_told_apart(self):
        code = "import sys; print('CUDA out of memory. Tried to allocate', file=sys.stderr); sys.exit(1)"
        self.assertEqual(gpu.run_json([sys.executable, "-c", code]), (None, "out of memory"))

    def test_another_failure_is_quoted(self):
        rows, error = gpu.run_json([sys.executable, "-c", "import sys; sys.exit('no such device')"])
        self.assertEqual((rows, error), (None, "no such device"))


class WithoutGpu(unittest.TestCase):
    def test_nothing_is_measured(self):
        with mock.patch.object(gpu, "gpu_names", return_value=[]), mock.patch.object(gpu.subprocess, "run") as run, \
                mock.patch.object(sys, "argv", ["gpu"]):
            self.assertEqual(gpu.main(), gpu.NOT_MEASURED)
        run.assert_not_called()

    def test_an_old_gpu_is_refused(self):
        with mock.patch.object(gpu, "gpu_names", return_value=[["Tesla V100", "7"]]), mock.patch.object(sys, "argv", ["gpu"]):
            self.assertEqual(gpu.main(), gpu.NOT_MEASURED)


if __name__ == "__main__":
    unittest.main()
