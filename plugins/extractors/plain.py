"""Features without a network: coordinates of points, and pixels of images for which no extractor is chosen."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .inputs import refusal

SIDE = 8
"""Largest side of the images that pixels are compared at."""


class Points(nn.Module):
    """Identity: (N, 2) -> features (N, 2)."""

    num = 2_500

    def forward(self, points: Tensor) -> dict[str, Tensor]:
        return {"features": points.flatten(1) if points.is_floating_point() else points.flatten(1).float()}


class Pixels(nn.Module):
    """Images reduced to at most 8x8 pixels by averaging: (N, C, H, W) -> features (N, 64 C) from 0 to 1.

    These are the pixels of any image, however large, so fewer images are read than for a network.
    """

    num, reference_num = 512, 4_096

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        if images.ndim != 4 or not (images.dtype == torch.uint8 or images.is_floating_point()):
            raise refusal(
                "pixels accepts images (N, C, H, W),", images, "choose another extractor with --extractor NAME"
            )
        height, width = images.shape[2:]
        values = (images + 1) / 2 if images.is_floating_point() else images.float() / 255
        small = nn.functional.adaptive_avg_pool2d(values, (min(height, SIDE), min(width, SIDE)))
        return {"features": small.flatten(1)}


def points() -> nn.Module:
    """The coordinates of points."""
    return Points()


def pixels() -> nn.Module:
    """Averages of pixels."""
    return Pixels()
