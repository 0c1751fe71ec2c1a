"""Layers that networks of several families share: labels, pooling, normalization, sample ranges, weight constraints."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from aigc_zoo.game import Spec

WeightConstraint = Literal["free", "spectral", "orthogonal"]
"""The constraint on weights: none, spectral norm 1, or orthonormal rows or columns."""

Norm = Literal["batch", "group", "none"]
"""The kind of normalization layers."""

Bounds = tuple[float, float] | None
"""The closed range (low, high) of samples, None for no range."""


# --- labels -----------------------------------------------------------------------------------------------------------


class Labelled(nn.Module):
    """A layer whose `forward(x, label)` takes the label, one-hot (N, classes) or None."""

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        raise NotImplementedError


class Layers(nn.Sequential):
    """A sequence of layers that passes the label to the `Labelled` ones: `forward(x, label)`."""

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        for layer in self:
            x = layer(x, label) if isinstance(layer, Labelled) else layer(x)
        return x


class Concatenated(Labelled):
    """Concatenate the label to z: (N, latent) -> (N, latent + classes) (Mirza and Osindero, 2014, figure 1)."""

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        return x if label is None else torch.cat([x, label.to(x.dtype)], 1)


class ConditionalNorm(Labelled):
    """Conditional normalization: `norm`, then a scale and shift per class (Dumoulin et al., 2017, section 2.2).

    (N, channels, ...) -> the same. `norm` has no affine parameters. Scales are initialized to 1, shifts to 0.
    """

    def __init__(self, norm: nn.Module, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = norm
        self.scale = nn.Parameter(torch.ones(classes, channels))
        self.shift = nn.Parameter(torch.zeros(classes, channels))

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        assert label is not None, "a conditional network needs labels"
        label = label.to(self.scale.dtype)
        broadcast = (..., *(None,) * (x.ndim - 2))
        scaled: Tensor = self.norm(x) * (label @ self.scale)[broadcast] + (label @ self.shift)[broadcast]
        return scaled


class Projection(Labelled):
    """Projection discriminator: features h (N, F) -> logits score(h) + e(label) . h, (N, 1).

    Miyato and Koyama, 2018, eq. 3. `score` is a linear layer by default.
    """

    def __init__(self, features: int, classes: int, score: nn.Module | None = None) -> None:
        super().__init__()
        self.score = nn.Linear(features, 1) if score is None else score
        self.embedding = nn.Linear(classes, features, bias=False)

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        assert label is not None, "a conditional network needs labels"
        scores: Tensor = self.score(x) + (self.embedding(label.to(x.dtype)) * x).sum(1, keepdim=True)
        return scores


def scored(features: int, classes: int) -> nn.Module:
    """The last layer of a discriminator, (N, features) -> (N, 1): a projection if there are classes, else linear."""
    return Projection(features, classes) if classes else nn.Linear(features, 1)


# --- units and pooling ------------------------------------------------------------------------------------------------


class Maxout(nn.Module):
    """Maxout layer (Goodfellow et al., 2013): (N, inputs) -> (N, units), each the maximum of `pieces` linear maps."""

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.maps = nn.Linear(inputs, units * pieces)
        self.units = units

    def forward(self, x: Tensor) -> Tensor:
        largest: Tensor = self.maps(x).unflatten(1, (-1, self.units)).amax(1)
        return largest


class GlobalPool(nn.Module):
    """Global sum or mean pooling: (N, C, H, W) -> (N, C)."""

    def __init__(self, pool: Literal["sum", "mean"]) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3)) if self.pool == "sum" else x.mean((2, 3))


# --- normalization ----------------------------------------------------------------------------------------------------


def normalization(norm: Norm, channels: int, *, classes: int = 0, dims: int = 2) -> list[nn.Module]:
    """A normalization layer for `channels`, as a list of one layer, or of none if `norm` is "none".

    "batch" is BatchNorm1d for inputs (N, channels) if `dims` is 1, BatchNorm2d for (N, channels, H, W) if it is 2;
    "group" is GroupNorm for both. With `classes` the scales and shifts are those of the label (`ConditionalNorm`).
    """
    if norm == "none":
        return []
    affine = not classes
    layer: nn.Module
    if norm == "group":
        layer = nn.GroupNorm(groups(channels), channels, affine=affine)
    else:
        layer = (nn.BatchNorm1d if dims == 1 else nn.BatchNorm2d)(channels, affine=affine)
    return [ConditionalNorm(layer, channels, classes) if classes else layer]


def groups(channels: int) -> int:
    """The number of groups of a group normalization: 8, or the largest divisor of 8 that divides `channels`."""
    return math.gcd(8, channels)


# --- ranges -----------------------------------------------------------------------------------------------------------


def half_tanh(x: Tensor) -> Tensor:
    """tanh rescaled from (-1, 1) to (0, 1)."""
    return 0.5 * (torch.tanh(x) + 1)


class InRange(nn.Module):
    """Map outputs to the range of samples by `squash`, which maps to (0, 1); the identity without a range."""

    def __init__(self, bounds: Bounds, squash: Callable[[Tensor], Tensor] = half_tanh) -> None:
        super().__init__()
        self.bounds, self.squash = bounds, squash

    def forward(self, x: Tensor) -> Tensor:
        if self.bounds is None:
            return x
        low, high = self.bounds
        return low + (high - low) * self.squash(x)


class FromRange(nn.Module):
    """Rescale samples from their range to [0, 1]; the identity without a range."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__()
        self.bounds = bounds

    def forward(self, x: Tensor) -> Tensor:
        if self.bounds is None:
            return x
        low, high = self.bounds
        return (x - low) / (high - low)


# --- weight constraints -----------------------------------------------------------------------------------------------


class Orthogonal(nn.Module):
    """A parametrization that makes the rows of a weight, as a matrix (out, -1), orthonormal, or its columns if fewer.

    The Q of the QR decomposition, with the signs that make it unique; such a layer increases no norm. Brock et al.,
    2017, section 3.3, penalize the deviation instead; here the constraint holds exactly.
    """

    def forward(self, weight: Tensor) -> Tensor:
        flat = weight.flatten(1)
        wide = flat.shape[0] < flat.shape[1]
        q, r = torch.linalg.qr(flat.mT if wide else flat)
        q = q * torch.where(r.diagonal() < 0, -1.0, 1.0)
        orthogonal: Tensor = q.mT if wide else q
        return orthogonal.reshape(weight.shape)


def constrained(net: nn.Module, weights: WeightConstraint) -> nn.Module:
    """Constrain the weights of all linear and convolutional layers of a network in place and return the network.

    "spectral" divides a weight by its largest singular value, estimated by one power iteration per forward pass in
    training mode (Miyato et al., 2018, algorithm 1); its vectors are buffers. Call it after the weights have been
    initialized.
    """
    layers = [m for m in net.modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
    for layer in layers if weights != "free" else ():
        if weights == "spectral":
            spectral_norm(layer)
        else:
            parametrize.register_parametrization(layer, "weight", Orthogonal())
    return net


# --- sizes ------------------------------------------------------------------------------------------------------------


def halved(spec: Spec, networks: str) -> tuple[tuple[int, int], int]:
    """The sides (h, w) of an image after k halvings, and k, for networks with strides of two.

    The shorter side is b x 2^k with 4 <= b < 8 and k >= 1; the longer is any multiple of the same 2^k.
    Raises ValueError for samples of any other shape; its message begins with `networks`, "the dcgan networks".
    """
    if len(spec.shape) != 3:
        raise ValueError(f"{networks} generate images (C, H, W), not samples of shape {spec.shape}")
    height, width = spec.shape[1:]
    levels = _levels(min(height, width))
    if levels < 1 or height % 2**levels or width % 2**levels:
        near = sorted({_nearest(height, width, up) for up in (False, True)})
        raise ValueError(
            f"{networks} cannot generate {height}x{width}: the shorter side has to be b x 2^k with 4 <= b < 8 and "
            f"k >= 1, the longer a multiple of that 2^k; the nearest are {' and '.join(f'{h}x{w}' for h, w in near)} "
            f"(squares: --size {min(near[-1])})"
        )
    return (height >> levels, width >> levels), levels


def _levels(side: int) -> int:
    """The k of side = b x 2^k with 4 <= b < 8, where b need not be an integer."""
    return (side // 4).bit_length() - 1


def _nearest(height: int, width: int, up: bool) -> tuple[int, int]:
    """The nearest valid size (h, w) that is larger, if `up`, or smaller."""
    shorter = max(min(height, width), 8)
    unit = 2 ** _levels(shorter)
    if up:
        shorter = -(-shorter // unit) * unit
        unit = 2 ** _levels(shorter)
    h, w = ((max(side, shorter) + (unit - 1) * up) // unit * unit for side in (height, width))
    return h, w
