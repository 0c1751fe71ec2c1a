"""The convolutional pair of Radford et al. (2015, section 3), for every size that strides of two can make."""

import math
from itertools import pairwise
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from aigc_zoo.game import Spec
from aigc_zoo.spec import Range

Norm = Literal["batch", "group", "none"]


def generator(
    spec: Spec,
    latent: int,
    *,
    width: Annotated[int, Range(1, 1024)] = 64,
    dense: Annotated[int, Range(0, 65536)] = 0,
    norm: Norm = "batch",
) -> nn.Module:
    """z -> width * 2^(k-1) channels of b x b -> k transposed convolutions -> tanh, rescaled to `spec.range`.

    (N, latent) -> (N, C, H, W). Without a range the output is linear. From the paper: strides instead of pooling, norm
    and ReLU everywhere but at the output, weights from N(0, 0.02), scales from N(1, 0.02). As in the authors' Torch
    version, which most copies follow: 4x4 kernels (the Theano one has 5x5) and width 64 (figure 1 draws 128).
    Raises ValueError for a size that it cannot make.

    width: channels after the last but one convolution; each level below has twice as many.
    dense: units of a hidden layer between z and the b x b; 0 for none, as in the paper (the authors' MNIST code: 1024).
    norm: batch as in the paper; group (8 groups) or none keep the samples of a batch apart.
    """
    base, levels = plan(spec)
    bias = norm == "none"
    channels = [width * 2**level for level in reversed(range(levels))]
    layers: list[nn.Module] = []
    if dense:
        layers += [nn.Linear(latent, dense, bias=bias), *_norm(norm, dense, nn.BatchNorm1d), nn.ReLU()]
    layers += [
        nn.Linear(dense or latent, channels[0] * math.prod(base), bias=bias),
        nn.Unflatten(1, (channels[0], *base)),
        *_norm(norm, channels[0], nn.BatchNorm2d),
        nn.ReLU(),
    ]
    for before, after in pairwise(channels):
        up = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias)
        layers += [up, *_norm(norm, after, nn.BatchNorm2d), nn.ReLU()]
    layers += [nn.ConvTranspose2d(channels[-1], spec.shape[0], 4, 2, 1), InRange(spec.range)]
    return Unconditional(layers)


def discriminator(
    spec: Spec,
    *,
    width: Annotated[int, Range(1, 1024)] = 64,
    dense: Annotated[int, Range(0, 65536)] = 0,
    norm: Norm = "batch",
) -> nn.Module:
    """k convolutions of stride 2 from `width` channels up, each but the first normed; one logit of what is left.

    (N, C, H, W) -> (N, 1). From the paper: LeakyReLU of slope 0.2, no norm in the first layer, weights from N(0, 0.02),
    scales from N(1, 0.02). Raises ValueError for a size that the generator cannot make.

    width: channels after the first convolution; each level below has twice as many.
    dense: units of a hidden layer before the logit; 0 for none, as in the paper (the authors' MNIST code: 1024).
    norm: batch as in the paper; gradient penalties need group (8 groups) or none, which keep the samples apart.
    """
    base, levels = plan(spec)
    bias = norm == "none"
    channels = [width * 2**level for level in range(levels)]
    layers: list[nn.Module] = [nn.Conv2d(spec.shape[0], width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for before, after in pairwise(channels):
        down = nn.Conv2d(before, after, 4, 2, 1, bias=bias)
        layers += [down, *_norm(norm, after, nn.BatchNorm2d), nn.LeakyReLU(0.2)]
    layers.append(nn.Flatten())
    left = channels[-1] * math.prod(base)
    if dense:
        layers += [nn.Linear(left, dense, bias=bias), *_norm(norm, dense, nn.BatchNorm1d), nn.LeakyReLU(0.2)]
    layers.append(nn.Linear(dense or left, 1))
    return Unconditional(layers)


def plan(spec: Spec) -> tuple[tuple[int, int], int]:
    """The sides (h, w) that are left after k halvings, and k.

    The shorter side is b x 2^k with 4 <= b < 8 and k >= 1; the longer is any multiple of the same 2^k.
    """
    if spec.classes:
        raise ValueError("the dcgan networks take no labels: leave out --conditional, or choose other networks")
    if len(spec.shape) != 3:
        raise ValueError(f"the dcgan networks make images (C, H, W), not samples of shape {spec.shape}")
    height, width = spec.shape[1:]
    levels = _levels(min(height, width))
    if levels < 1 or height % 2**levels or width % 2**levels:
        near = sorted({_nearest(height, width, up) for up in (False, True)})
        raise ValueError(
            f"the dcgan networks cannot make {height}x{width}: the shorter side has to be b x 2^k with 4 <= b < 8 and "
            f"k >= 1, the longer a multiple of that 2^k; the nearest are {' and '.join(f'{h}x{w}' for h, w in near)} "
            f"(squares: --size {min(near[-1])})"
        )
    return (height >> levels, width >> levels), levels


def _levels(side: int) -> int:
    """The k of side = b x 2^k with 4 <= b < 8; b is whole only where the side has the form."""
    return (side // 4).bit_length() - 1


def _nearest(height: int, width: int, up: bool) -> tuple[int, int]:
    shorter = max(min(height, width), 8)
    unit = 2 ** _levels(shorter)
    if up:
        shorter = -(-shorter // unit) * unit
        unit = 2 ** _levels(shorter)
    h, w = ((max(side, shorter) + (unit - 1) * up) // unit * unit for side in (height, width))
    return h, w


def _norm(norm: Norm, channels: int, batch: type[nn.BatchNorm1d | nn.BatchNorm2d]) -> list[nn.Module]:
    """The layer that `norm` names, or none."""
    if norm == "group":
        return [nn.GroupNorm(math.gcd(8, channels), channels)]  # whole channels: few have fewer groups
    return [batch(channels)] if norm == "batch" else []


class InRange(nn.Module):
    """tanh, moved from (-1, 1) to the range of the data; without a range, the identity."""

    def __init__(self, bounds: tuple[float, float] | None) -> None:
        super().__init__()
        self.bounds = bounds

    def forward(self, x: Tensor) -> Tensor:
        if self.bounds is None:
            return x
        low, high = self.bounds
        return low + (high - low) * 0.5 * (torch.tanh(x) + 1)


class Unconditional(nn.Sequential):
    """Layers after one another, with the paper's initial weights; a label plays no part."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__(*layers)
        for layer in layers:
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, 0.0, 0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm):
                nn.init.normal_(layer.weight, 1.0, 0.02)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return super().forward(x)
