"""A two-player trainer that uses every feature of a step at once, and stand-ins for what a CUDA device would do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from sketch.conv import conv_trainer, logistic
from sketch.tape import Tapes
from sketch.training import difference, snapshot
from torch import Tensor

from aigc_zoo.engine import fast
from aigc_zoo.engine.guard import DeviceGuard
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Batch, Penalty, adam, linear

CPU = torch.device("cpu")


def gradient_penalty(key: str) -> Callable[[], Any]:
    """The mean squared gradient norm of the discriminator at the batch's entry `key`."""

    def term(discriminator: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        x = batch[key]
        (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
        assert gradient.dtype == x.dtype
        return gradient.flatten(1).square().sum(1).mean()

    return lambda: term


LAZY = (
    Penalty(gradient_penalty("real"), weight=0.5, every=2, name="r1"),
    Penalty(gradient_penalty("fake"), weight=0.25, name="r2"),
)


def two_player_trainer(**settings: Any) -> Trainer:
    """A trainer with several discriminator turns, lazy penalties, a decaying learning rate and an EMA."""
    return conv_trainer(
        False,
        logistic,
        dtype=torch.float32,
        **{
            "optimizer": adam(1e-3, 0.5),
            "discriminator_turns": 2,
            "penalties": LAZY,
            "lr": linear(1e-3, 0.0),
            "ema": {"G": 0.9},
            **settings,
        },
    )


def use_device_guard(a: Trainer) -> None:
    """Replace the guard by the one for CUDA, which reads nothing on the host."""
    a.guard = DeviceGuard(tuple(a.recipe.players), a.nets, CPU)
    for optimizer in a.optimizers.values():
        a.guard.attach(optimizer)


def taped(a: Trainer, engine: str = "graph") -> Tapes:
    """Make a trainer record and replay its steps with tapes."""

    def state() -> list[Tensor]:
        found = [*a.nets.parameters(), *a.nets.buffers(), *a.ema.parameters(), *a.ema.buffers(), a.guard.first]
        for optimizer in a.optimizers.values():
            found += [t for entry in optimizer.state.values() for t in entry.values() if isinstance(t, Tensor)]
            found += [group["lr"] for group in optimizer.param_groups if isinstance(group["lr"], Tensor)]
        return found

    tapes = Tapes(state)
    use_device_guard(a)
    for optimizer in a.optimizers.values():
        for group in optimizer.param_groups:
            if isinstance(optimizer, torch.optim.Adam):
                group["capturable"] = True  # which `tune` does on CUDA
    a.engine = fast.Engine(
        fast.Choice(engine, "asked for"), CPU, a.optimizers.values(), (a.nets, a.ema), recorder=tapes
    )
    return tapes


def in_bf16(a: Trainer) -> Trainer:
    """Switch a trainer to bf16 autocast."""
    a._autocast = fast.Autocast(CPU, a.nets.values())
    return a


def assert_same_steps(ours: Trainer, theirs: Trainer, steps: int) -> None:
    """Run both trainers and assert bit-equal terms and final states."""
    for _ in range(steps):
        one, other = ours.train_step(), theirs.train_step()
        assert one.keys() == other.keys()
        for name in one:
            assert torch.equal(one[name], other[name]), name
    assert difference(snapshot(ours)[0], snapshot(theirs)[0]) == 0.0
