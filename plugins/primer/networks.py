"""The introductory pair: a convolutional generator against a small perceptron."""

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from aigc_zoo.game import Spec
from aigc_zoo.spec import Range


def generator(spec: Spec, latent: int, *, width: Annotated[int, Range(1, 4096)] = 128) -> nn.Module:
    """z -> Dense 7x7x128, ReLU -> twice (upsampling, 5x5 convolution of 128, ReLU) -> 5x5 convolution -> sigmoid.

    (N, latent) -> (N, C, H, W) in `spec.range`, by rescaling; linear where the data has no range. The article's model
    makes 1x28x28; any other image whose sides are multiples of 4 starts from a quarter of them. Upsampling repeats
    pixels and comes before each of the two convolutions; initial weights are PyTorch's, since the article names none.

    width: channels of the dense layer and of the convolutions.
    """
    if spec.classes:
        raise ValueError("the primer networks take no labels: leave out --conditional, or choose other networks")
    if len(spec.shape) != 3:
        raise ValueError(f"the primer generator makes images (C, H, W), not samples of shape {spec.shape}")
    channels, height, side = spec.shape
    if height % 4 or side % 4 or min(height, side) < 4:
        near = max(4, round(min(height, side) / 4) * 4)
        raise ValueError(
            f"the primer generator cannot make {height}x{side}: both sides have to be multiples of 4, such as 28 "
            f"(squares: --size {near})"
        )
    return Unconditional(
        nn.Linear(latent, width * (height // 4) * (side // 4)),
        nn.ReLU(),
        nn.Unflatten(1, (width, height // 4, side // 4)),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(width, width, 5, padding=2),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(width, width, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(width, channels, 5, padding=2),
        InRange(spec.range),
    )


def discriminator(spec: Spec, *, width: Annotated[int, Range(1, 65536)] = 128) -> nn.Module:
    """Flatten -> Dense 128, ReLU -> Dense 1. (N, *spec.shape) -> (N, 1).

    width: units of the hidden layer.
    """
    if spec.classes:
        raise ValueError("the primer networks take no labels: leave out --conditional, or choose other networks")
    return Unconditional(nn.Flatten(), nn.Linear(math.prod(spec.shape), width), nn.ReLU(), nn.Linear(width, 1))


class InRange(nn.Module):
    """sigmoid, moved from (0, 1) to the range of the data; without a range, the identity."""

    def __init__(self, bounds: tuple[float, float] | None) -> None:
        super().__init__()
        self.bounds = bounds

    def forward(self, x: Tensor) -> Tensor:
        if self.bounds is None:
            return x
        low, high = self.bounds
        return low + (high - low) * torch.sigmoid(x)


class Unconditional(nn.Sequential):
    """Layers after one another; a label, which the game may hand on, plays no part."""

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return super().forward(x)
