"""A family whose own dataset has an entry that no other has: a weight of each sample.

Written from docs/writing-a-plugin.md alone.
"""

import math

import torch
from torch import nn
from torch.nn.functional import softplus

from aigc_zoo.data.samples import digest_of
from aigc_zoo.errors import DataError
from aigc_zoo.game import Player, Recipe, Samples, Spec, adam
from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components():
    yield Component(kind="dataset", name="survey", target=f"{__name__}:survey", summary="Points with weights")
    yield Component(
        kind="recipe", name="weighted", target=f"{__name__}:weighted", summary="Reals count by their weight"
    )


def decode(rows, draw):
    """The stored rows as a batch; reals are jittered by less than the rounding of the survey."""
    jitter = 0.02 * draw(2) - 0.01
    return {"real": (rows["hundredths"].float() / 100 + jitter).clamp(-1, 1), "weight": rows["weight"].float()}


def survey(where, *, count: int = 200):
    """Points on a circle, stored as integers of a hundredth, and a weight of each.

    count: points of the training split.
    """
    if count < 2:
        raise DataError(f"survey: {count} points are too few: use --data.count 200")
    splits = {}
    for split, rows, shift in (("train", count, 0.0), ("test", count // 2, 0.5)):
        angle = (torch.arange(rows) + shift) / rows * 2 * math.pi
        fields = {
            "hundredths": (80 * torch.stack((angle.cos(), angle.sin()), 1)).round().to(torch.int16),
            "weight": 1 + (torch.arange(rows) % 3),
        }
        splits[split] = Samples(
            name="survey",
            split=split,
            spec=Spec(shape=(2,), modality="points"),
            fields=fields,
            decode=decode,
            digest=digest_of(fields),
            groups=(("hundredths", "weight"),),
        )
    return splits


def weighted(*, lr: float = 1e-3) -> Recipe:
    """The non-saturating game, in which a real counts as often as its weight says.

    lr: learning rate of both networks.
    """

    def networks(spec):
        size = math.prod(spec.shape)
        d = nn.Sequential(nn.Flatten(), nn.Linear(size, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
        return {"G": nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, size), nn.Tanh()), "D": d}

    def generate(nets, batch):
        return {"fake": nets.G(batch["z"])}

    def discriminate(nets, batch):
        weight = batch["weight"] / 2
        real = (weight * softplus(-nets.D(batch["real"])).squeeze(1)).mean()
        return {"loss": real + softplus(nets.D(batch["fake"])).mean()}

    def fool(nets, batch):
        return {"loss": softplus(-nets.D(batch["fake"])).mean()}

    return Recipe(
        networks=networks,
        players={
            "discriminator": Player(controls=("D",), loss=discriminate, optimizer=adam(lr, 0.5)),
            "generator": Player(controls=("G",), loss=fool, optimizer=adam(lr, 0.5)),
        },
        draw=lambda batch: {"z": torch.randn(len(batch["real"]), 8)},
        generate=generate,
        dataset="survey",
        steps=500,
    )
