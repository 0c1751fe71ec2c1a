"""The introductory pair: a convolutional generator against a small perceptron."""

import math
from typing import Annotated

import torch
from torch import nn

from aigc_zoo.game import Spec
from aigc_zoo.layers import Concatenated, InRange, Layers, scored
from aigc_zoo.spec import Range


def generator(spec: Spec, latent: int, *, width: Annotated[int, Range(1, 4096)] = 128) -> nn.Module:
    """z -> Dense 7x7x128, ReLU -> twice (upsampling, 5x5 convolution of 128, ReLU) -> 5x5 convolution -> sigmoid.

    (N, latent) -> (N, C, H, W) in `spec.range`, by rescaling; linear where the data has no range. The article's model
    makes 1x28x28; any other image whose sides are multiples of 4 starts from a quarter of them. Upsampling repeats
    pixels and comes before each of the two convolutions. The article names no initial weights: they are He's here, as
    with PyTorch's own, and with Glorot's, z hardly reaches the output and every sample is black within 100 steps.

    width: channels of the dense layer and of the convolutions.
    """
    if len(spec.shape) != 3:
        raise ValueError(f"the primer generator makes images (C, H, W), not samples of shape {spec.shape}")
    channels, height, side = spec.shape
    if height % 4 or side % 4 or min(height, side) < 4:
        near = max(4, round(min(height, side) / 4) * 4)
        raise ValueError(
            f"the primer generator cannot make {height}x{side}: both sides have to be multiples of 4, such as 28 "
            f"(squares: --size {near})"
        )
    return _initialised(
        *([Concatenated()] if spec.classes else []),
        nn.Linear(latent + spec.classes, width * (height // 4) * (side // 4)),
        nn.ReLU(),
        nn.Unflatten(1, (width, height // 4, side // 4)),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(width, width, 5, padding=2),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(width, width, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(width, channels, 5, padding=2),
        InRange(spec.range, torch.sigmoid),
    )


def discriminator(spec: Spec, *, width: Annotated[int, Range(1, 65536)] = 128) -> nn.Module:
    """Flatten -> Dense 128, ReLU -> Dense 1. (N, *spec.shape) -> (N, 1).

    width: units of the hidden layer.
    """
    hidden = nn.Linear(math.prod(spec.shape), width)
    return _initialised(nn.Flatten(), hidden, nn.ReLU(), scored(width, spec.classes))


def _initialised(*layers: nn.Module) -> nn.Module:
    """Weights from N(0, 2 / inputs), which keeps the size of a signal through rectifiers (He et al., 2015, eq. 10).

    The last layer too: from a smaller one all samples were black after 100 steps, and stayed so.
    """
    for layer in layers:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return Layers(*layers)
