"""Trains the weights of zoo-rgb32: `python -m aigc_zoo_plugins.extractors.train_rgb32 --out FILE --data CIFAR10`.

The classifier learns CIFAR-10, given as a path or a dataset's name, with pictures mirrored, shifted by up to two pixels
and half of them with noise, for the reason that `train_grey28` gives. One seed and one number of threads give the same
weights; about ten minutes of one core.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import train_grey28
from .rgb32 import Rgb32

EPOCHS = 6


def main(arguments: Sequence[str] | None = None) -> None:
    train_grey28.main(arguments, network=Rgb32, data=("cifar10",), epochs=EPOCHS, augment=mirrored, about=__doc__)


def mirrored(images: Tensor) -> Tensor:
    """Pictures (N, C, H, W) moved, half of them mirrored."""
    moved = train_grey28.shifted(images)
    return torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, moved.flip(3), moved)


if __name__ == "__main__":
    main()
