"""Optimisers and rates: each player's own, clipped after each step, moved by schedules."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from sketch.toy import batch_number, linear_loss, player, toy, weight_of
from sketch.training import train
from torch import Tensor, nn

from aigc_zoo.game import Batch, MakeOptimizer, Nets, Terms, adam, clipped, linear, rmsprop


@pytest.mark.parametrize("optimizer", [rmsprop(0.3), adam(0.3)], ids=["rmsprop", "adam"])
def test_weights_are_clipped_after_each_step(optimizer: MakeOptimizer) -> None:
    seen: list[float] = []

    def loss(nets: Nets, batch: Batch) -> Terms:
        seen.append(nets.D.w.item())
        return {"loss": nets.D.w}

    a = toy({"discriminator": player("D", loss=loss, turns=4, optimizer=clipped(optimizer, 0.5))})
    train(a, 2)
    assert seen[0] == 1.0  # as initialised: the bound holds from the first step on
    assert all(abs(w) <= 0.5 for w in seen[1:])
    assert weight_of(a, "D") == -0.5


def test_each_player_has_its_own_learning_rate() -> None:
    players = {
        "discriminator": player("D", loss=linear_loss("D"), optimizer=adam(4e-4, 0.0, 0.9)),
        "generator": player("G", loss=linear_loss("G"), optimizer=adam(1e-4, 0.0, 0.9)),
    }
    a = toy(players)
    train(a, 1)
    assert 1.0 - weight_of(a, "D") == pytest.approx(4e-4, rel=1e-6)
    assert 2.0 - weight_of(a, "G") == pytest.approx(1e-4, rel=1e-6)


RATES = {
    "number": (0.25, [0.25, 0.25, 0.25]),
    "t": (linear(1.0, 0.0), [1.0, 0.9, 0.8]),
    "images": (lambda nets, batch: batch["images"] / 32, [0.0, 0.25, 0.5]),
    "buffer": (lambda nets, batch: nets.D.level + 0.125, [0.125, 1.125, 2.125]),
}


@pytest.mark.parametrize("kind", RATES)
@pytest.mark.parametrize("rate_is", ["a number", "a tensor"])
def test_learning_rates_follow_their_schedule(kind: str, rate_is: str) -> None:
    lr, expected = RATES[kind]
    made: list[torch.optim.Optimizer] = []

    def optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        rate = 9.0 if rate_is == "a number" else torch.tensor(9.0, dtype=torch.float64)
        made.append(torch.optim.SGD(parameters, lr=rate, fused=False))  # else a number becomes a tensor
        return made[0]

    def loss(nets: Nets, batch: Batch) -> Terms:
        nets.D.level.add_(1)  # asked before the turn, a schedule sees the buffer as the last one left it
        return {"loss": nets.D.w}

    a = toy({"discriminator": player("D", loss=loss, optimizer=optimizer, lr=lr)})
    seen, places = [], [1.0]
    for _ in range(3):
        a.train_step()
        seen.append(float(made[0].param_groups[0]["lr"]))
        places.append(weight_of(a, "D"))
    assert seen == pytest.approx(expected, abs=1e-12)
    assert [before - after for before, after in pairwise(places)] == pytest.approx(expected)
    assert isinstance(made[0].param_groups[0]["lr"], Tensor) == (rate_is == "a tensor")


def test_schedules_are_evaluated_before_every_turn() -> None:
    asked: list[float] = []

    def rate(nets: Nets, batch: Batch) -> float:
        asked.append(batch_number(batch))
        return 0.1

    train(toy({"discriminator": player("D", loss=linear_loss("D"), turns=2, lr=rate)}), 2)
    assert asked == [0, 1, 2, 3]
