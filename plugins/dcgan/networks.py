"""The convolutional pair of Radford et al. (2015, section 3), for every size that strides of two can make."""

import math
from itertools import pairwise
from typing import Annotated, Literal

from torch import nn

from aigc_zoo.game import Spec
from aigc_zoo.layers import Concatenated, ConditionalNorm, InRange, Layers, Projection, constrained, groups, halved
from aigc_zoo.spec import Range

Norm = Literal["batch", "group", "none"]
Weights = Literal["free", "spectral", "orthogonal"]
WHO = "the dcgan networks"


def generator(
    spec: Spec,
    latent: int,
    *,
    width: Annotated[int, Range(1, 1024)] = 64,
    dense: Annotated[int, Range(0, 65536)] = 0,
    norm: Norm = "batch",
    condition: Literal["concat", "norm"] = "concat",
    weights: Weights = "free",
) -> nn.Module:
    """z -> width * 2^(k-1) channels of b x b -> k transposed convolutions -> tanh, rescaled to `spec.range`.

    (N, latent) -> (N, C, H, W). Without a range the output is linear. From the paper: strides instead of pooling, norm
    and ReLU everywhere but at the output, weights from N(0, 0.02), scales from N(1, 0.02). As in the authors' Torch
    version, which most copies follow: 4x4 kernels (the Theano one has 5x5) and width 64 (figure 1 draws 128).
    Raises ValueError for a size that it cannot make.

    width: channels after the last but one convolution; each level below has twice as many.
    dense: units of a hidden layer between z and the b x b; 0 for none, as in the paper (the authors' MNIST code: 1024).
    norm: batch as in the paper; group (8 groups) or none, with He's initial weights, keep the samples apart.
    condition: how labels come in, where the game has them: beside z, or as each class's own scales after every norm.
    weights: free, or kept at spectral norm 1, or orthogonal.
    """
    base, levels = halved(spec, WHO)
    bias, classes = norm == "none", spec.classes if condition == "norm" else 0
    if classes and norm == "none":
        raise ValueError("labels that condition the norm need one: choose --generator.norm batch or group")
    channels = [width * 2**level for level in reversed(range(levels))]
    layers: list[nn.Module] = [Concatenated()] if spec.classes and not classes else []
    inputs = latent + (0 if classes else spec.classes)
    if dense:
        layers += [nn.Linear(inputs, dense, bias=bias), *_norm(norm, dense, nn.BatchNorm1d, classes), nn.ReLU()]
    layers += [
        nn.Linear(dense or inputs, channels[0] * math.prod(base), bias=bias),
        nn.Unflatten(1, (channels[0], *base)),
        *_norm(norm, channels[0], nn.BatchNorm2d, classes),
        nn.ReLU(),
    ]
    for before, after in pairwise(channels):
        up = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias)
        layers += [up, *_norm(norm, after, nn.BatchNorm2d, classes), nn.ReLU()]
    layers += [nn.ConvTranspose2d(channels[-1], spec.shape[0], 4, 2, 1), InRange(spec.range)]
    return _assembled(layers, weights, norm)


def discriminator(
    spec: Spec,
    *,
    width: Annotated[int, Range(1, 1024)] = 64,
    dense: Annotated[int, Range(0, 65536)] = 0,
    norm: Norm = "batch",
    weights: Weights = "free",
) -> nn.Module:
    """k convolutions of stride 2 from `width` channels up, each but the first normed; one logit of what is left.

    (N, C, H, W) -> (N, 1). From the paper: LeakyReLU of slope 0.2, no norm in the first layer, weights from N(0, 0.02),
    scales from N(1, 0.02). Labels enter by projection on what the convolutions leave. Raises ValueError for a size that
    the generator cannot make.

    width: channels after the first convolution; each level below has twice as many.
    dense: units of a hidden layer before the logit; 0 for none, as in the paper (the authors' MNIST code: 1024).
    norm: batch as in the paper; gradient penalties need group (8 groups) or none (with He's initial weights).
    weights: free, or kept at spectral norm 1 (SNGAN), or orthogonal.
    """
    base, levels = halved(spec, WHO)
    bias = norm == "none"
    channels = [width * 2**level for level in range(levels)]
    layers: list[nn.Module] = [nn.Conv2d(spec.shape[0], width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for before, after in pairwise(channels):
        down = nn.Conv2d(before, after, 4, 2, 1, bias=bias)
        layers += [down, *_norm(norm, after, nn.BatchNorm2d), nn.LeakyReLU(0.2)]
    layers.append(nn.Flatten())
    left = channels[-1] * math.prod(base)
    score: list[nn.Module] = [nn.Linear(dense or left, 1)]
    if dense:
        score[:0] = [nn.Linear(left, dense, bias=bias), *_norm(norm, dense, nn.BatchNorm1d), nn.LeakyReLU(0.2)]
    # Labels look past the hidden layer: by projection on it, a generator with one collapses on MNIST (LOG).
    layers += [Projection(left, spec.classes, nn.Sequential(*score))] if spec.classes else score
    return _assembled(layers, weights, norm)


def _norm(norm: Norm, channels: int, batch: type[nn.BatchNorm1d | nn.BatchNorm2d], classes: int = 0) -> list[nn.Module]:
    """The layer that `norm` names, with scales and shifts of each class where there are any, or none."""
    if norm == "none":
        return []
    affine = not classes
    made = (
        nn.GroupNorm(groups(channels), channels, affine=affine) if norm == "group" else batch(channels, affine=affine)
    )
    return [ConditionalNorm(made, channels, classes) if classes else made]


def _assembled(layers: list[nn.Module], weights: Weights, norm: Norm) -> nn.Module:
    """The layers after one another, with the paper's initial weights, or He's where no norm mends their scale."""
    net = Layers(*layers)
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if norm == "none":
                nn.init.kaiming_normal_(layer.weight, 0.2)
            else:
                nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, 0.02)
    return constrained(net, weights)
