"""The two-player recipe with small convolutional networks, with batch normalization or without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from sketch import components
from sketch.training import trainer
from torch import Tensor, nn

from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Adversarial, Spec
from aigc_zoo.two_player import two_player

SPEC = Spec(shape=components.IMAGE, classes=components.CLASSES)
LATENT = 6


class Generator(nn.Sequential):
    """z -> 4x4 -> 8x8, with batch normalization if `norm`."""

    def __init__(self, norm: bool = True) -> None:
        super().__init__(
            nn.Linear(LATENT, 8 * 4 * 4),
            nn.Unflatten(1, (8, 4, 4)),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 3, 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return super().forward(z)


class Discriminator(nn.Sequential):
    """8x8 -> 4x4 -> a logit; smooth, so that second derivatives exist everywhere."""

    def __init__(self, norm: bool = True) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 4, 2, 1),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.Softplus(),
            nn.Flatten(),
            nn.Linear(8 * 4 * 4, 1),
        )

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return super().forward(x)


def logistic() -> Adversarial:
    return Adversarial(
        discriminator=lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
        generator=lambda fake, real: F.softplus(-fake).mean(),
    )


def wasserstein() -> Adversarial:
    return Adversarial(
        discriminator=lambda real, fake: fake.mean() - real.mean(), generator=lambda fake, real: -fake.mean()
    )


def conv_trainer(
    norm: bool,
    loss: Callable[[], Adversarial],
    *,
    dtype: torch.dtype = torch.float64,
    ranks: Ranks | None = None,
    **settings: Any,
) -> Trainer:
    """A trainer of both networks for ten steps; `settings` are keyword arguments of `two_player`."""
    recipe = two_player(
        lambda spec, latent: Generator(norm),
        lambda spec: Discriminator(norm),
        loss,
        latent=LATENT,
        steps=10,
        **settings,
    )
    return trainer(recipe, SPEC, components.images, dtype=dtype, ranks=ranks, steps=10)
