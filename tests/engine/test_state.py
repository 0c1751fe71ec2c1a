"""Saved state: optimizers of every kind, batch statistics, and strides after loading."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from sketch import components
from sketch.toy import Weight, player, toy
from sketch.training import difference, snapshot, train, trainer
from torch import nn

from aigc_zoo.engine import state
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Batch, MakeOptimizer, Nets, Recipe, Spec, Terms, adam, clipped, rmsprop

# --- nested state as flat tensors and JSON ----------------------------------------------------------------------------


def test_flatten_and_restore_are_inverse() -> None:
    nested = {"a": torch.ones(2), "b": [1, None, {"c": torch.zeros(())}], "d": {"e": True, "f": "x", "g": 0.5}}
    tensors, rest = state.flatten(nested, "o")
    assert set(tensors) == {"o/a", "o/b/2/c"}
    restored = state.restore(json.loads(json.dumps(rest)), tensors)
    assert torch.equal(restored["a"], nested["a"])
    assert restored["b"][:2] == [1, None]
    assert torch.equal(restored["b"][2]["c"], torch.zeros(()))
    assert restored["d"] == nested["d"]
    restored["a"].add_(1)
    assert torch.equal(nested["a"], torch.ones(2))


def test_under_selects_names_by_prefix() -> None:
    tensors = {"nets/G.w": torch.ones(1), "nets/D.w": torch.ones(2), "ema/G.w": torch.ones(3)}
    assert {name: len(value) for name, value in state.under("nets/", tensors).items()} == {"G.w": 1, "D.w": 2}


# --- resume with features that the families of the sketch lack --------------------------------------------------------


class Noisy(nn.Sequential):
    """A network with batch normalization, spectral normalization and dropout."""

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(4, 8),
            nn.BatchNorm1d(8),
            nn.Dropout(0.5),
            nn.utils.parametrizations.spectral_norm(nn.Linear(8, 4)),
        )


def noisy(optimizer: MakeOptimizer) -> Trainer:
    def discriminator(nets: Nets, batch: Batch) -> Terms:
        return {"loss": F.softplus(nets.D(batch["fake"])).mean() + F.softplus(-nets.D(batch["real"])).mean()}

    def generator(nets: Nets, batch: Batch) -> Terms:
        return {"loss": F.softplus(-nets.D(batch["fake"])).mean()}

    recipe = Recipe(
        networks=lambda spec: {"G": Noisy(), "D": Noisy()},
        players={
            "discriminator": player("D", loss=discriminator, optimizer=optimizer, turns=2),
            "generator": player("G", loss=generator, optimizer=optimizer),
        },
        draw=lambda batch: {"z": torch.randn(len(batch["real"]), 4)},
        generate=lambda nets, batch: {"fake": nets.G(batch["z"])},
        ema={"G": 0.9},
        steps=100,
    )
    return trainer(
        recipe, Spec(shape=(4,), modality="points"), lambda n: {"real": components.images(n)["real"][:, 0, 0, :4]}
    )


OPTIMIZERS: dict[str, MakeOptimizer] = {
    "adam": adam(1e-3, 0.5),
    "adamw": adam(1e-3, 0.5, weight_decay=0.1),
    "rmsprop": rmsprop(1e-3),
    "clipped": clipped(rmsprop(1e-3), 0.1),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=1e-3, momentum=0.9),
    "groups": lambda parameters: torch.optim.Adam(
        [{"params": parameters[:1], "lr": 1e-2}, {"params": parameters[1:], "betas": (0.5, 0.9)}]
    ),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_resume_is_exact(kind: str) -> None:
    uninterrupted = noisy(OPTIMIZERS[kind])
    train(uninterrupted, 5)
    resumed = noisy(OPTIMIZERS[kind])
    resumed.load(*snapshot(uninterrupted))
    assert difference(snapshot(uninterrupted)[0], snapshot(resumed)[0]) == 0.0
    ours, theirs = train(uninterrupted, 3), train(resumed, 3)
    assert difference(snapshot(uninterrupted)[0], snapshot(resumed)[0]) == 0.0
    assert snapshot(uninterrupted)[1] == snapshot(resumed)[1]
    assert all(difference(one, other) == 0.0 for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("prefix", ["nets/G.1.running_mean", "nets/D.3.parametrizations.weight.0._v", "ema/G.1"])
def test_resume_without_a_buffer_differs(prefix: str) -> None:
    uninterrupted = noisy(OPTIMIZERS["adam"])
    train(uninterrupted, 5)
    tensors, scalars = snapshot(uninterrupted)
    fresh = snapshot(noisy(OPTIMIZERS["adam"]))[0]
    changed = {name: fresh[name] for name in tensors if name.startswith(prefix)}
    assert changed
    resumed = noisy(OPTIMIZERS["adam"])
    resumed.load(tensors | changed, scalars)
    train(uninterrupted, 3)
    train(resumed, 3)
    assert difference(snapshot(uninterrupted)[0], snapshot(resumed)[0]) > 0


def test_ema_averages_statistics_and_copies_counters() -> None:
    a = noisy(OPTIMIZERS["adam"])
    train(a, 4)
    ours, theirs = a.ema.G[1], a.nets.G[1]
    assert int(ours.num_batches_tracked) == int(theirs.num_batches_tracked) > 0
    assert 0 < float((ours.running_mean - theirs.running_mean).abs().max()) < float(theirs.running_mean.abs().max())


# --- strides ----------------------------------------------------------------------------------------------------------


class Strided(nn.Module):
    """A parameter with a transposed gradient, and one that is channels last if `channels_last`."""

    def __init__(self, *, channels_last: bool) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.arange(6.0).view(2, 3))
        kernel = torch.arange(24.0).view(2, 3, 2, 2)
        self.kernel = nn.Parameter(kernel.to(memory_format=torch.channels_last) if channels_last else kernel)


def strided(channels_last: bool, optimizer: MakeOptimizer) -> Trainer:
    def loss(nets: Nets, batch: Batch) -> Terms:
        pattern = torch.arange(-3.0, 3.0, dtype=torch.float64).view(3, 2)
        scales = torch.arange(-12.0, 12.0, dtype=torch.float64).view(2, 3, 2, 2)
        return {"loss": (nets.D.w.t() * pattern).square().sum() + (nets.D.kernel * scales).square().sum()}

    discriminator = player("D", loss=loss, optimizer=optimizer)
    return toy(
        {"discriminator": discriminator},
        networks=lambda spec: {"G": Weight(), "H": Weight(), "D": Strided(channels_last=channels_last)},
    )


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_fused_optimizer_updates_the_right_elements_for_any_strides(channels_last: bool) -> None:
    fused = strided(channels_last, adam(0.1))
    unfused = strided(False, lambda parameters: torch.optim.Adam(parameters, lr=0.1, foreach=False))
    for _ in range(3):
        train(fused, 1)
        train(unfused, 1)
        for one, other in zip(fused.nets.D.parameters(), unfused.nets.D.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    if channels_last:
        assert fused.nets.D.kernel.is_contiguous(memory_format=torch.channels_last)
    resumed = strided(channels_last, adam(0.1))
    tensors, scalars = snapshot(fused)  # a file stores no strides
    resumed.load({name: tensor.contiguous() for name, tensor in tensors.items()}, scalars)
    train(fused, 2)
    train(resumed, 2)
    assert difference(snapshot(fused)[0], snapshot(resumed)[0]) == 0.0
