"""`Trainer.diverged` names the player and the step of the first non-finite loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from sketch.toy import linear_loss, player, toy
from sketch.training import train

from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Batch, Nets, Terms


def breaking(name: str, at_step: int, value: float) -> Callable[[Nets, Batch], Terms]:
    """A loss that is `value` at one step only."""

    def loss(nets: Nets, batch: Batch) -> Terms:
        is_here = (batch["t"] * 10).round() == at_step  # the toy run has ten steps
        return {"loss": torch.where(is_here, value, nets[name].w)}

    return loss


def broken(discriminator: int | None, generator: int | None, value: float = math.nan) -> Trainer:
    return toy(
        {
            "discriminator": player(
                "D", loss=linear_loss("D") if discriminator is None else breaking("D", discriminator, value)
            ),
            "generator": player("G", loss=linear_loss("G") if generator is None else breaking("G", generator, value)),
        }
    )


def test_a_finite_run_has_not_diverged() -> None:
    a = broken(None, None)
    train(a, 5)
    assert a.diverged() is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_finding_names_player_and_step_and_is_kept(value: float) -> None:
    a = broken(None, 2, value)
    train(a, 2)
    assert a.diverged() is None
    a.train_step()
    assert a.diverged() == "the loss of player generator is not finite at step 2"
    train(a, 4)  # the loss is finite again
    assert a.diverged() == "the loss of player generator is not finite at step 2"


def test_the_first_of_several_findings_is_kept() -> None:
    a = broken(4, 1)
    train(a, 6)
    assert a.diverged() == "the loss of player generator is not finite at step 1"
    a = broken(3, 3)
    train(a, 6)
    assert a.diverged() == "the loss of player discriminator is not finite at step 3"


def test_every_turn_is_checked() -> None:
    turns: list[int] = []

    def loss(nets: Nets, batch: Batch) -> Terms:
        turns.append(1)
        return {"loss": nets.D.w * (math.nan if len(turns) == 1 else 1.0)}

    a = toy({"discriminator": player("D", loss=loss, turns=3, optimizer=lambda p: torch.optim.SGD(p, lr=0.0))})
    train(a, 1)
    assert a.diverged() == "the loss of player discriminator is not finite at step 0"


def test_terms_that_are_only_logged_are_not_checked() -> None:
    def loss(nets: Nets, batch: Batch) -> Terms:
        return {"loss": nets.D.w.square(), "_ratio": torch.tensor(math.nan)}

    a = toy({"discriminator": player("D", loss=loss)})
    train(a, 2)
    assert a.diverged() is None
