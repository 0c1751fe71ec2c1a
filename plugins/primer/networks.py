"""Introductory networks for digits: a convolutional generator and a small perceptron as discriminator."""

import math
from typing import Annotated

import torch
from torch import nn

from aigc_zoo.game import Spec
from aigc_zoo.layers import Concatenated, InRange, Layers, scored
from aigc_zoo.spec import Range


def generator(spec: Spec, latent: int, *, width: Annotated[int, Range(1, 4096)] = 128) -> nn.Module:
    """z -> Dense 7x7x128, ReLU -> twice (upsampling, 5x5 convolution of 128, ReLU) -> 5x5 convolution -> sigmoid.

    (N, latent) -> (N, C, H, W), rescaled to `spec.range`; linear output without a range. Other images than 28x28 start
    from a quarter of their sides, which must be multiples of 4. Nearest-neighbour upsampling precedes each of the two
    convolutions. He initialization: with PyTorch's default and with Glorot's, z hardly reaches the output and every
    sample is black within 100 steps.

    width: channels of the dense layer and the convolutions.
    """
    if len(spec.shape) != 3:
        raise ValueError(f"the primer generator generates images (C, H, W), not samples of shape {spec.shape}")
    channels, height, side = spec.shape
    if height % 4 or side % 4 or min(height, side) < 4:
        near = max(4, round(min(height, side) / 4) * 4)
        raise ValueError(
            f"the primer generator cannot generate {height}x{side}: both sides must be multiples of 4, such as 28 "
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
    """The network with He initialization, N(0, 2 / inputs) (He et al., 2015, eq. 10), in the last layer as well.

    With a smaller last layer all samples were black after 100 steps, and stayed black.
    """
    for layer in layers:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return Layers(*layers)
