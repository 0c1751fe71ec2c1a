"""A plugin that passes every conformance check. The tests make faulty copies of it."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import IO, Annotated, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from aigc_zoo.data.samples import point_samples
from aigc_zoo.game import Adversarial, Nets, Noisy, Player, Recipe, Samples, Spec, adam
from aigc_zoo.metric import Measured, Metric, Value, View
from aigc_zoo.modality import Modality, Writer
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
    yield component("network", "mapping", "Mapped")
    yield component("modality", "bits", "Bits")
    yield component("metric", "gap", "gap")
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
    """The mean and the standard deviation of each image, from uint8 or from floats in [-1, 1]."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        values = x.flatten(1)
        values = values.float() / 255 if x.dtype == torch.uint8 else (values + 1) / 2
        return {"features": torch.stack((values.mean(1), values.std(1)), 1)}


def mean() -> nn.Module:
    """Two features, without weights."""
    return Mean()


class Mapped(nn.Module):
    """z (N, 4) -> w (N, 4), with a running mean of w."""

    def __init__(self, spec: Spec, *, width: int = 4) -> None:
        super().__init__()
        self.layer = nn.Linear(4, width)
        self.register_buffer("mean", torch.zeros(width))

    def example_inputs(self, rows: int) -> tuple[Tensor, ...]:
        return (torch.linspace(-1, 1, 4 * rows).view(rows, 4),)

    def forward(self, z: Tensor) -> Tensor:
        w = self.layer(z) + self.mean
        if self.training:
            self.mean.lerp_(w.detach().mean(0), 0.1)
        return w


class Bits(Modality):
    """Lines of two symbols, in [0, 1], stored as uint8."""

    noun, units, suffixes, previews = "line", "lines", (".bits",), 5

    def scan(self, file: IO[bytes], name: str) -> Iterator[int]:
        yield from map(len, _lines(file))

    def plan(self, scans: Sequence[int]) -> Spec:
        (length,) = set(scans)
        return Spec(shape=(length,), range=(0.0, 1.0), modality="local/bits", symbols=("-", "+"))

    def stored(self, spec: Spec) -> tuple[str, tuple[int, ...]]:
        return "uint8", spec.shape

    def read(self, file: IO[bytes], name: str, spec: Spec) -> Iterator[np.ndarray]:
        for line in _lines(file):
            yield np.array([("-", "+").index(letter) for letter in line], np.uint8)

    def example(self) -> tuple[Spec, np.ndarray]:
        return self.plan([3]), np.array([[0, 0, 1], [0, 1, 0], [1, 1, 0], [1, 0, 1]], np.uint8)

    def decode(self, rows: Tensor, draw: Any, spec: Spec) -> Tensor:
        return rows.float()

    def quantize(self, x: Tensor, spec: Spec) -> Tensor:
        return (x > 0.5).to(torch.uint8)

    @property
    def one(self) -> Mapping[str, Writer]:
        return {".bits": lambda x, spec: self.text(x[None], spec)}

    @property
    def many(self) -> Mapping[str, Writer]:
        return {".bits": lambda x, spec: self.text(x, spec)}

    def text(self, x: Tensor, spec: Spec) -> bytes:
        return "".join("".join("-+"[bit] for bit in row) + "\n" for row in self.quantize(x, spec).tolist()).encode()

    def preview(self, x: Tensor, spec: Spec) -> Image.Image:
        return Image.fromarray(255 * self.quantize(x, spec).numpy()).resize((8 * x.shape[1], 8 * len(x)))

    def html(self, x: Tensor, spec: Spec) -> str:
        return f"<pre>{escape(''.join(spec.symbols[bit] for bit in self.quantize(x, spec).tolist()))}</pre>"


def _lines(file: IO[bytes]) -> list[str]:
    file.seek(0)
    return file.read().decode("ascii").split()


def gap() -> Metric:
    """The distance between the means of the first coordinates."""
    values = (Value("gap", "Gap of means", "lower", ideal=0.0), Value("first", "Mean of the first", "near", ideal=0.0))
    return Metric(values=values, measure=measure, modalities=("points",), needs=frozenset({"features", "samples"}))


def measure(view: View) -> Mapping[str, Measured]:
    total = sum(float(chunk["fake"][:, 0].sum()) for chunk in view.chunks("fake"))
    apart = view.features("generated").mean(0) - view.features("reference").mean(0)
    return {"gap": Measured(float(apart.norm())), "first": Measured(total / view.num)}


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
