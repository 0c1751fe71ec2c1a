"""Trainers over the sketch's families, and what tests compare of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from sketch.components import SIZE, Family
from torch import Tensor

from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Recipe, Spec

Saved = tuple[dict[str, Tensor], dict[str, Any]]


def trainer(
    recipe: Recipe,
    spec: Spec,
    source: Callable[[int], Mapping[str, Tensor]],
    *,
    seed: int = 0,
    steps: int = 100,
    dtype: torch.dtype = torch.float32,
    ranks: Ranks | None = None,
) -> Trainer:
    """A trainer on a source of whole batches, of which each rank takes its rows."""
    share = (ranks or Ranks()).shard(SIZE)

    def ours(n: int) -> dict[str, Tensor]:
        return {key: value[share] for key, value in source(n).items()}

    return Trainer(recipe, spec, ours, batch_size=SIZE, steps=steps, seed=seed, dtype=dtype, ranks=ranks)


def start(family: Family, **settings: Any) -> Trainer:
    return trainer(family.recipe, family.spec, family.source, **settings)


def train(a: Trainer, steps: int) -> list[dict[str, Tensor]]:
    return [a.train_step() for _ in range(steps)]


def snapshot(a: Trainer) -> Saved:
    """All that is saved, in copies, the scalars by way of JSON as in a file."""
    tensors, scalars = a.state()
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}, json.loads(json.dumps(scalars))


def difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """The largest difference of any two numbers of the same name; the names are the same."""
    assert a.keys() == b.keys()
    assert all(a[name].dtype == b[name].dtype and a[name].shape == b[name].shape for name in a)
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a if a[name].numel())
