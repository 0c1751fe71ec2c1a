"""Paired data for translation: drawn digits and their edges; CIFAR-10 images and their grey values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from aigc_zoo.data.samples import image_samples, with_entries
from aigc_zoo.game import Samples

from .cifar import cifar10
from .digits import digits

SEEDS = {"train": 5, "test": 6}
MARGIN = 2
"""Black pixels around the digits, which makes 32x32 of 28x28."""

EDGE = 64
"""Least difference of neighbouring grey values at an edge, of 255."""


def digits_edges(where: Path) -> Mapping[str, Samples]:
    """Source: edges (1, 32, 32) of a digit. Real: the digit (3, 32, 32) in stripes of two tints, drawn per sample.

    The stripes' direction, width, phase and tints cannot be seen in the edges, so a regression of the real image
    predicts their mean, which is grey.
    """
    splits = {}
    for split, samples in digits(where).items():
        ink = F.pad(samples.fields["real"], (MARGIN,) * 4)
        names, labels = samples.classes, samples.fields["label"]
        real = image_samples("digits-edges", split, striped(ink, SEEDS[split]), labels, names, extractor="zoo-rgb32")
        splits[split] = with_entries(real, source=image_samples("digits-edges", split, edges(ink)))
    return splits


def grey_cifar(where: Path) -> Mapping[str, Samples]:
    """Source: grey values (1, 32, 32) of an image of CIFAR-10, by ITU-R BT.601. Real: the image (3, 32, 32)."""
    splits = {}
    for split, samples in cifar10(where.with_name("cifar10")).items():
        real = replace(samples, name="grey-cifar")
        splits[split] = with_entries(real, source=image_samples("grey-cifar", split, grey(samples.fields["real"])))
    return splits


def edges(ink: Tensor) -> Tensor:
    """255 where a grey value differs by at least a quarter from the one to the right or below, (N, 1, H, W) uint8."""
    values = F.pad(ink.to(torch.int16), (0, 1, 0, 1))
    here = values[..., :-1, :-1]
    steep = torch.maximum((values[..., :-1, 1:] - here).abs(), (values[..., 1:, :-1] - here).abs()) >= EDGE
    return steep.to(torch.uint8) * 255


def striped(ink: Tensor, seed: int) -> Tensor:
    """Digits (N, 1, H, W) in stripes of two tints, (N, 3, H, W) uint8; only sums and products, as in `digits`."""
    count, _, height, width = ink.shape
    raw = np.random.PCG64(seed).random_raw(count * 10)
    u = ((raw >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)).reshape(count, 10)[:, :, None, None]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    along = (u[:, 0] * 2 - 1) * x + (u[:, 1] * 2 - 1) * y
    place = along * (np.float32(0.1) + np.float32(0.15) * u[:, 2]) + u[:, 3]
    part = np.abs(place - np.floor(place) - np.float32(0.5)) * 2
    mix = np.clip(part * 4 - np.float32(1.5), 0, 1)[:, None]
    first, second = u[:, 4:7], u[:, 7:10]
    tint = np.float32(0.15) + np.float32(0.85) * (first * mix + second * (1 - mix))
    return torch.from_numpy((ink.numpy().astype(np.float32) * tint + np.float32(0.5)).astype(np.uint8))


def grey(images: Tensor) -> Tensor:
    """Luma (N, 1, H, W) uint8 of color images, in integers as Pillow computes it."""
    red, green, blue = images.to(torch.int32).unbind(1)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).to(torch.uint8)[:, None]
