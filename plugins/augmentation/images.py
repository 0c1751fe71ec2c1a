"""Augmentations of images (N, C, H, W) whose grey is 0, by uniform numbers that arrive with the batch."""

from typing import Annotated

import torch
from torch import Tensor

from aigc_zoo.game import Noisy
from aigc_zoo.spec import Range


class Uniform(Noisy):
    """An augmentation by so many uniform numbers a sample."""

    numbers: int

    def draw(self, real: Tensor) -> Tensor:
        if real.ndim != 4:
            raise ValueError(f"augmentations of images need (N, C, H, W), not samples of shape {tuple(real.shape[1:])}")
        return torch.rand(len(real), self.numbers)


class Flip(Uniform):
    """Left and right exchanged in half of the images."""

    numbers = 1

    def __init__(self) -> None:  # stated here, where its options are read without torch
        super().__init__()

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return torch.where((noise < 0.5)[:, :, None, None], x.flip(3), x)


class DiffAugment(Uniform):
    """Brightness, saturation and contrast, then translation, then cutout (Zhao et al., 2020, section 3.3 and code).

    color: brightness moved by up to 0.5, saturation 0 to 2 times, contrast 0.5 to 1.5 times what it was.
    translation: moved by up to this share of each side, grey coming in.
    cutout: a box of this share of each side, anywhere, becomes grey.
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
            x = _coloured(x, u[:, :3, None, None])
        if self.translation:
            x = _moved(x, u[:, 3:5], self.translation)
        return x * _kept(x, u[:, 5:7], self.cutout) if self.cutout else x


def _coloured(x: Tensor, u: Tensor) -> Tensor:
    x = x + (u[:, 0:1] - 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (2 * u[:, 1:2])
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (0.5 + u[:, 2:3])


def _moved(x: Tensor, u: Tensor, share: float) -> Tensor:
    """Each image by whole pixels, from -share to share of its sides; zeros come in."""
    n, _, *sides = x.shape
    for axis, side in enumerate(sides):
        most = round(share * side)
        shift = (u[:, axis] * (2 * most + 1)).floor().long() - most
        rows = torch.arange(side, device=x.device) + shift[:, None]  # (N, side): where each pixel comes from
        index = rows.clamp(0, side - 1)
        inside = (rows == index).to(x.dtype)
        view = (n, 1, side, 1) if axis == 0 else (n, 1, 1, side)
        x = x.gather(2 + axis, index.view(view).expand_as(x)) * inside.view(view)
    return x


def _kept(x: Tensor, u: Tensor, share: float) -> Tensor:
    """1, and 0 in a box of `share` of each side whose centre is anywhere: (N, 1, H, W)."""
    outside = []
    for axis, side in enumerate(x.shape[2:]):
        size = round(share * side)
        first = (u[:, axis] * (side + 1 - size % 2)).floor() - size // 2
        place = torch.arange(side, device=x.device)[None] - first[:, None]
        outside.append((place < 0) | (place >= size))
    rows, columns = outside
    return (rows[:, None, :, None] | columns[:, None, None, :]).to(x.dtype)
