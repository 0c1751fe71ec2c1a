"""Paired timing: A and B alternate, AB BA AB BA, so that drift of the machine affects both equally."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

WIDTH = 0.02
"""Pairs are added until the interval extends no further than this fraction from the median."""

LEAST, MOST = 20, 400
"""Minimum and maximum number of pairs."""


class Paired:
    """Times B beside each round of A: before it in even rounds, after it in odd rounds.

    `setup` and `teardown` are passed to `benchmark.pedantic`, whose target is A.
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
        """B's time over A's for each round: above 1 where A is faster."""
        return [other / one for one, other in zip(first, self.seconds, strict=True)]


def interval(values: Sequence[float], draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median."""
    low, high = np.quantile(_medians(values, draws, seed), (0.025, 0.975))
    return float(low), float(high)


def _medians(values: Sequence[float], draws: int, seed: int) -> np.ndarray:
    """Medians of `draws` bootstrap samples of the values."""
    rows = np.random.Generator(np.random.PCG64(seed)).integers(0, len(values), (draws, len(values)))
    return np.median(np.asarray(values, np.float64)[rows], axis=1)


class Comparison(NamedTuple):
    """The ratio second / first: its median over pairs, the 95 % interval of the median, and the pairs themselves."""

    median: float
    low: float
    high: float
    pairs: tuple[tuple[float, float], ...] = ()

    @property
    def differs(self) -> bool:
        """Whether the interval excludes 1."""
        return not self.low <= 1 <= self.high


def compare(
    first: Callable[[], object],
    second: Callable[[], object],
    *,
    width: float = WIDTH,
    most: int = MOST,
    least: int = LEAST,
    warm_up: int = 1,
    wait: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
    seed: int = 0,
) -> Comparison:
    """Time two functions in alternation, after a warm-up, and compare their times with `until_narrow`.

    `wait` is called after each function, before the clock is read: on a GPU it has to synchronize.
    """

    def timed(function: Callable[[], object]) -> float:
        start = clock()
        function()
        wait()
        return clock() - start

    for _ in range(warm_up):
        timed(first)
        timed(second)
    pairs = alternate(lambda: timed(first), lambda: timed(second))
    return until_narrow(pairs, width=width, most=most, least=least, every=10, seed=seed)


def alternate(first: Callable[[], float], second: Callable[[], float]) -> Iterator[tuple[float, float]]:
    """Yield pairs of measurements without end; `first` is called before `second` in every other pair."""
    while True:
        yield first(), second()
        other = second()
        yield first(), other


def until_narrow(
    pairs: Iterable[tuple[float, float]],
    *,
    width: float = WIDTH,
    most: int = MOST,
    least: int = LEAST,
    every: int = 1,
    seed: int = 0,
) -> Comparison:
    """Draw pairs until the interval of the median ratio is within `width` of it, or `most` pairs are done.

    The interval is checked after every `every` pairs from `least` on. Only its width decides when to stop, not whether
    it excludes 1: stopping as soon as a difference appears would find differences where there are none.
    """
    done: list[tuple[float, float]] = []
    for pair in pairs:
        done.append(pair)
        if len(done) < most and (len(done) < least or len(done) % every):
            continue
        ratios = [other / one for one, other in done]
        median, (low, high) = statistics.median(ratios), interval(ratios, seed=seed)
        if len(done) >= most or max(high - median, median - low) <= width * median:
            return Comparison(median, low, high, tuple(done))
    raise ValueError("the pairs ended before the interval was narrow")


def ratio_interval(new: Sequence[float], old: Sequence[float], draws: int = 2000, seed: int = 0) -> Comparison:
    """The ratio of two medians from unpaired rounds, with a 95 % bootstrap interval."""
    drawn = _medians(new, draws, seed) / _medians(old, draws, seed + 1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Comparison(statistics.median(new) / statistics.median(old), float(low), float(high))
