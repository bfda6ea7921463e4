"""Ratios of running times on a machine that others use too.

Every contestant is a function that does its work once and returns the process CPU seconds it took. All take turns within one repetition, so
that what disturbs one disturbs its neighbours. Noise only ever adds time, hence the minimum over the repetitions is what is compared; how
far it can be trusted is told by a bootstrap over the repetitions. A row is repeated until its interval is narrower than 1 % or its time is up.
"""
import dataclasses
import random
import statistics
import time

FEWEST_REPETITIONS = 20
NARROW = 0.01  # of the ratio
LONGEST_SECONDS = 600.0
RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Interval:
    """The ratio of two minima with its bootstrap 95 % interval."""

    ratio: float
    low: float
    high: float
    repetitions: int

    @property
    def width(self):
        return (self.high - self.low) / self.ratio

    def __str__(self):
        return f"{self.ratio:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclasses.dataclass(frozen=True)
class Target:
    """What a ratio is to reach: at least (or at most) `value`."""

    value: float
    at_least: bool = True

    def verdict(self, interval):
        """met when the interval's worse end meets it, missed when not even the better end does, undecided between or when it is wide."""
        if interval.width >= NARROW:
            return "undecided"
        worse, better = (interval.low, interval.high) if self.at_least else (interval.high, interval.low)
        meets = (lambda x: x >= self.value) if self.at_least else (lambda x: x <= self.value)
        return "met" if meets(worse) else "undecided" if meets(better) else "missed"

    def __str__(self):
        return f"{'>=' if self.at_least else '<='} {self.value:g}"


def resampled(numerator, denominator, figure, resamples, seed):
    """figure(pairs) with its bootstrap interval; the lists hold one time a repetition, and repetitions are drawn as pairs."""
    if len(numerator) != len(denominator) or not numerator:
        raise ValueError(f"{len(numerator)} and {len(denominator)} repetitions")
    pairs = list(zip(numerator, denominator))
    source = random.Random(seed)
    figures = sorted(figure(source.choices(pairs, k=len(pairs))) for _ in range(resamples))
    ratio = figure(pairs)
    low, high = figures[int(0.025 * resamples)], figures[min(resamples - 1, int(0.975 * resamples))]
    return Interval(ratio, min(low, ratio), max(high, ratio), len(pairs))


def bootstrap(numerator, denominator, resamples=RESAMPLES, seed=1):
    """The interval of min(numerator) / min(denominator)."""
    return resampled(numerator, denominator, lambda pairs: min(a for a, _ in pairs) / min(b for _, b in pairs), resamples, seed)


def bootstrap_of_pairs(numerator, denominator, resamples=RESAMPLES, seed=1):
    """The interval of the median of the pairs' own ratios, which is narrow even where minima are reached seldom."""
    return resampled(numerator, denominator, lambda pairs: statistics.median(a / b for a, b in pairs), resamples, seed)


class Samples:
    """Times of all contestants, one a repetition."""

    def __init__(self, names):
        self.seconds = {name: [] for name in names}

    def minimum(self, name):
        return min(self.seconds[name])

    @property
    def repetitions(self):
        return min(len(times) for times in self.seconds.values())

    def interval(self, numerator, denominator):
        return bootstrap(self.seconds[numerator], self.seconds[denominator])

    def median_of_pairs(self, numerator, denominator):
        return bootstrap_of_pairs(self.seconds[numerator], self.seconds[denominator])


def measure(contestants, ratios, fewest=FEWEST_REPETITIONS, longest_seconds=LONGEST_SECONDS, clock=time.monotonic, on_repetition=None):
    """Runs every contestant in turn until each of `ratios`, pairs of names (numerator, denominator), has a narrow interval.

    contestants: name -> function that returns seconds. The order is reversed every other repetition, so that none always follows the same.
    """
    samples = Samples(contestants)
    began = clock()
    names = list(contestants)
    while True:
        order = names if samples.repetitions % 2 == 0 else names[::-1]
        for name in order:
            samples.seconds[name].append(contestants[name]())
        if on_repetition:
            on_repetition(samples)
        count = samples.repetitions
        late = clock() - began >= longest_seconds
        if count < fewest:
            if late and count >= 2:
                return samples
            continue
        # A bootstrap costs as much as a short step: looked at every fifth time.
        if late or count % 5 == 0 and all(samples.interval(*pair).width < NARROW for pair in ratios):
            return samples
