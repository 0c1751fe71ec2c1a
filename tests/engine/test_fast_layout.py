"""The channels-last memory format."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sketch.conv import Discriminator, conv_trainer, logistic
from sketch.training import difference, snapshot, train
from sketch.two_player import two_player_trainer
from torch import Tensor

from aigc_zoo.engine import fast
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Batch, Penalty, adam


@pytest.mark.parametrize(("rank", "layout"), [(4, torch.channels_last), (5, torch.channels_last_3d)])
def test_tensors_of_four_or_five_dimensions_become_channels_last(rank: int, layout: torch.memory_format) -> None:
    assert fast.to_channels_last(torch.zeros(2, 3, *[4] * (rank - 2))).is_contiguous(memory_format=layout)


@pytest.mark.parametrize("rank", [0, 1, 2, 3, 6])
def test_tensors_of_other_dimensions_are_unchanged(rank: int) -> None:
    value = torch.zeros([2] * rank)
    assert fast.to_channels_last(value) is value


def test_weights_batches_gradients_and_moments_are_channels_last() -> None:
    a = two_player_trainer()
    train(a, 2)
    kernel = a.nets.D[0].weight
    values = [kernel, a.ema.G[4].weight, a.batch(0)["real"], kernel.grad]
    values += [v for v in a.optimizers["discriminator"].state[kernel].values() if v.ndim == 4]
    assert len(values) == 6
    for value in values:
        assert value is not None
        assert value.is_contiguous(memory_format=torch.channels_last)
        assert not value.is_contiguous()


def test_channels_last_changes_only_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    channels_last = two_player_trainer()
    monkeypatch.setattr(fast, "to_channels_last", lambda value: value)
    contiguous = two_player_trainer()
    contiguous._convert = lambda value: value
    fast.convert_memory_format(contiguous.nets, lambda value: value.contiguous())
    for ours, theirs in zip(train(channels_last, 3), train(contiguous, 3), strict=True):
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5)


class Viewing(Discriminator):
    """A discriminator with `view` instead of `flatten`, as in many tutorials."""

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        for layer in list(self)[:3]:
            x = layer(x)
        return self[4](x.view(len(x), -1))


def penalty_with_view(discriminator: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
    (gradient,) = torch.autograd.grad(discriminator(batch["real"]).sum(), batch["real"], create_graph=True)
    return gradient.view(len(gradient), -1).square().sum(1).mean()


@pytest.mark.parametrize("where", ["network", "lazy penalty"])
def test_view_selects_contiguous_tensors_before_the_first_step(where: str) -> None:
    def begin() -> Trainer:
        penalties = (Penalty(lambda: penalty_with_view, every=4, name="viewing"),) if where == "lazy penalty" else ()
        a = two_player_trainer(penalties=penalties)
        if where == "network":
            a.nets.D.__class__ = Viewing
        return a

    a = begin()
    assert a.nets.D[0].weight.is_contiguous(memory_format=torch.channels_last)
    a.train_step()
    assert len(a.notes) == 1
    assert "view" in a.notes[0]
    assert a.nets.D[0].weight.is_contiguous()
    assert a.batch(0)["real"].is_contiguous()
    train(a, 2)
    b = begin()  # from a checkpoint
    b.load(*snapshot(a))
    train(a, 3)
    train(b, 3)
    assert difference(snapshot(a)[0], snapshot(b)[0]) == 0.0


def test_checking_the_memory_format_changes_no_result() -> None:
    a, b = (conv_trainer(True, logistic, dtype=torch.float32, optimizer=adam(1e-3)) for _ in range(2))
    b.format_is_checked = True
    train(a, 2)
    train(b, 2)
    assert a.notes == []
    assert difference(snapshot(a)[0], snapshot(b)[0]) == 0.0
