"""Layers that networks of several families share: labels, ranges, constrained weights. None of them is a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from aigc_zoo.game import Spec

Weights = Literal["free", "spectral", "orthogonal"]
"""What weights may be: anything; of spectral norm 1; with orthonormal rows or columns."""

Bounds = tuple[float, float] | None


# --- labels -----------------------------------------------------------------------------------------------------------


class Labelled(nn.Module):
    """A layer that looks at the label, one-hot (N, classes) or None: `forward(x, label)`."""

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        raise NotImplementedError


class Layers(nn.Sequential):
    """Layers after one another; those that look at labels are handed them."""

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        for layer in self:
            x = layer(x, label) if isinstance(layer, Labelled) else layer(x)
        return x


class Concatenated(Labelled):
    """z (N, latent) -> (N, latent + classes), the label behind it (Mirza and Osindero, 2014, figure 1)."""

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        return x if label is None else torch.cat([x, label.to(x.dtype)], 1)


class ConditionalNorm(Labelled):
    """A normalisation without weights, then each class's own scale and shift (Dumoulin et al., 2017, section 2.2).

    (N, channels, ...) -> the same. Scales begin at 1, shifts at 0.
    """

    def __init__(self, norm: nn.Module, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = norm
        self.scale = nn.Parameter(torch.ones(classes, channels))
        self.shift = nn.Parameter(torch.zeros(classes, channels))

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        assert label is not None, "the game is conditional, so it hands labels on"
        label = label.to(self.scale.dtype)
        over = (..., *(None,) * (x.ndim - 2))
        scaled: Tensor = self.norm(x) * (label @ self.scale)[over] + (label @ self.shift)[over]
        return scaled


class Projection(Labelled):
    """Features h (N, F) -> logits (N, 1): score(h) + e(label) . h (Miyato and Koyama, 2018, eq. 3).

    `score` is linear where none is given.
    """

    def __init__(self, features: int, classes: int, score: nn.Module | None = None) -> None:
        super().__init__()
        self.score = nn.Linear(features, 1) if score is None else score
        self.embedding = nn.Linear(classes, features, bias=False)

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        assert label is not None, "the game is conditional, so it hands labels on"
        scores: Tensor = self.score(x) + (self.embedding(label.to(x.dtype)) * x).sum(1, keepdim=True)
        return scores


def scored(features: int, classes: int) -> nn.Module:
    """The last layer of a discriminator: one logit of the features, by projection where there are labels."""
    return Projection(features, classes) if classes else nn.Linear(features, 1)


# --- ranges -----------------------------------------------------------------------------------------------------------


def half_tanh(x: Tensor) -> Tensor:
    """tanh, moved from (-1, 1) to (0, 1)."""
    return 0.5 * (torch.tanh(x) + 1)


class InRange(nn.Module):
    """`squash`, which maps to (0, 1), moved to the range of the data; without a range, the identity."""

    def __init__(self, bounds: Bounds, squash: Callable[[Tensor], Tensor] = half_tanh) -> None:
        super().__init__()
        self.bounds, self.squash = bounds, squash

    def forward(self, x: Tensor) -> Tensor:
        if self.bounds is None:
            return x
        low, high = self.bounds
        return low + (high - low) * self.squash(x)


class FromRange(nn.Module):
    """The range of the data, moved to [0, 1]; without a range, the identity."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__()
        self.bounds = bounds

    def forward(self, x: Tensor) -> Tensor:
        if self.bounds is None:
            return x
        low, high = self.bounds
        return (x - low) / (high - low)


# --- weights ----------------------------------------------------------------------------------------------------------


class Orthogonal(nn.Module):
    """A weight (out, ...) as a matrix (out, the rest) -> one with orthonormal rows, or columns where there are fewer.

    It is the Q of the QR decomposition, with the signs that make it unique: such a layer lengthens nothing.
    (Brock et al., 2017, section 3.3, ask for it by a penalty; here it holds exactly.)
    """

    def forward(self, weight: Tensor) -> Tensor:
        flat = weight.flatten(1)
        wide = flat.shape[0] < flat.shape[1]
        q, r = torch.linalg.qr(flat.mT if wide else flat)
        q = q * torch.where(r.diagonal() < 0, -1.0, 1.0)
        found: Tensor = q.mT if wide else q
        return found.reshape(weight.shape)


def constrained(net: nn.Module, weights: Weights) -> nn.Module:
    """The network, with the weights of all its linear, convolutional and embedding layers kept spectral or orthogonal.

    Spectral: divided by their largest singular value, by one power iteration a forward pass while training (Miyato et
    al., 2018, algorithm 1); its vectors are buffers. Initial weights must stand.
    """
    layers = [m for m in net.modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
    for layer in layers if weights != "free" else ():
        if weights == "spectral":
            spectral_norm(layer)
        else:
            parametrize.register_parametrization(layer, "weight", Orthogonal())
    return net


# --- sizes ------------------------------------------------------------------------------------------------------------


def halved(spec: Spec, who: str) -> tuple[tuple[int, int], int]:
    """The sides (h, w) that are left of an image after k halvings, and k.

    The shorter side is b x 2^k with 4 <= b < 8 and k >= 1; the longer is any multiple of the same 2^k. Raises
    ValueError, in the name of `who`, for samples of another form.
    """
    if len(spec.shape) != 3:
        raise ValueError(f"{who} make images (C, H, W), not samples of shape {spec.shape}")
    height, width = spec.shape[1:]
    levels = _levels(min(height, width))
    if levels < 1 or height % 2**levels or width % 2**levels:
        near = sorted({_nearest(height, width, up) for up in (False, True)})
        raise ValueError(
            f"{who} cannot make {height}x{width}: the shorter side has to be b x 2^k with 4 <= b < 8 and "
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


def groups(channels: int) -> int:
    """Groups of a group normalisation: 8, or fewer where the channels do not divide."""
    return math.gcd(8, channels)
