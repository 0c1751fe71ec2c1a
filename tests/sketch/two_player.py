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


def slope(of: str) -> Callable[[], Any]:
    def term(discriminator: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        x = batch[of]
        (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
        assert gradient.dtype == x.dtype
        return gradient.flatten(1).square().sum(1).mean()

    return lambda: term


LAZY = (Penalty(slope("real"), weight=0.5, every=2, name="r1"), Penalty(slope("fake"), weight=0.25, name="r2"))


def two_player_trainer(**settings: Any) -> Trainer:
    """Everything at once: several discriminator turns, lazy penalties, a falling rate, an average."""
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


def guarded_on_device(a: Trainer) -> None:
    """With the guard that reads nothing, as on CUDA."""
    a.guard = DeviceGuard(tuple(a.recipe.players), a.nets, CPU)
    for optimizer in a._optimizers.values():
        a.guard.attach(optimizer)


def taped(a: Trainer, wanted: str = "graph") -> Tapes:
    """Lets a trainer play from tapes."""

    def state() -> list[Tensor]:
        found = [*a.nets.parameters(), *a.nets.buffers(), *a.ema.parameters(), *a.ema.buffers(), a.guard.first]
        for optimizer in a._optimizers.values():
            found += [t for entry in optimizer.state.values() for t in entry.values() if isinstance(t, Tensor)]
            found += [group["lr"] for group in optimizer.param_groups if isinstance(group["lr"], Tensor)]
        return found

    tapes = Tapes(state)
    guarded_on_device(a)
    for optimizer in a._optimizers.values():
        for group in optimizer.param_groups:
            if isinstance(optimizer, torch.optim.Adam):
                group["capturable"] = True  # which `tune` does on CUDA
    a.engine = fast.Engine(
        fast.Choice(wanted, "asked for"), CPU, a._optimizers.values(), (a.nets, a.ema), recorder=tapes
    )
    return tapes


def in_bf16(a: Trainer) -> Trainer:
    a._autocast = fast.Autocast(CPU, a.nets.values())
    return a


def same(ours: Trainer, theirs: Trainer, steps: int) -> None:
    for _ in range(steps):
        one, other = ours.train_step(), theirs.train_step()
        assert one.keys() == other.keys()
        for name in one:
            assert torch.equal(one[name], other[name]), name
    assert difference(snapshot(ours)[0], snapshot(theirs)[0]) == 0.0
