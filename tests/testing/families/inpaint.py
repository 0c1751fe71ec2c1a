"""Inpainting with its own dataset, whose stored fields are not the entries of a batch.

Written from docs/writing-a-plugin.md alone. Pathak et al. (2016), arXiv:1604.07379, section 3.2: a reconstruction loss,
joined later by an adversarial one.
"""

import torch
from torch import nn
from torch.nn.functional import softplus

from aigc_zoo.data.samples import class_frequencies, digest_of
from aigc_zoo.game import Player, Recipe, Samples, Spec, Until, adam, plus
from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components():
    yield Component(kind="dataset", name="holes", target=f"{__name__}:holes", summary="Stripes of two directions")
    yield Component(
        kind="recipe",
        name="inpaint",
        target=f"{__name__}:inpaint",
        summary="Fills the holes of images",
        paper="arXiv:1604.07379",
    )


def decode(rows, draw):
    """Stored rows -> an image, a mask of its known pixels, the known pixels and the label."""
    real = rows["stripes"].float() / 127.5 - 1
    mask = (draw(1, 8, 8) > 0.4).float()
    return {"real": real, "mask": mask, "known": real * mask, "label": nn.functional.one_hot(rows["turned"], 2).float()}


def holes(where):
    """Random stripes, horizontal or vertical, 8 x 8 pixels."""
    splits = {}
    for split, seed, rows in (("train", 0, 64), ("test", 1, 16)):
        values = torch.randint(0, 256, (rows, 3, 8, 1), generator=torch.Generator().manual_seed(seed))
        turned = torch.arange(rows) % 2
        stripes = values.expand(-1, -1, -1, 8).to(torch.uint8)
        fields = {"stripes": torch.where(turned.bool()[:, None, None, None], stripes.mT, stripes), "turned": turned}
        splits[split] = Samples(
            name="holes",
            split=split,
            spec=Spec(shape=(3, 8, 8), classes=2),
            fields=fields,
            decode=decode,
            digest=digest_of(fields),
            groups=(("stripes", "turned"),),
            classes=("rows", "columns"),
            frequencies=class_frequencies(turned, 2),
        )
    return splits


class Generator(nn.Module):
    """Known pixels and their mask -> an image in [-1, 1]."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(4, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 3, 5, padding=2))
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, known, mask):
        return torch.tanh(self.gain * self.layers(torch.cat((known, mask), 1)))


def inpaint(*, lr: float = 1e-3, start: int = 50) -> Recipe:
    """A reconstruction loss, joined by an adversarial loss.

    lr: learning rate of both networks.
    start: first step of the discriminator.
    """

    def networks(spec):
        if len(spec.shape) != 3 or spec.shape[0] != 3:
            raise ValueError(f"inpaint needs colour images (3, H, W), not {spec.shape}")
        d = nn.Sequential(nn.Conv2d(3, 16, 4, 2), nn.LeakyReLU(0.2), nn.Conv2d(16, 1, 3))
        return {"G": Generator(), "D": d}

    def discriminate(nets, batch):
        return {"loss": softplus(-nets.D(batch["real"])).mean() + softplus(nets.D(batch["fake"])).mean()}

    def reconstruct(nets, batch):
        return {"l2": ((1 - batch["mask"]) * (batch["fake"] - batch["real"])).square().mean()}

    def fool(nets, batch):
        return {"loss": 0.01 * softplus(-nets.D(batch["fake"])).mean()}

    return Recipe(
        networks=networks,
        players={
            "discriminator": Player(controls=("D",), loss=Until(start, None, discriminate), optimizer=adam(lr, 0.5)),
            "generator": Player(
                controls=("G",), loss=plus(reconstruct, Until(start, None, fool)), optimizer=adam(lr, 0.5)
            ),
        },
        generate=lambda nets, batch: {"fake": nets.G(batch["known"], batch["mask"])},
        inputs=("known", "mask"),
        dataset="holes",
        steps=500,
    )
