"""Recipes with scalar networks, so small that every value can be computed by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from sketch.components import SIZE
from sketch.training import trainer
from torch import Tensor, nn

from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Batch, MakeOptimizer, Nets, Player, Recipe, Spec


class Weight(nn.Module):
    """A network with one scalar parameter `w` and one scalar buffer `level`."""

    def __init__(self, value: float = 1.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(value))
        self.register_buffer("level", torch.tensor(0.0))


def sgd(lr: float) -> MakeOptimizer:
    return lambda parameters: torch.optim.SGD(parameters, lr=lr)


def player(*controls: str, loss: Any, **settings: Any) -> Player:
    """A player with SGD at learning rate 0.1 by default."""
    return Player(controls=controls, loss=loss, **{"optimizer": sgd(0.1), **settings})


def linear_loss(name: str, *, by: float = 1.0) -> Callable[[Nets, Batch], Mapping[str, Tensor]]:
    """A loss whose gradient with respect to the network's parameter is `by`, whatever its value."""
    return lambda nets, batch: {"loss": by * nets[name].w}


def numbered(n: int) -> dict[str, Tensor]:
    """A source whose batches contain their own number."""
    return {"real": torch.full((SIZE, 1), float(n))}


def weight_of(a: Trainer, name: str) -> float:
    """The value of a network's parameter."""
    return a.nets[name].w.item()


def batch_number(batch: Batch) -> int:
    """The number of a batch from `numbered`."""
    return int(batch["real"][0, 0])


def toy(players: Mapping[str, Player], *, ranks: Ranks | None = None, **settings: Any) -> Trainer:
    """A trainer of players over three scalar networks: G and H are generators, D is not."""
    defaults: dict[str, Any] = {
        "networks": lambda spec: {"G": Weight(2.0), "H": Weight(0.5), "D": Weight(1.0)},
        "generate": lambda nets, batch: {"fake": nets.G.w * batch["z"] + nets.H.w},
        "draw": lambda batch: {"z": torch.randn(len(batch["real"]), 1)},
        "generators": ("G", "H"),
        "steps": 100,
    }
    recipe = Recipe(players=players, **(defaults | settings))
    return trainer(recipe, Spec(shape=(1,), modality="points"), numbered, dtype=torch.float64, ranks=ranks, steps=10)
