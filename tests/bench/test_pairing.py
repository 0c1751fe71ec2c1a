"""Paired timing on a simulated clock with drift and noise: equal code does not differ, a small difference is found."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from aigc_zoo.bench.pairing import LEAST, MOST, WIDTH, Comparison, Paired, compare, interval, ratio_interval


class Machine:
    """A simulated clock, and work on it with noise, interruptions and drift."""

    def __init__(self, seed: int, noise: float = 0.05) -> None:
        self.now, self.chance, self.noise = 0.0, random.Random(seed), noise

    def clock(self) -> float:
        return self.now

    def work(self, seconds: float) -> Callable[[], None]:
        def run() -> None:
            drift = 1 + 0.3 * (self.now % 50) / 50  # as when other work warms the processor
            interrupted = 3.0 if self.chance.random() < 0.03 else 1.0
            self.now += seconds * drift * interrupted * self.chance.lognormvariate(0, self.noise)

        return run


def compared(seed: int, slower: float, **settings: float) -> Comparison:
    machine = Machine(seed)
    return compare(machine.work(0.01), machine.work(0.01 * slower), clock=machine.clock, **settings)  # type: ignore[arg-type]


def test_identical_code_seldom_differs() -> None:
    """B1: about five of a hundred at 95 %, and never more than ten."""
    found = [compared(seed, 1.0) for seed in range(100)]
    assert sum(one.differs for one in found) <= 10
    assert max(len(one.pairs) for one in found) <= MOST


def test_a_difference_of_five_per_cent_is_found() -> None:
    """B2: in at least 18 of 20, with pairs until the interval is within 2 %."""
    found = [compared(seed, 1.05) for seed in range(20)]
    assert sum(one.differs and one.low > 1 for one in found) >= 18
    for one in found:
        within = max(one.high - one.median, one.median - one.low) <= WIDTH * one.median
        assert within or len(one.pairs) == MOST
        assert len(one.pairs) >= LEAST


def test_pairs_end_when_the_interval_is_narrow() -> None:
    quiet = Machine(0, noise=0.001)
    few = compare(quiet.work(0.01), quiet.work(0.01), clock=quiet.clock)
    assert len(few.pairs) == LEAST
    loud = Machine(0, noise=2.0)
    many = compare(loud.work(0.01), loud.work(0.01), clock=loud.clock, most=60)
    assert len(many.pairs) == 60


def test_each_function_comes_first_equally_often() -> None:
    order: list[str] = []
    machine = Machine(0)

    def named(name: str) -> Callable[[], None]:
        return lambda: (order.append(name), machine.work(0.01)())[0]

    compare(named("A"), named("B"), clock=machine.clock, most=20, least=20)
    assert "".join(order[2:10]) == "ABBAABBA"


def test_the_interval_has_its_stated_coverage() -> None:
    chance = random.Random(5)
    hits = 0
    for number in range(100):
        values = [chance.gauss(3, 1) for _ in range(40)]
        low, high = interval(values, draws=300, seed=number)
        hits += low <= 3 <= high
    assert hits >= 88


def test_paired_rounds_are_timed_before_and_after() -> None:
    machine = Machine(0, noise=0.0)
    pair = Paired(machine.work(0.01), machine.clock)
    for _ in range(4):
        pair.setup()
        pair.teardown()
    assert len(pair.seconds) == 4
    assert len(pair.ratios([0.01] * 4)) == 4


def test_ratios_of_unpaired_rounds_have_an_interval() -> None:
    chance = random.Random(1)
    old = [chance.gauss(1, 0.05) for _ in range(40)]
    found = ratio_interval([1.2 * one for one in old], old)
    assert found.low < found.median < found.high
    assert found.median == pytest.approx(1.2)
    assert found.differs


@pytest.mark.nightly
def test_on_a_real_clock_five_per_cent_are_found_and_identical_code_does_not_differ() -> None:
    """As above with real arithmetic: a loop of a millisecond beside one with 5 % more turns."""

    def work(turns: int) -> Callable[[], None]:
        def run() -> None:
            total = 0
            for number in range(turns):
                total += number * number

        return run

    same = [compare(work(20_000), work(20_000), seed=number) for number in range(20)]
    slower = [compare(work(20_000), work(21_000), seed=number) for number in range(20)]
    assert sum(one.differs for one in same) <= 4
    assert sum(one.low > 1 for one in slower) >= 18
