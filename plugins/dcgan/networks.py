"""Generator and discriminator of DCGAN (Radford et al., 2015, section 3), for every size that strides of two reach."""

import math
from itertools import pairwise
from typing import Annotated, Literal

from torch import nn

from aigc_zoo import layers
from aigc_zoo.game import Spec
from aigc_zoo.layers import Norm, WeightConstraint, halved, normalization
from aigc_zoo.spec import Range

NAME = "the dcgan networks"


def generator(
    spec: Spec,
    latent: int,
    *,
    width: Annotated[int, Range(1, 1024)] = 64,
    dense: Annotated[int, Range(0, 65536)] = 0,
    norm: Norm = "batch",
    condition: Literal["concat", "norm"] = "concat",
    weights: WeightConstraint = "free",
) -> nn.Module:
    """z -> width * 2^(k-1) channels of b x b -> k transposed 4x4 convolutions of stride 2 -> tanh, rescaled.

    (N, latent) -> (N, C, H, W) in `spec.range`; linear output without a range. As in the paper: strides instead of
    pooling, normalization and ReLU after every layer but the last, weights from N(0, 0.02), scales from N(1, 0.02).
    As in the authors' Torch code: 4x4 kernels (5x5 in their Theano code), width 64 (128 in figure 1). Raises ValueError
    for a size that it cannot generate.

    width: channels before the last convolution; each level below has twice as many.
    dense: units of a hidden layer after z; 0 for none as in the paper (1024 in the authors' MNIST code).
    norm: batch as in the paper; group (8 groups) and none, which has He initialization, do not mix samples.
    condition: how labels enter a conditional generator: beside z, or as scales and shifts per class after every norm.
    weights: free, spectral norm 1, or orthogonal.
    """
    base, levels = halved(spec, NAME)
    bias, classes = norm == "none", spec.classes if condition == "norm" else 0
    if classes and norm == "none":
        raise ValueError("labels that condition the norm need one: choose --generator.norm batch or group")
    channels = [width * 2**level for level in reversed(range(levels))]
    net: list[nn.Module] = [layers.Concatenated()] if spec.classes and not classes else []
    inputs = latent + (0 if classes else spec.classes)
    if dense:
        net += [nn.Linear(inputs, dense, bias=bias), *normalization(norm, dense, classes=classes, dims=1), nn.ReLU()]
    net += [
        nn.Linear(dense or inputs, channels[0] * math.prod(base), bias=bias),
        nn.Unflatten(1, (channels[0], *base)),
        *normalization(norm, channels[0], classes=classes),
        nn.ReLU(),
    ]
    for before, after in pairwise(channels):
        up = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias)
        net += [up, *normalization(norm, after, classes=classes), nn.ReLU()]
    net += [nn.ConvTranspose2d(channels[-1], spec.shape[0], 4, 2, 1), layers.InRange(spec.range)]
    return _initialized(net, weights, norm)


def discriminator(
    spec: Spec,
    *,
    width: Annotated[int, Range(1, 1024)] = 64,
    dense: Annotated[int, Range(0, 65536)] = 0,
    norm: Norm = "batch",
    weights: WeightConstraint = "free",
) -> nn.Module:
    """k 4x4 convolutions of stride 2 from `width` channels up, all but the first normalized, then one logit.

    (N, C, H, W) -> (N, 1). As in the paper: LeakyReLU of slope 0.2, no norm after the first layer, weights from
    N(0, 0.02), scales from N(1, 0.02). Labels enter by projection. Raises ValueError for a size that the generator
    cannot generate.

    width: channels after the first convolution; each level below has twice as many.
    dense: units of a hidden layer before the logit; 0 for none as in the paper (1024 in the authors' MNIST code).
    norm: batch as in the paper; gradient penalties need group (8 groups) or none (with He initialization).
    weights: free, spectral norm 1 (SNGAN), or orthogonal.
    """
    base, levels = halved(spec, NAME)
    bias = norm == "none"
    channels = [width * 2**level for level in range(levels)]
    net: list[nn.Module] = [nn.Conv2d(spec.shape[0], width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for before, after in pairwise(channels):
        net += [nn.Conv2d(before, after, 4, 2, 1, bias=bias), *normalization(norm, after), nn.LeakyReLU(0.2)]
    net.append(nn.Flatten())
    features = channels[-1] * math.prod(base)
    score: list[nn.Module] = [nn.Linear(dense or features, 1)]
    if dense:
        score[:0] = [nn.Linear(features, dense, bias=bias), *normalization(norm, dense, dims=1), nn.LeakyReLU(0.2)]
    # Labels bypass the hidden layer: with a projection on it, a generator that has one collapses on MNIST (LOG).
    net += [layers.Projection(features, spec.classes, nn.Sequential(*score))] if spec.classes else score
    return _initialized(net, weights, norm)


def _initialized(modules: list[nn.Module], weights: WeightConstraint, norm: Norm) -> nn.Module:
    """The network with the paper's initialization, or He's where no norm rescales the activations."""
    net = layers.Layers(*modules)
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, 0.2) if norm == "none" else nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, 0.02)
    return layers.constrained(net, weights)
