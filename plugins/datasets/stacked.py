"""Stacked digits: three grey digits as the channels of an image, 1,000 modes (Metz et al., 2017, arXiv:1611.02163).

The number of modes that a generator covers is the usual measure of mode collapse for images.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from aigc_zoo.data import resolve
from aigc_zoo.data.samples import image_samples
from aigc_zoo.game import Samples

from .digits import digits
from .mnist import mnist

COUNTS = {"train": 48_000, "test": 12_000}
SEEDS = {"train": 3, "test": 4}
CHANNELS = 3


def stacked_digits(where: Path) -> Mapping[str, Samples]:
    """Stacks of the synthetic digits (N, 3, 28, 28) uint8; the label is the number that the three channels show."""
    return stacked("stacked-digits", digits(where))


def stacked_mnist(where: Path) -> Mapping[str, Samples]:
    """Stacks of MNIST digits (N, 3, 28, 28) uint8, from the files of the dataset `mnist`."""
    files = resolve.where("mnist") if where == resolve.where("stacked-mnist") else where.with_name("mnist")
    return stacked("stacked-mnist", mnist(files))


def stacked(name: str, source: Mapping[str, Samples]) -> dict[str, Samples]:
    """Images of three digits from the same split of `source`; each of the 1,000 numbers is equally frequent."""
    splits = {}
    for split, count in COUNTS.items():
        images, labels = source[split].fields["real"], source[split].fields["label"]
        stream = torch.Generator().manual_seed(SEEDS[split])
        numbers = torch.arange(count) % 10**CHANNELS
        rows_of_digit = [torch.nonzero(labels == digit)[:, 0] for digit in range(10)]
        channels = []
        for place in reversed(range(CHANNELS)):
            digits_at_place = numbers // 10**place % 10
            rows = torch.empty(count, dtype=torch.int64)
            for digit, candidates in enumerate(rows_of_digit):
                at_digit = digits_at_place == digit
                rows[at_digit] = candidates[torch.randint(len(candidates), (int(at_digit.sum()),), generator=stream)]
            channels.append(images[rows])
        classes = [f"{number:0{CHANNELS}}" for number in range(10**CHANNELS)]
        splits[split] = image_samples(name, split, torch.cat(channels, 1), numbers, classes, extractor="zoo-stacked28")
    return splits
