"""Optimizers and learning rates: one of each per player, weight clipping, schedules."""

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
    values: list[float] = []

    def loss(nets: Nets, batch: Batch) -> Terms:
        values.append(nets.D.w.item())
        return {"loss": nets.D.w}

    a = toy({"discriminator": player("D", loss=loss, turns=4, optimizer=clipped(optimizer, 0.5))})
    train(a, 2)
    assert values[0] == 1.0  # the initial weight is not clipped
    assert all(abs(w) <= 0.5 for w in values[1:])
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


SCHEDULES = {
    "number": (0.25, [0.25, 0.25, 0.25]),
    "t": (linear(1.0, 0.0), [1.0, 0.9, 0.8]),
    "images": (lambda nets, batch: batch["images"] / 32, [0.0, 0.25, 0.5]),
    "buffer": (lambda nets, batch: nets.D.level + 0.125, [0.125, 1.125, 2.125]),
}


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("lr_type", ["number", "tensor"])
def test_learning_rates_follow_their_schedule(kind: str, lr_type: str) -> None:
    lr, expected = SCHEDULES[kind]
    optimizers: list[torch.optim.Optimizer] = []

    def optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        initial = 9.0 if lr_type == "number" else torch.tensor(9.0, dtype=torch.float64)
        optimizers.append(torch.optim.SGD(parameters, lr=initial, fused=False))  # `tune` would make a number a tensor
        return optimizers[0]

    def loss(nets: Nets, batch: Batch) -> Terms:
        nets.D.level.add_(1)  # a schedule is evaluated before the turn, on the buffer of the previous one
        return {"loss": nets.D.w}

    a = toy({"discriminator": player("D", loss=loss, optimizer=optimizer, lr=lr)})
    rates, weights = [], [1.0]
    for _ in range(3):
        a.train_step()
        rates.append(float(optimizers[0].param_groups[0]["lr"]))
        weights.append(weight_of(a, "D"))
    assert rates == pytest.approx(expected, abs=1e-12)
    assert [before - after for before, after in pairwise(weights)] == pytest.approx(expected)
    assert isinstance(optimizers[0].param_groups[0]["lr"], Tensor) == (lr_type == "tensor")


def test_schedules_are_evaluated_before_every_turn() -> None:
    batches: list[float] = []

    def lr(nets: Nets, batch: Batch) -> float:
        batches.append(batch_number(batch))
        return 0.1

    train(toy({"discriminator": player("D", loss=linear_loss("D"), turns=2, lr=lr)}), 2)
    assert batches == [0, 1, 2, 3]
