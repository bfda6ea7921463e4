"""bench/step runs to its end, and every contestant trains: a loss that falls, at a small size.

    step_test.py BIN_DIR      the folder of bench_step_server
"""
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import servers  # noqa: E402

BIN = pathlib.Path(sys.argv.pop()).resolve()
SMALL = ["--layers", "1", "--heads", "2", "--width", "32", "--vocabulary", "64", "--threads", "1"]
SHAPE = ["--context", "16", "--batch", "2", *SMALL]


class Step(unittest.TestCase):
    def losses(self, server):
        try:
            losses = [server.ask("step 5")["loss"] for _ in range(6)]
        finally:
            server.close()
        self.assertAlmostEqual(losses[0], 4.16, delta=0.6)  # ln 64, before much is learnt
        self.assertLess(losses[-1], losses[0] - 0.2)

    def test_every_contestant_trains(self):
        for form in ("entropy", "sdpa"):
            self.losses(servers.baseline(form, form, *SHAPE))
        for entropy in ("on", "off"):
            self.losses(servers.ours(entropy, "--entropy", entropy, *SHAPE, bin_dir=BIN))

    def test_the_table_has_every_row(self):
        command = [ROOT / "bench/step", "--context", "16", "--tokens", "32", *SMALL, "--repetitions", "3", "--seconds", "1",
                   "--processes", "2", "--rows", "entropy", "sdpa", "off",
                   "--bin", BIN]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        for row in ("| (a) eager", "| (c) scaled", "| ours without entropy"):
            self.assertIn(row, done.stdout)
        self.assertIn("CPU ", done.stdout)


if __name__ == "__main__":
    python, environment = servers.python_command()
    if not (BIN / "bench_step_server").exists() or subprocess.run([*python, "-c", "import numpy"], env=environment).returncode != 0:
        print("skipped: needs bench_step_server and the packages of scripts/python-tests.txt (scripts/setup --tests)", file=sys.stderr)
        sys.exit(77)
    unittest.main()
