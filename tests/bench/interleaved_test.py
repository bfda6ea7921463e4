"""The statistics behind every table of bench/, on times whose answer is known."""
import pathlib
import random
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import interleaved  # noqa: E402
import machine  # noqa: E402
from interleaved import Interval, Target  # noqa: E402


class Clock:
    """Moves on by what the contestants spend."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def spender(self, cpu_seconds):
        def run():
            seconds = cpu_seconds() if callable(cpu_seconds) else cpu_seconds
            self.now += seconds
            return seconds

        return run


class Bootstrap(unittest.TestCase):
    def test_constant_times_have_an_interval_without_width(self):
        interval = interleaved.bootstrap([3.0] * 20, [2.0] * 20)
        self.assertEqual((interval.ratio, interval.low, interval.high, interval.repetitions), (1.5, 1.5, 1.5, 20))

    def test_the_ratio_is_that_of_minima_and_lies_in_its_interval(self):
        source = random.Random(7)
        slow = [4.0 + source.expovariate(5.0) for _ in range(30)]
        fast = [1.0 + source.expovariate(20.0) for _ in range(30)]
        interval = interleaved.bootstrap(slow, fast)
        self.assertEqual(interval.ratio, min(slow) / min(fast))
        self.assertLess(interval.low, interval.ratio)
        self.assertGreater(interval.high, interval.ratio)
        self.assertGreater(interval.width, 0.0)

    def test_one_lucky_repetition_widens_the_interval(self):
        steady = [2.0] * 20
        lucky = [2.0] * 19 + [1.0]
        interval = interleaved.bootstrap(steady, lucky)
        self.assertEqual((interval.ratio, interval.low, interval.high), (2.0, 1.0, 2.0))

    def test_the_median_of_pairs_is_untouched_by_what_slows_both_or_one_seldom(self):
        source = random.Random(5)
        pace = [source.choice([1.0, 1.3, 2.0]) for _ in range(60)]
        fast = [1.0 * p for p in pace]
        slow = [1.1 * p for p in pace]
        slow[7], fast[9] = 40.0, 0.1
        interval = interleaved.bootstrap_of_pairs(slow, fast)
        self.assertAlmostEqual(interval.ratio, 1.1)
        self.assertLess(interval.width, 1e-9)
        self.assertGreater(interleaved.bootstrap(slow, fast).width, 0.1)

    def test_unequal_repetitions_are_refused(self):
        with self.assertRaises(ValueError):
            interleaved.bootstrap([1.0], [1.0, 2.0])


class Verdict(unittest.TestCase):
    def test_the_worse_end_decides(self):
        at_least, at_most = Target(4.0), Target(1.02, at_least=False)
        self.assertEqual(at_least.verdict(Interval(4.02, 4.0, 4.03, 20)), "met")
        self.assertEqual(at_least.verdict(Interval(4.02, 3.99, 4.03, 20)), "undecided")
        self.assertEqual(at_least.verdict(Interval(3.98, 3.97, 3.99, 20)), "missed")
        self.assertEqual(at_most.verdict(Interval(1.01, 1.009, 1.018, 20)), "met")
        self.assertEqual(at_most.verdict(Interval(1.02, 1.015, 1.023, 20)), "undecided")
        self.assertEqual(at_most.verdict(Interval(1.03, 1.026, 1.032, 20)), "missed")

    def test_a_wide_interval_decides_nothing(self):
        self.assertEqual(Target(4.0).verdict(Interval(8.0, 7.9, 8.1, 20)), "undecided")


class Measure(unittest.TestCase):
    def test_steady_times_take_the_fewest_repetitions(self):
        clock = Clock()
        samples = interleaved.measure({"a": clock.spender(3.0), "b": clock.spender(2.0)}, [("a", "b")], clock=clock)
        self.assertEqual(samples.repetitions, 20)
        self.assertEqual(samples.interval("a", "b").ratio, 1.5)

    def test_noise_is_outlasted(self):
        clock, source = Clock(), random.Random(3)
        noisy = clock.spender(lambda: 1.0 + (0.0 if source.random() < 0.1 else 0.2 * source.random()))
        samples = interleaved.measure({"a": noisy, "b": clock.spender(1.0)}, [("a", "b")], clock=clock)
        self.assertGreater(samples.repetitions, 20)
        self.assertLess(samples.interval("a", "b").width, 0.01)

    def test_a_row_ends_when_its_time_is_up(self):
        clock, steps = Clock(), iter(range(10**6))
        falling = clock.spender(lambda: 100.0 / (1 + next(steps)))
        samples = interleaved.measure({"a": falling, "b": clock.spender(1.0)}, [("a", "b")], longest_seconds=600.0, clock=clock)
        self.assertGreaterEqual(clock.now, 600.0)
        self.assertLess(clock.now, 640.0)
        self.assertGreaterEqual(samples.interval("a", "b").width, 0.01)

    def test_contestants_take_turns_in_changing_order(self):
        order = []

        def named(name):
            return lambda: order.append(name) or 1.0

        interleaved.measure({"a": named("a"), "b": named("b")}, [("a", "b")], fewest=5)
        self.assertEqual("".join(order), "abbaabbaab")


class Machine(unittest.TestCase):
    def test_the_description_names_what_matters(self):
        text = "\n".join(machine.describe(torch="2.0"))
        for word in ("CPU ", "cores", "governor", "load", "commit", "torch 2.0"):
            self.assertIn(word, text)


if __name__ == "__main__":
    unittest.main()
