"""Ranks that are threads of one process, for checks of distributed training without process groups."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.testing.checks import CheckFailed


class _Scheduler:
    """Runs the threads one at a time, from one collective to the next.

    Each thread keeps its own state of torch's global generator.
    """

    def __init__(self, world: int) -> None:
        self.world = world
        self.current = 0
        self.values: list[Any] = [None] * world
        self.finished: set[int] = set()
        self.error: BaseException | None = None
        self.changed = threading.Condition()

    def exchange(self, rank: int, value: Any) -> list[Any]:
        """Blocks until every rank has passed a value, and returns all values in the order of the ranks."""
        random_state = torch.get_rng_state()
        self.values[rank] = value
        self.hand_over(rank)
        values = list(self.values)  # All are set; a second round lets every rank read them before one is overwritten.
        self.hand_over(rank)
        torch.set_rng_state(random_state)
        return values

    def hand_over(self, rank: int, *, end: bool = False) -> None:
        """Lets the next rank run, and blocks until it is this rank's turn again, unless this rank has finished."""
        with self.changed:
            if end:
                self.finished.add(rank)
            self.current = (rank + 1) % self.world
            self.changed.notify_all()
        if not end:
            self.await_turn(rank)

    def await_turn(self, rank: int) -> None:
        """Blocks. Raises another rank's exception, and CheckFailed if another rank finished without this collective."""
        with self.changed:
            self.changed.wait_for(
                lambda: self.current == rank or self.current in self.finished or self.error is not None
            )
            if self.error is not None:
                raise self.error
            if self.current != rank:
                raise CheckFailed("its ranks run different collectives: one waits for a rank that has finished")


@dataclass(frozen=True)
class ThreadRanks(Ranks):
    """Ranks as threads of this process, which run in turn."""

    scheduler: Any = None

    def all_reduce_mean(self, tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
        rows = self.scheduler.exchange(self.rank, [None if t is None else t.detach().clone() for t in tensors])
        columns = zip(*rows, strict=True)
        return [None if column[0] is None else torch.stack(column).mean(0) for column in columns]

    def copy_from_first(self, tensors: Any) -> None:
        for tensor in tensors:
            tensor.copy_(self.scheduler.exchange(self.rank, tensor.detach().clone())[0])

    def gather(self, tensor: Tensor) -> list[Tensor]:
        return list(self.scheduler.exchange(self.rank, tensor.detach().clone()))

    def any(self, value: bool) -> bool:
        return any(self.scheduler.exchange(self.rank, value))

    def wait(self) -> None:
        self.scheduler.exchange(self.rank, None)


def run_on_ranks(function: Callable[[Ranks], Any], world: int = 2) -> list[Any]:
    """Calls `function(ranks)` on each of `world` ranks and returns the results in the order of the ranks.

    The ranks run in turn, so the results are deterministic. Raises the first exception of any rank.
    """
    scheduler = _Scheduler(world)
    results: list[Any] = [None] * world

    def run(rank: int) -> None:
        try:
            scheduler.await_turn(rank)
            results[rank] = function(ThreadRanks(rank, world, scheduler))
        except BaseException as error:
            scheduler.error = scheduler.error or error
        finally:
            scheduler.hand_over(rank, end=True)

    with torch.random.fork_rng(devices=[]):
        threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(world)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if scheduler.error is not None:
        raise scheduler.error
    return results
