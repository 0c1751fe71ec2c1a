"""A loss that is not finite is noticed, with its player and its step, whatever comes after it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from sketch.play import play
from sketch.toy import game, player, pull

from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Batch, Nets, Terms


def breaking(name: str, at_step: int, value: float) -> Callable[[Nets, Batch], Terms]:
    """A loss that is `value` at one step, and only there."""

    def loss(nets: Nets, batch: Batch) -> Terms:
        here = (batch["t"] * 10).round() == at_step  # the toy's run is ten steps long
        return {"loss": torch.where(here, value, nets[name].w)}

    return loss


def broken(critic: int | None, generator: int | None, value: float = math.nan) -> Trainer:
    return game(
        {
            "critic": player("D", loss=pull("D") if critic is None else breaking("D", critic, value)),
            "generator": player("G", loss=pull("G") if generator is None else breaking("G", generator, value)),
        }
    )


def test_nothing_is_said_while_all_is_finite() -> None:
    a = broken(None, None)
    play(a, 5)
    assert a.diverged() is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_player_and_the_step_are_named_and_stay(value: float) -> None:
    a = broken(None, 2, value)
    play(a, 2)
    assert a.diverged() is None
    a.train_step()
    assert a.diverged() == "the loss of player generator is not finite at step 2"
    play(a, 4)  # in which the loss is finite again
    assert a.diverged() == "the loss of player generator is not finite at step 2"


def test_the_first_of_several_is_kept() -> None:
    a = broken(4, 1)
    play(a, 6)
    assert a.diverged() == "the loss of player generator is not finite at step 1"
    a = broken(3, 3)
    play(a, 6)
    assert a.diverged() == "the loss of player critic is not finite at step 3"


def test_any_turn_counts_not_only_the_last() -> None:
    turns: list[int] = []

    def loss(nets: Nets, batch: Batch) -> Terms:
        turns.append(1)
        return {"loss": nets.D.w * (math.nan if len(turns) == 1 else 1.0)}

    a = game({"critic": player("D", loss=loss, turns=3, optimizer=lambda p: torch.optim.SGD(p, lr=0.0))})
    play(a, 1)
    assert a.diverged() == "the loss of player critic is not finite at step 0"


def test_what_is_only_logged_does_not_count() -> None:
    def loss(nets: Nets, batch: Batch) -> Terms:
        return {"loss": nets.D.w.square(), "_ratio": torch.tensor(math.nan)}

    a = game({"critic": player("D", loss=loss)})
    play(a, 2)
    assert a.diverged() is None
