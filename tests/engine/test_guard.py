"""What is not finite moves nothing, whether the guard reads what it looks at or leaves it on the device."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable

import pytest
import torch
from sketch.toy import linear_loss, player, toy
from sketch.training import snapshot, train
from torch import Tensor, nn

from aigc_zoo.engine.guard import DeviceGuard, Guard, HostGuard, guard_for
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Batch, Nets, Terms, adam

CPU = torch.device("cpu")
KINDS = [HostGuard, DeviceGuard]
Change = Callable[[Nets, Batch, Tensor], Terms]


class Steep(torch.autograd.Function):
    """One, whose slope is infinite."""

    @staticmethod
    def forward(ctx: object, weight: Tensor) -> Tensor:
        return torch.ones_like(weight)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        return gradients[0] * math.inf


def a_loss(nets: Nets, batch: Batch, here: Tensor) -> Terms:
    return {"loss": torch.where(here, math.nan, nets.D.w)}


def a_gradient(nets: Nets, batch: Batch, here: Tensor) -> Terms:
    return {"loss": Steep.apply(nets.D.w) if bool(here) else nets.D.w * 1.0}


def a_buffer(nets: Nets, batch: Batch, here: Tensor) -> Terms:
    nets.D.level.copy_(torch.where(here, -math.inf, 1.0))
    return {"loss": nets.D.w * 1.0}


PLACES = {
    "the loss of player discriminator is not finite at step 2": a_loss,
    "the gradient of D.w, in a turn of player discriminator, is not finite at step 2": a_gradient,
    "the buffer D.level is not finite at step 2": a_buffer,
}


def guarded(kind: type[Guard], change: Change) -> Trainer:
    optimizer = adam(0.1)

    def loss(nets: Nets, batch: Batch) -> Terms:
        return change(nets, batch, (batch["t"] * 10).round() == 2)  # the toy's run is ten steps long

    a = toy(
        {
            "generator": player("G", "H", loss=linear_loss("G"), optimizer=optimizer),
            "discriminator": player("D", loss=loss, optimizer=optimizer),
        },
        ema={"D": 0.5},
    )
    a.guard = kind(tuple(a.recipe.players), a.nets, CPU)
    for one in a._optimizers.values():
        a.guard.attach(one)
    return a


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("said", PLACES)
def test_no_weight_changes_after_the_first_non_finite_value(kind: type[Guard], said: str) -> None:
    a = guarded(kind, PLACES[said])
    train(a, 2)
    assert a.diverged() is None
    discriminator = {
        key: value for key, value in snapshot(a)[0].items() if key.startswith(("nets/D.w", "optimizer/discriminator"))
    }
    a.train_step()
    assert a.diverged() == said
    after = snapshot(a)[0]
    assert all(torch.equal(after[key], value) for key, value in discriminator.items()), (
        "the bad turn itself moved nothing"
    )
    train(a, 3)  # in which all would be finite again
    later = snapshot(a)[0]
    weights = [key for key in later if key.startswith(("nets/G", "nets/D.w", "nets/H", "optimizer/"))]
    assert len(weights) > 8
    assert all(torch.equal(later[key], after[key]) for key in weights), "nor did any turn after it"
    assert all(later[key].isfinite().all() for key in later if key.startswith("ema/"))
    assert a.diverged() == said


@pytest.mark.parametrize("kind", KINDS)
def test_a_non_finite_entry_of_the_batch_is_named(kind: type[Guard]) -> None:
    a = guarded(kind, lambda nets, batch, here: {"loss": (nets.D.w * batch["real"]).mean()})
    source = a.source

    def broken(n: int) -> dict[str, Tensor]:
        found = dict(source(n))
        if n == 1:
            found["real"][0] = math.nan
        return found

    a.source = broken
    train(a, 3)
    assert a.diverged() == "the batch's entry 'real' is not finite at step 1"


@pytest.mark.parametrize("kind", KINDS)
def test_large_numbers_are_finite(kind: type[Guard]) -> None:
    """Though their sum is not."""
    a = guarded(kind, lambda nets, batch, here: {"loss": nets.D.w * 1.0})
    for net in a.nets.values():
        net.level.fill_(3e38)
    train(a, 3)
    assert a.diverged() is None
    assert a.nets.D.w.item() == pytest.approx(1 - 3 * 0.1), "and the steps were taken"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_non_finite_element_is_found(kind: type[Guard], value: float) -> None:
    """In a weight of a kernel's shape laid out with channels last, where gradients are looked at together."""
    guard = kind(("player",), nn.Conv2d(64, 64, 3), CPU)
    weight = nn.Parameter(torch.randn(64, 64, 3, 3).to(memory_format=torch.channels_last))
    weight.grad = torch.randn_like(weight)
    before = weight.grad.clone()
    guard._parameter_names[id(weight)] = "D.weight"
    for bad in (False, True):
        if bad:
            weight.grad[63, 7, 2, 2] = value
        guard.begin_turn(0, torch.tensor(5), [weight], [], True)
        wrong = guard.check(torch.tensor(1.0))
        assert guard.allows_step(wrong) is not (bad and kind is HostGuard)
        assert int(guard.first) >= 0 if bad else torch.equal(weight.grad, before)
    assert (
        guard.describe(int(guard.first))
        == "the gradient of D.weight, in a turn of player player, is not finite at step 5"
    )


def test_large_gradients_are_checked_by_hooks() -> None:
    net = nn.Linear(512, 512, bias=False)
    guard, x = HostGuard(("player",), Nets({"D": net}), CPU), torch.ones(4, 512)
    spoilt = x.clone()
    spoilt[1, 7] = -math.inf

    def turn(given: Tensor, *parts: Tensor) -> bool:
        guard.begin_turn(0, torch.tensor(5), [net.weight], [], True)
        net.zero_grad()
        for one in (given, *parts):
            net(one).sum().backward()
        return guard.allows_step(guard.check(torch.tensor(1.0)))

    net(spoilt).sum().backward()  # in nobody's turn
    assert turn(x)
    assert turn(x, x)
    assert net.weight.grad.unique().tolist() == [8], "and it is left as it was"
    assert not turn(x, spoilt, x), "a part of a batch among others"
    assert guard.describe(int(guard.first)) == (
        "the gradient of D.weight, in a turn of player player, is not finite at step 5"
    )


def test_a_guard_does_not_keep_networks_alive() -> None:
    net = nn.Linear(512, 512)
    guard, weight = HostGuard(("player",), Nets({"D": net}), CPU), weakref.ref(net.weight)
    del net, guard
    assert weight() is None


def test_averaged_gradients_are_checked() -> None:
    net = nn.Linear(512, 512, bias=False)
    guard = HostGuard(("player",), Nets({"D": net}), CPU, world=2)
    guard.begin_turn(0, torch.tensor(5), [net.weight], [], True)
    net(torch.ones(4, 512)).sum().backward()
    wrong = guard.check(torch.tensor(1.0))
    net.weight.grad[3, 4] = math.nan  # as if the other rank's had been so
    assert not guard.allows_step(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_a_guard_changes_no_result_of_a_finite_run(kind: type[Guard]) -> None:
    a, b = (guarded(one, lambda nets, batch, here: {"loss": nets.D.w * 1.0}) for one in (kind, HostGuard))
    train(a, 4)
    train(b, 4)
    ours, theirs = snapshot(a)[0], snapshot(b)[0]
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_the_guard_depends_on_the_device() -> None:
    assert guard_for(CPU) is HostGuard
    assert guard_for(torch.device("cuda")) is DeviceGuard
