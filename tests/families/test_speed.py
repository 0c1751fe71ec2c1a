"""Every first-party recipe trains in bf16, with gradient accumulation, without synchronization and as graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from sketch.training import difference, snapshot, train
from sketch.two_player import assert_same_steps, taped
from tiny import RECIPES, small
from torch import Tensor

from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Spec

from .golden import samples

BATCH = 8
SPECTRAL = ("sngan",)
"""Recipes with a power iteration per forward pass, and therefore one per micro-batch."""


def begin(name: str, dtype: torch.dtype = torch.float32, apart: bool = False, **settings: Any) -> Trainer:
    real = samples().to(dtype)

    def source(number: int) -> Mapping[str, Tensor]:
        return {"real": real[(torch.arange(BATCH) + 3 * number) % len(real)]}

    recipe = small(name, apart=apart, lr=1e-4)
    return Trainer(recipe, Spec(shape=(1, 28, 28)), source, batch_size=BATCH, steps=40, dtype=dtype, **settings)


@pytest.mark.parametrize("name", RECIPES)
def test_bf16_follows_float32(name: str) -> None:
    ours, theirs = train(begin(name, precision="bf16"), 3), train(begin(name), 3)
    changed = 0
    for one, other in zip(ours, theirs, strict=True):
        for term, value in one.items():
            assert value.dtype == torch.float32
            torch.testing.assert_close(value, other[term], rtol=0.1, atol=0.1)
            changed += not torch.equal(value, other[term])
    assert changed


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in SPECTRAL])
def test_micro_batches_equal_the_whole_batch(name: str) -> None:
    whole, accumulated = begin(name, torch.float64, True), begin(name, torch.float64, True, accumulate=4)
    # One step: RMSprop and Adam turn a gradient of 1e-17 that should be 0 into a step of 1e-3.
    one, other = whole.train_step(), accumulated.train_step()
    for term in one:
        torch.testing.assert_close(one[term], other[term], rtol=0, atol=1e-12)
    for player, optimizer in whole.optimizers.items():
        for ours, theirs in zip(
            (w for g in optimizer.param_groups for w in g["params"]),
            (w for g in accumulated.optimizers[player].param_groups for w in g["params"]),
            strict=True,
        ):
            assert (ours.grad is None) == (theirs.grad is None)
            if ours.grad is not None:
                torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", RECIPES)
def test_recorded_steps_equal_eager_bit_for_bit(name: str) -> None:
    ours, theirs = begin(name), begin(name)
    tapes = taped(ours, "auto")
    assert_same_steps(ours, theirs, 6)
    if name == "wgan":  # RMSprop counts on the device on CUDA only
        assert ours.engine.choice.why == "this recipe cannot be recorded: RMSprop keeps state on the host"
    else:
        assert ours.engine.choice.name == "graph", ours.engine.choice.why
        assert tapes.tapes >= 1


@pytest.mark.parametrize("name", ["sngan", "rpgan-r1r2"])
def test_resume_in_bf16_is_exact(name: str) -> None:
    uninterrupted = begin(name, precision="bf16")
    train(uninterrupted, 2)
    resumed = begin(name, precision="bf16")
    resumed.load(*snapshot(uninterrupted))
    train(uninterrupted, 2)
    train(resumed, 2)
    assert difference(snapshot(uninterrupted)[0], snapshot(resumed)[0]) == 0.0
