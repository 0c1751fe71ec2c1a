"""Trainers of the sketch's families, and the state that tests compare."""

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
    """A trainer on a source of whole batches, of which each rank takes its shard."""
    shard = (ranks or Ranks()).shard(SIZE)

    def sharded(n: int) -> dict[str, Tensor]:
        return {key: value[shard] for key, value in source(n).items()}

    return Trainer(recipe, spec, sharded, batch_size=SIZE, steps=steps, seed=seed, dtype=dtype, ranks=ranks)


def start(family: Family, **settings: Any) -> Trainer:
    """A trainer of a family at step 0."""
    return trainer(family.recipe, family.spec, family.source, **settings)


def train(a: Trainer, steps: int) -> list[dict[str, Tensor]]:
    """Run some steps and return the terms of each."""
    return [a.train_step() for _ in range(steps)]


def snapshot(a: Trainer) -> Saved:
    """A copy of the trainer's state, with the scalars converted to JSON and back as in a file."""
    tensors, scalars = a.state()
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}, json.loads(json.dumps(scalars))


def difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """The largest absolute difference between two states with the same names, dtypes and shapes."""
    assert a.keys() == b.keys()
    assert all(a[name].dtype == b[name].dtype and a[name].shape == b[name].shape for name in a)
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a if a[name].numel())
