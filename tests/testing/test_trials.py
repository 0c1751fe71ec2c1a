"""Ranks that are threads behave as ranks that are processes: one at a time, each with random numbers of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.plugins import catalogue
from aigc_zoo.testing import CheckFailed
from aigc_zoo.testing.probes import offline
from aigc_zoo.testing.subjects import Part
from aigc_zoo.testing.trials import together, trial_of


def test_collectives_see_every_rank_in_order() -> None:
    def play(ranks: Ranks) -> tuple[Any, ...]:
        mean = ranks.all_reduce_mean([torch.tensor([2.0 * ranks.rank]), None])
        copied = torch.tensor([float(ranks.rank + 5)])
        ranks.copy_from_first([copied])
        ranks.wait()
        return mean, copied, [int(t) for t in ranks.gather(torch.tensor(ranks.rank))], ranks.any(ranks.rank == 2)

    for mean, copied, gathered, some in together(play, world=3):
        assert mean[1] is None
        assert (float(mean[0]), float(copied), gathered, some) == (2.0, 5.0, [0, 1, 2], True)


def test_each_rank_has_torchs_generator_as_if_it_were_alone() -> None:
    def play(ranks: Ranks) -> list[float]:
        torch.manual_seed(ranks.rank)
        found = []
        for _ in range(3):
            found.append(float(torch.rand(())))
            ranks.wait()
        return found

    before = torch.get_rng_state()
    found = together(play)
    assert torch.equal(before, torch.get_rng_state())
    for rank, numbers in enumerate(found):
        torch.manual_seed(rank)
        assert numbers == [float(torch.rand(())) for _ in range(3)]


def test_ranks_that_do_unlike_things_are_found_out() -> None:
    def play(ranks: Ranks) -> None:
        if ranks.first:
            ranks.wait()

    with pytest.raises(CheckFailed, match="do not do the same things"):
        together(play)


def test_what_one_rank_raises_ends_all() -> None:
    def play(ranks: Ranks) -> None:
        ranks.wait()
        if not ranks.first:
            raise ValueError("rank 1 has enough")
        ranks.wait()

    with pytest.raises(ValueError, match="has enough"):
        together(play)


def test_ranks_in_threads_end_where_one_rank_does() -> None:
    """In float64, as the tests of the engine show it of processes."""
    entry = catalogue().find("recipe", "primer").entry
    trial = trial_of(Part(catalogue(), entry), **{"generator.width": 2})

    def play(ranks: Ranks) -> dict[str, torch.Tensor]:
        trainer = trial.trainer(ranks=ranks, dtype=torch.float64)
        for _ in range(2):
            trainer.train_step()
        return dict(trainer.nets.named_parameters())

    one, two = together(play)
    alone = play(Ranks())
    for name, value in alone.items():
        assert torch.equal(one[name], two[name])
        torch.testing.assert_close(one[name], value, rtol=1e-9, atol=1e-12)


def test_offline_refuses_connections_and_lets_them_be_again() -> None:
    import socket

    before = socket.create_connection
    with offline(), pytest.raises(OSError, match="makes no connections"):
        socket.create_connection(("localhost", 1))
    assert socket.create_connection is before
