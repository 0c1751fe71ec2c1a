"""Comparisons on a simulated clock: no difference where there is none, a small one found, drift and noise included."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from aigc_zoo.bench.pairing import LEAST, MOST, WIDTH, Comparison, Paired, compare, interval, ratio_interval


class Machine:
    """A clock and work that takes time on it: each run differs by `noise`, some are interrupted, and all drift."""

    def __init__(self, seed: int, noise: float = 0.05) -> None:
        self.now, self.chance, self.noise = 0.0, random.Random(seed), noise

    def clock(self) -> float:
        return self.now

    def work(self, seconds: float) -> Callable[[], None]:
        def run() -> None:
            drift = 1 + 0.3 * (self.now % 50) / 50  # as when a neighbour warms the processor up
            spoiled = 3.0 if self.chance.random() < 0.03 else 1.0
            self.now += seconds * drift * spoiled * self.chance.lognormvariate(0, self.noise)

        return run


def compared(seed: int, slower: float, **settings: float) -> Comparison:
    machine = Machine(seed)
    return compare(machine.work(0.01), machine.work(0.01 * slower), clock=machine.clock, **settings)  # type: ignore[arg-type]


def test_identical_code_is_seldom_called_different() -> None:
    """B1: at 95 % about five of a hundred, and never more than ten."""
    found = [compared(seed, 1.0) for seed in range(100)]
    assert sum(one.differs for one in found) <= 10
    assert max(len(one.ratios) for one in found) <= MOST


def test_five_per_cent_are_found() -> None:
    """B2: in at least 18 of 20, with pairs until the interval is within 2 %."""
    found = [compared(seed, 1.05) for seed in range(20)]
    assert sum(one.differs and one.low > 1 for one in found) >= 18
    for one in found:
        within = max(one.high - one.median, one.median - one.low) <= WIDTH * one.median
        assert within or len(one.ratios) == MOST
        assert len(one.ratios) >= LEAST


def test_pairs_end_when_enough_is_known_and_not_before() -> None:
    quiet = Machine(0, noise=0.001)
    few = compare(quiet.work(0.01), quiet.work(0.01), clock=quiet.clock)
    assert len(few.ratios) == LEAST
    loud = Machine(0, noise=2.0)
    many = compare(loud.work(0.01), loud.work(0.01), clock=loud.clock, most=60)
    assert len(many.ratios) == 60


def test_both_come_first_equally_often() -> None:
    order: list[str] = []
    machine = Machine(0)

    def named(name: str) -> Callable[[], None]:
        return lambda: (order.append(name), machine.work(0.01)())[0]

    compare(named("A"), named("B"), clock=machine.clock, most=20, least=20)
    assert "".join(order[2:10]) == "ABBAABBA"


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    chance = random.Random(5)
    hits = 0
    for number in range(100):
        values = [chance.gauss(3, 1) for _ in range(40)]
        low, high = interval(values, draws=300, seed=number)
        hits += low <= 3 <= high
    assert hits >= 88


def test_rounds_beside_another_alternate() -> None:
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
def test_a_real_clock_finds_five_per_cent_and_nothing_where_there_is_nothing() -> None:
    """The same as above, of real arithmetic on this machine: a loop of a millisecond beside one of 5 % more."""

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
