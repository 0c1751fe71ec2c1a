"""Non-finite losses, gradients and buffers skip the update, with the guard for CPUs and the one for GPUs."""

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
GUARDS = [HostGuard, DeviceGuard]
LossAt = Callable[[Nets, Batch, Tensor], Terms]


class Steep(torch.autograd.Function):
    """The constant one, with an infinite gradient."""

    @staticmethod
    def forward(ctx: object, weight: Tensor) -> Tensor:
        return torch.ones_like(weight)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        return gradients[0] * math.inf


def bad_loss(nets: Nets, batch: Batch, is_bad: Tensor) -> Terms:
    return {"loss": torch.where(is_bad, math.nan, nets.D.w)}


def bad_gradient(nets: Nets, batch: Batch, is_bad: Tensor) -> Terms:
    return {"loss": Steep.apply(nets.D.w) if bool(is_bad) else nets.D.w * 1.0}


def bad_buffer(nets: Nets, batch: Batch, is_bad: Tensor) -> Terms:
    nets.D.level.copy_(torch.where(is_bad, -math.inf, 1.0))
    return {"loss": nets.D.w * 1.0}


CAUSES = {
    "the loss of player discriminator is not finite at step 2": bad_loss,
    "the gradient of D.w, in a turn of player discriminator, is not finite at step 2": bad_gradient,
    "the buffer D.level is not finite at step 2": bad_buffer,
}


def guarded(guard_class: type[Guard], loss_at: LossAt) -> Trainer:
    optimizer = adam(0.1)

    def loss(nets: Nets, batch: Batch) -> Terms:
        return loss_at(nets, batch, (batch["t"] * 10).round() == 2)  # the toy run has ten steps

    a = toy(
        {
            "generator": player("G", "H", loss=linear_loss("G"), optimizer=optimizer),
            "discriminator": player("D", loss=loss, optimizer=optimizer),
        },
        ema={"D": 0.5},
    )
    a.guard = guard_class(tuple(a.recipe.players), a.nets, CPU)
    for one in a.optimizers.values():
        a.guard.attach(one)
    return a


@pytest.mark.parametrize("guard_class", GUARDS)
@pytest.mark.parametrize("message", CAUSES)
def test_no_weight_changes_after_the_first_non_finite_value(guard_class: type[Guard], message: str) -> None:
    a = guarded(guard_class, CAUSES[message])
    train(a, 2)
    assert a.diverged() is None
    discriminator = {
        key: value for key, value in snapshot(a)[0].items() if key.startswith(("nets/D.w", "optimizer/discriminator"))
    }
    a.train_step()
    assert a.diverged() == message
    after = snapshot(a)[0]
    assert all(torch.equal(after[key], value) for key, value in discriminator.items()), (
        "the bad turn itself changed nothing"
    )
    train(a, 3)  # all values would be finite again
    later = snapshot(a)[0]
    weights = [key for key in later if key.startswith(("nets/G", "nets/D.w", "nets/H", "optimizer/"))]
    assert len(weights) > 8
    assert all(torch.equal(later[key], after[key]) for key in weights), "nor did any later turn"
    assert all(later[key].isfinite().all() for key in later if key.startswith("ema/"))
    assert a.diverged() == message


@pytest.mark.parametrize("guard_class", GUARDS)
def test_a_non_finite_entry_of_the_batch_is_named(guard_class: type[Guard]) -> None:
    a = guarded(guard_class, lambda nets, batch, is_bad: {"loss": (nets.D.w * batch["real"]).mean()})
    source = a.source

    def broken(n: int) -> dict[str, Tensor]:
        found = dict(source(n))
        if n == 1:
            found["real"][0] = math.nan
        return found

    a.source = broken
    train(a, 3)
    assert a.diverged() == "the batch's entry 'real' is not finite at step 1"


@pytest.mark.parametrize("guard_class", GUARDS)
def test_large_numbers_are_finite(guard_class: type[Guard]) -> None:
    """Their sum is not finite."""
    a = guarded(guard_class, lambda nets, batch, is_bad: {"loss": nets.D.w * 1.0})
    for net in a.nets.values():
        net.level.fill_(3e38)
    train(a, 3)
    assert a.diverged() is None
    assert a.nets.D.w.item() == pytest.approx(1 - 3 * 0.1), "the optimizer stepped"


@pytest.mark.parametrize("guard_class", GUARDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_non_finite_element_is_found(guard_class: type[Guard], value: float) -> None:
    """In the gradient of a channels-last convolution kernel."""
    guard = guard_class(("player",), nn.Conv2d(64, 64, 3), CPU)
    weight = nn.Parameter(torch.randn(64, 64, 3, 3).to(memory_format=torch.channels_last))
    weight.grad = torch.randn_like(weight)
    before = weight.grad.clone()
    guard._parameter_names[id(weight)] = "D.weight"
    for bad in (False, True):
        if bad:
            weight.grad[63, 7, 2, 2] = value
        guard.begin_turn(0, torch.tensor(5), [weight], [], True)
        found = guard.check(torch.tensor(1.0))
        assert guard.allows_step(found) is not (bad and guard_class is HostGuard)
        assert int(guard.first) >= 0 if bad else torch.equal(weight.grad, before)
    assert (
        guard.describe(int(guard.first))
        == "the gradient of D.weight, in a turn of player player, is not finite at step 5"
    )


def test_large_gradients_are_checked_by_hooks() -> None:
    net = nn.Linear(512, 512, bias=False)
    guard, x = HostGuard(("player",), Nets({"D": net}), CPU), torch.ones(4, 512)
    non_finite = x.clone()
    non_finite[1, 7] = -math.inf

    def turn(*micro_batches: Tensor) -> bool:
        guard.begin_turn(0, torch.tensor(5), [net.weight], [], True)
        net.zero_grad()
        for batch in micro_batches:
            net(batch).sum().backward()
        return guard.allows_step(guard.check(torch.tensor(1.0)))

    net(non_finite).sum().backward()  # outside of a turn
    assert turn(x)
    assert turn(x, x)
    assert net.weight.grad.unique().tolist() == [8], "the gradient is unchanged"
    assert not turn(x, non_finite, x), "one micro-batch of several"
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
    found = guard.check(torch.tensor(1.0))
    net.weight.grad[3, 4] = math.nan  # as if it came from the other rank
    assert not guard.allows_step(found)


@pytest.mark.parametrize("guard_class", GUARDS)
def test_a_guard_changes_no_result_of_a_finite_run(guard_class: type[Guard]) -> None:
    a, b = (guarded(one, lambda nets, batch, is_bad: {"loss": nets.D.w * 1.0}) for one in (guard_class, HostGuard))
    train(a, 4)
    train(b, 4)
    ours, theirs = snapshot(a)[0], snapshot(b)[0]
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_the_guard_depends_on_the_device() -> None:
    assert guard_for(CPU) is HostGuard
    assert guard_for(torch.device("cuda")) is DeviceGuard
