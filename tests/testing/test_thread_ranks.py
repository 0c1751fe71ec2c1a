"""Ranks in threads behave like ranks in processes: collectives, random states, errors and training results."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.plugins import catalogue
from aigc_zoo.testing import CheckFailed
from aigc_zoo.testing.assertions import offline
from aigc_zoo.testing.subjects import ComponentSubject
from aigc_zoo.testing.thread_ranks import run_on_ranks
from aigc_zoo.testing.trainers import fixture_of


def test_collectives_combine_every_rank_in_order() -> None:
    def train(ranks: Ranks) -> tuple[Any, ...]:
        mean = ranks.all_reduce_mean([torch.tensor([2.0 * ranks.rank]), None])
        copied = torch.tensor([float(ranks.rank + 5)])
        ranks.copy_from_first([copied])
        ranks.wait()
        return mean, copied, [int(t) for t in ranks.gather(torch.tensor(ranks.rank))], ranks.any(ranks.rank == 2)

    for mean, copied, gathered, some in run_on_ranks(train, world=3):
        assert mean[1] is None
        assert (float(mean[0]), float(copied), gathered, some) == (2.0, 5.0, [0, 1, 2], True)


def test_each_rank_has_its_own_random_state() -> None:
    def train(ranks: Ranks) -> list[float]:
        torch.manual_seed(ranks.rank)
        numbers = []
        for _ in range(3):
            numbers.append(float(torch.rand(())))
            ranks.wait()
        return numbers

    before = torch.get_rng_state()
    results = run_on_ranks(train)
    assert torch.equal(before, torch.get_rng_state())
    for rank, numbers in enumerate(results):
        torch.manual_seed(rank)
        assert numbers == [float(torch.rand(())) for _ in range(3)]


def test_different_collectives_are_an_error() -> None:
    def train(ranks: Ranks) -> None:
        if ranks.first:
            ranks.wait()

    with pytest.raises(CheckFailed, match="run different collectives"):
        run_on_ranks(train)


def test_an_exception_on_one_rank_ends_all() -> None:
    def train(ranks: Ranks) -> None:
        ranks.wait()
        if not ranks.first:
            raise ValueError("rank 1 fails")
        ranks.wait()

    with pytest.raises(ValueError, match="rank 1 fails"):
        run_on_ranks(train)


def test_two_ranks_train_like_one() -> None:
    """In float64; the tests of the engine show the same for processes."""
    entry = catalogue().find("recipe", "primer").entry
    fixture = fixture_of(ComponentSubject(catalogue(), entry), **{"generator.width": 2})

    def train(ranks: Ranks) -> dict[str, torch.Tensor]:
        trainer = fixture.trainer(ranks=ranks, dtype=torch.float64)
        for _ in range(2):
            trainer.train_step()
        return dict(trainer.nets.named_parameters())

    one, two = run_on_ranks(train)
    single = train(Ranks())
    for name, value in single.items():
        assert torch.equal(one[name], two[name])
        torch.testing.assert_close(one[name], value, rtol=1e-9, atol=1e-12)


def test_offline_refuses_connections_only_inside_the_block() -> None:
    import socket

    before = socket.create_connection
    with offline(), pytest.raises(OSError, match="make no network connections"):
        socket.create_connection(("localhost", 1))
    assert socket.create_connection is before
