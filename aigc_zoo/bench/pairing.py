"""Comparisons in pairs: A and B alternate in one process, AB BA AB BA, so that whatever drifts hits both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

WIDTH = 0.02
"""Pairs are added until the interval reaches no further than this from the median."""

LEAST, MOST = 20, 400
"""Pairs: fewer say nothing, more are not worth the time."""


class Paired:
    """Times B beside each round of A: before it in even rounds, after it in odd ones, so that drift hits both alike.

    `setup` and `teardown` go to `benchmark.pedantic`, whose target is A.
    """

    def __init__(self, other: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> None:
        self._other, self._clock = other, clock
        self._round = 0
        self.seconds: list[float] = []

    def setup(self) -> None:
        if self._round % 2 == 0:
            self._time()

    def teardown(self) -> None:
        if self._round % 2 == 1:
            self._time()
        self._round += 1

    def _time(self) -> None:
        start = self._clock()
        self._other()
        self.seconds.append(self._clock() - start)

    def ratios(self, first: Sequence[float]) -> list[float]:
        """B's time over A's, by round: above 1 where A is the faster."""
        return [other / one for one, other in zip(first, self.seconds, strict=True)]


def interval(values: Sequence[float], draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median."""
    low, high = np.quantile(_medians(values, draws, seed), (0.025, 0.975))
    return float(low), float(high)


def _medians(values: Sequence[float], draws: int, seed: int) -> np.ndarray:
    """Medians of `draws` samples of the values, with replacement."""
    rows = np.random.Generator(np.random.PCG64(seed)).integers(0, len(values), (draws, len(values)))
    return np.median(np.asarray(values, np.float64)[rows], axis=1)


class Comparison(NamedTuple):
    """How many times as long B takes as A: the median over pairs, its 95 % interval, and all ratios."""

    median: float
    low: float
    high: float
    ratios: tuple[float, ...]

    @property
    def differs(self) -> bool:
        """Whether one of them is the faster, as far as these pairs can tell."""
        return not self.low <= 1 <= self.high


def compare(
    first: Callable[[], object],
    second: Callable[[], object],
    *,
    width: float = WIDTH,
    most: int = MOST,
    least: int = LEAST,
    clock: Callable[[], float] = time.perf_counter,
    seed: int = 0,
) -> Comparison:
    """Runs both in turn, after a warm-up, until the ratio of their times is known to `width` or `most` pairs are done.

    When to stop is asked of the width alone, never of the answer: to stop as soon as a difference shows would find one
    where there is none.
    """
    first(), second()
    ratios: list[float] = []

    def timed(what: Callable[[], object]) -> float:
        start = clock()
        what()
        return clock() - start

    while True:
        if len(ratios) % 2:
            other, one = timed(second), timed(first)
        else:
            one, other = timed(first), timed(second)
        ratios.append(other / one)
        enough = len(ratios) >= most
        if enough or (len(ratios) >= least and len(ratios) % 10 == 0):
            median, (low, high) = statistics.median(ratios), interval(ratios, seed=seed)
            if enough or max(high - median, median - low) <= width * median:
                return Comparison(median, low, high, tuple(ratios))


def ratio_interval(new: Sequence[float], old: Sequence[float], draws: int = 2000, seed: int = 0) -> Comparison:
    """The ratio of two medians from rounds that were not taken in pairs, with a bootstrap interval of 95 %."""
    drawn = _medians(new, draws, seed) / _medians(old, draws, seed + 1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Comparison(statistics.median(new) / statistics.median(old), float(low), float(high), ())
