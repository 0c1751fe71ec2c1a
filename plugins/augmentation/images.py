"""Differentiable augmentations of images (N, C, H, W), in whose range 0 is gray.

Their random numbers are uniform in [0, 1) and come from the batch.
"""

from typing import Annotated

import torch
from torch import Tensor

from aigc_zoo.game import Noisy
from aigc_zoo.spec import Range


class Uniform(Noisy):
    """Base class of augmentations that need `numbers` uniform random numbers per sample."""

    numbers: int

    def draw(self, real: Tensor) -> Tensor:
        if real.ndim != 4:
            raise ValueError(f"augmentations of images need (N, C, H, W), not samples of shape {tuple(real.shape[1:])}")
        return torch.rand(len(real), self.numbers)


class Flip(Uniform):
    """Horizontal flip with probability 1/2."""

    numbers = 1

    def __init__(self) -> None:  # The options are read from this source, without torch.
        super().__init__()

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return torch.where((noise < 0.5)[:, :, None, None], x.flip(3), x)


class DiffAugment(Uniform):
    """DiffAugment: color, then translation, then cutout (Zhao et al., 2020, arXiv:2006.10738, section 3.3 and code).

    color: add up to 0.5 to the brightness, scale saturation by 0 to 2 and contrast by 0.5 to 1.5.
    translation: largest shift, as a fraction of each side; gray pixels fill the gap.
    cutout: size of the gray box, as a fraction of each side; 0 disables it.
    """

    numbers = 7

    def __init__(
        self,
        *,
        color: bool = True,
        translation: Annotated[float, Range(0, 1)] = 0.125,
        cutout: Annotated[float, Range(0, 1)] = 0.5,
    ) -> None:
        super().__init__()
        self.color, self.translation, self.cutout = color, translation, cutout

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        u = noise.to(x.dtype)
        if self.color:
            x = _colored(x, u[:, :3, None, None])
        if self.translation:
            x = _translated(x, u[:, 3:5], self.translation)
        return x * _cutout_mask(x, u[:, 5:7], self.cutout) if self.cutout else x


def _colored(x: Tensor, u: Tensor) -> Tensor:
    """Changes brightness, saturation and contrast by the numbers u (N, 3, 1, 1)."""
    x = x + (u[:, 0:1] - 0.5)
    gray = x.mean(1, keepdim=True)
    x = gray + (x - gray) * (2 * u[:, 1:2])
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (0.5 + u[:, 2:3])


def _translated(x: Tensor, u: Tensor, fraction: float) -> Tensor:
    """Shifts each image by whole pixels, by -fraction to fraction of its sides, and fills with zeros."""
    n, _, *sides = x.shape
    for axis, side in enumerate(sides):
        limit = round(fraction * side)
        shift = (u[:, axis] * (2 * limit + 1)).floor().long() - limit
        rows = torch.arange(side, device=x.device) + shift[:, None]  # (N, side): the source of each pixel
        index = rows.clamp(0, side - 1)
        inside = (rows == index).to(x.dtype)
        view = (n, 1, side, 1) if axis == 0 else (n, 1, 1, side)
        x = x.gather(2 + axis, index.view(view).expand_as(x)) * inside.view(view)
    return x


def _cutout_mask(x: Tensor, u: Tensor, fraction: float) -> Tensor:
    """A mask (N, 1, H, W): 0 in a box of `fraction` of each side, centered at a random pixel, and 1 elsewhere."""
    outside = []
    for axis, side in enumerate(x.shape[2:]):
        size = round(fraction * side)
        first = (u[:, axis] * (side + 1 - size % 2)).floor() - size // 2
        offset = torch.arange(side, device=x.device)[None] - first[:, None]
        outside.append((offset < 0) | (offset >= size))
    rows, columns = outside
    return (rows[:, None, :, None] | columns[:, None, None, :]).to(x.dtype)
