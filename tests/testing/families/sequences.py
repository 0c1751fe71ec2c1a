"""A family of sequences (T, C) with its own dataset, written from docs/writing-a-plugin.md alone."""

import math

import torch
from torch import nn
from torch.nn.functional import softplus

from aigc_zoo.data.samples import array_samples
from aigc_zoo.game import Player, Recipe, Spec, adam
from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1
LENGTH, CHANNELS, LATENT = 24, 2, 8


@hookimpl
def zoo_components():
    yield Component(kind="dataset", name="waves", target=f"{__name__}:waves", summary="Sines with a random phase")
    yield Component(
        kind="recipe",
        name="wave-gan",
        target=f"{__name__}:wave_gan",
        summary="A recurrent generator of sequences",
        shapes=((LENGTH, CHANNELS), (16, 3)),
    )


def waves(where):
    """Sine and cosine of one phase: sequences of 24 steps and two channels, in [-1, 1]."""
    splits = {}
    for split, first, count in (("train", 0.0, 256), ("test", 0.01, 64)):
        phase = first + torch.arange(count) / count * 2 * math.pi
        angle = phase[:, None] + torch.arange(LENGTH) * (2 * math.pi / 12)
        values = torch.stack((angle.sin(), angle.cos()), 2)
        spec = Spec(shape=(LENGTH, CHANNELS), range=(-1.0, 1.0), modality="array")
        splits[split] = array_samples("waves", split, spec, values)
    return splits


class Generator(nn.Module):
    """A GRU that reads the same z at every step."""

    def __init__(self, spec):
        super().__init__()
        self.length, channels = spec.shape
        self.gru = nn.GRU(LATENT, 16, batch_first=True)
        self.out = nn.Linear(16, channels)

    def forward(self, z):
        return torch.tanh(self.out(self.gru(z[:, None].expand(-1, self.length, -1))[0]))


class Discriminator(nn.Module):
    """Convolutions over time, one logit per window."""

    def __init__(self, spec):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(spec.shape[1], 16, 4, 2), nn.LeakyReLU(0.2), nn.Conv1d(16, 1, 3))

    def forward(self, x):
        return self.layers(x.transpose(1, 2)).flatten(1)


def wave_gan(*, lr: float = 1e-3) -> Recipe:
    """The non-saturating game on sequences.

    lr: learning rate of both networks.
    """

    def networks(spec):
        if len(spec.shape) != 2 or spec.shape[0] < 12:
            raise ValueError(f"this family needs sequences (T, C) of 12 steps or more, not {spec.shape}")
        return {"G": Generator(spec), "D": Discriminator(spec)}

    def discriminate(nets, batch):
        return {"loss": softplus(-nets.D(batch["real"])).mean() + softplus(nets.D(batch["fake"])).mean()}

    def fool(nets, batch):
        return {"loss": softplus(-nets.D(batch["fake"])).mean()}

    return Recipe(
        networks=networks,
        players={
            "discriminator": Player(controls=("D",), loss=discriminate, optimizer=adam(lr, 0.5)),
            "generator": Player(controls=("G",), loss=fool, optimizer=adam(lr, 0.5)),
        },
        draw=lambda batch: {"z": torch.randn(len(batch["real"]), LATENT)},
        generate=lambda nets, batch: {"fake": nets.G(batch["z"])},
        dataset="waves",
        steps=500,
    )
