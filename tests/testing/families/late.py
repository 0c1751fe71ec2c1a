"""A conditional family whose discriminator starts later, written from docs/writing-a-plugin.md alone.

The generator first fits the mean of each class. Then a discriminator joins, with lazy R1 and instance noise, and the
generator gets a lazy path length penalty (Karras et al., 2020, section 3.2).
"""

import math

import torch
from torch import nn
from torch.nn.functional import softplus

from aigc_zoo.game import Every, Player, Recipe, Until, adam, changed, plus
from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1
LATENT = 8


@hookimpl
def zoo_components():
    yield Component(
        kind="recipe",
        name="late",
        target=f"{__name__}:late",
        summary="A discriminator that starts later",
        tags=("conditional",),
    )


class Generator(nn.Module):
    """(z, label) -> w -> a sample in the range of the data, scaled by one learned number."""

    def __init__(self, spec):
        super().__init__()
        self.spec = spec
        self.mapping = nn.Linear(LATENT + spec.classes, 16)
        self.synthesis = nn.Linear(16, math.prod(spec.shape))
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, w):
        low, high = self.spec.range or (-1.0, 1.0)
        x = torch.sigmoid(self.gain * self.synthesis(w)).view(-1, *self.spec.shape)
        return low + (high - low) * x


class Discriminator(nn.Module):
    """(x, label) -> one logit."""

    def __init__(self, spec):
        super().__init__()
        self.hidden = nn.Linear(math.prod(spec.shape) + spec.classes, 32)
        self.out = nn.Linear(32, 1)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x, label):
        return self.scale * self.out(softplus(self.hidden(torch.cat((x.flatten(1), label), 1))))


class PathLength(nn.Module):
    """The running mean of path lengths, over all ranks."""

    shared = True

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor(0.0))


def late(*, lr: float = 1e-3, start: int = 200, noise: float = 0.05) -> Recipe:
    """Class means first, then the non-saturating game.

    lr: learning rate of both networks.
    start: steps before the discriminator starts.
    noise: standard deviation of the instance noise on reals and fakes.
    """

    def networks(spec):
        if not spec.classes:
            raise ValueError("this family needs labels: choose a dataset with classes")
        return {"G": Generator(spec), "D": Discriminator(spec), "path": PathLength()}

    def draw(batch):
        n, shape = len(batch["real"]), batch["real"].shape
        return {"z": torch.randn(n, LATENT), "noise": torch.randn(shape), "direction": torch.randn(shape)}

    def generate(nets, batch):
        w = nets.G.mapping(torch.cat((batch["z"], batch["label"]), 1))
        return {"w": w, "fake": nets.G(w)}

    def noisy(nets, batch):
        return {**batch, **{key: batch[key] + noise * batch["noise"] for key in ("real", "fake")}}

    def discriminate(nets, batch):
        real, fake = nets.D(batch["real"], batch["label"]), nets.D(batch["fake"], batch["label"])
        return {"loss": softplus(-real).mean() + softplus(fake).mean(), "_real": real.mean()}

    def r1(nets, batch):
        x = batch["real"].detach().requires_grad_()
        (gradient,) = torch.autograd.grad(nets.D(x, batch["label"]).sum(), x, create_graph=True)
        return {"r1": 16 * 0.5 * gradient.flatten(1).square().sum(1).mean()}

    def fit(nets, batch):
        return {"l2": (batch["fake"] - batch["real"]).square().mean()}

    def fool(nets, batch):
        return {"loss": softplus(-nets.D(batch["fake"], batch["label"])).mean()}

    def path_length(nets, batch):
        (gradient,) = torch.autograd.grad((batch["fake"] * batch["direction"]).sum(), batch["w"], create_graph=True)
        length = gradient.square().sum(1).sqrt()
        term = 4 * (length - nets.path.mean).square().mean()
        nets.path.mean.lerp_(length.mean().detach(), 0.01)
        return {"path": term}

    return Recipe(
        networks=networks,
        players={
            "discriminator": Player(
                controls=("D",),
                loss=Until(start, None, changed(plus(discriminate, Every(16, r1, None)), noisy)),
                optimizer=adam(lr, 0.0, 0.99),
            ),
            "generator": Player(
                controls=("G",),
                loss=Until(start, fit, plus(changed(fool, noisy), Every(4, path_length, None))),
                optimizer=adam(lr, 0.0, 0.99),
            ),
        },
        draw=draw,
        generate=generate,
        ema={"G": 0.99},
        dataset="ring",
        steps=1000,
    )
