"""A plugin that passes every conformance check. The tests make faulty copies of it."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from aigc_zoo.data.samples import point_samples
from aigc_zoo.game import Adversarial, Nets, Noisy, Player, Recipe, Samples, Spec, adam
from aigc_zoo.spec import Component, Range, Slot, hookimpl
from aigc_zoo.two_player import two_player

ZOO_API = 1


@hookimpl
def zoo_components() -> Iterable[Component]:
    def component(kind: str, name: str, target: str, **more: Any) -> Component:
        return Component(kind=kind, name=name, target=f"{__name__}:{target}", summary="It passes every check", **more)

    yield component("generator", "gen", "Gen")
    yield component("discriminator", "dis", "Dis")
    yield component("loss", "soft", "soft", paper="arXiv:1406.2661")
    yield component("penalty", "slope", "slope")
    yield component("augmentation", "dim", "dim")
    yield component("dataset", "cross", "cross")
    yield component("extractor", "mean", "mean")
    yield component("recipe", "game", "game", presets={"small": {"latent": 4}})
    yield component("recipe", "own", "own", tags=("conditional",))


class Gen(nn.Module):
    """A linear generator for samples of any shape, with or without labels."""

    def __init__(self, spec: Spec, latent: int, *, gain: Annotated[float, Range(0.1, 10)] = 1.0) -> None:
        super().__init__()
        self.spec, self.gain = spec, gain
        self.layer = nn.Linear(latent + spec.classes, math.prod(spec.shape))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        x = self.layer(z if label is None else torch.cat((z, label), 1))
        x = (self.gain * x).view(-1, *self.spec.shape)
        low, high = self.spec.range or (-1.0, 1.0)
        return low + (high - low) * torch.sigmoid(x)


class Dis(nn.Module):
    """A perceptron discriminator for samples of any shape, with or without labels."""

    def __init__(self, spec: Spec, *, width: int = 16) -> None:
        super().__init__()
        self.inner = nn.Linear(math.prod(spec.shape) + spec.classes, width)
        self.outer = nn.Linear(width, 1)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        x = x.flatten(1)
        h = self.inner(x if label is None else torch.cat((x, label), 1))
        return self.outer(torch.nn.functional.softplus(h))


def soft() -> Adversarial:
    """The non-saturating loss, by softplus."""
    f = torch.nn.functional.softplus
    return Adversarial(lambda real, fake: f(-real).mean() + f(fake).mean(), lambda fake, real: f(-fake).mean())


def slope() -> Any:
    """E |grad D(x)|^2 at the reals."""

    def term(discriminator: Any, batch: Mapping[str, Tensor]) -> Tensor:
        x = batch["real"].detach().requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
        return gradient.flatten(1).square().sum(1).mean()

    return term


class Dim(Noisy):
    """Scales each sample by a random brightness."""

    def draw(self, real: Tensor) -> Tensor:
        return torch.rand(len(real), *[1] * (real.ndim - 1))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return x * (0.5 + 0.5 * noise)


def dim() -> nn.Module:
    """Random brightness between 0.5 and 1 for each sample."""
    return Dim()


def cross(where: Path, *, count: Annotated[int, Range(2, 1000)] = 32) -> Mapping[str, Samples]:
    """Points on a cross."""
    splits = {}
    for split, start in (("train", 0), ("test", 1)):
        along = torch.linspace(-1, 1, count + start)
        points = torch.cat((torch.stack((along, 0 * along), 1), torch.stack((0 * along, along), 1)))
        labels = torch.arange(len(points)) // (count + start)
        splits[split] = point_samples("cross", split, points, labels, ("flat", "upright"), bounds=(-2.0, 2.0))
    return splits


class Mean(nn.Module):
    """The mean and the standard deviation of each sample."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        values = x.flatten(1).float()
        return {"features": torch.stack((values.mean(1), values.std(1)), 1)}


def mean() -> nn.Module:
    """Two features, without weights."""
    return Mean()


def game(
    *,
    generator: Annotated[Any, Slot("generator")] = "gen",
    discriminator: Annotated[Any, Slot("discriminator")] = "dis",
    loss: Annotated[Any, Slot("loss")] = "soft",
    penalty: tuple[Annotated[Any, Slot("penalty")], ...] = ("slope",),
    latent: Annotated[int, Range(1, 64)] = 8,
    lr: float = 1e-2,
) -> Recipe:
    """The standard two-player recipe."""
    return two_player(
        generator,
        discriminator,
        loss,
        latent=latent,
        optimizer=adam(lr),
        penalties=penalty,
        ema={"G": 0.9},
        steps=50,
    )


def own(*, lr: float = 1e-2) -> Recipe:
    """A conditional recipe that does not use two_player."""

    def networks(spec: Spec) -> Mapping[str, nn.Module]:
        return {"G": Gen(spec, 8), "D": Dis(spec)}

    def draw(batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {"z": torch.randn(len(batch["real"]), 8)}

    def generate(nets: Nets, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {"fake": nets.G(batch["z"], batch["label"])}

    def discriminate(nets: Nets, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        f = torch.nn.functional.softplus
        real, fake = nets.D(batch["real"], batch["label"]), nets.D(batch["fake"], batch["label"])
        return {"loss": f(-real).mean() + f(fake).mean()}

    def fool(nets: Nets, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {"loss": torch.nn.functional.softplus(-nets.D(batch["fake"], batch["label"])).mean()}

    players = {
        "discriminator": Player(controls=("D",), loss=discriminate, optimizer=adam(lr)),
        "generator": Player(controls=("G",), loss=fool, optimizer=adam(lr)),
    }
    return Recipe(networks=networks, players=players, generate=generate, draw=draw, steps=50)
