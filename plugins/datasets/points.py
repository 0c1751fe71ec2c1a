"""Mixtures of 2-D Gaussians, which show mode collapse (Metz et al., 2017, arXiv:1611.02163)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import torch

from aigc_zoo.data.samples import point_samples
from aigc_zoo.game import Samples
from aigc_zoo.spec import Range

RANGE = (-2.0, 2.0)
SEEDS = {"train": 1, "test": 2}


def ring(
    where: Path,
    *,
    modes: Annotated[int, Range(1, 1000)] = 8,
    count: Annotated[int, Range(1, 10_000_000)] = 50_000,
    std: Annotated[float, Range(0, 0.2)] = 0.02,
) -> Mapping[str, Samples]:
    """Gaussians with evenly spaced centers on the unit circle; the label is the mode.

    modes: number of Gaussians.
    count: number of training points; the test split has a fifth of them.
    std: standard deviation of each Gaussian along each axis.
    """
    angles = 2 * np.pi * np.arange(modes) / modes
    return mixture("ring", np.stack((np.cos(angles), np.sin(angles)), 1), count, std)


def grid(
    where: Path,
    *,
    side: Annotated[int, Range(1, 100)] = 5,
    count: Annotated[int, Range(1, 10_000_000)] = 50_000,
    std: Annotated[float, Range(0, 0.2)] = 0.02,
) -> Mapping[str, Samples]:
    """Gaussians with their centers on a square grid over [-1, 1] along each axis; the label is the mode.

    side: number of Gaussians along each side.
    count: number of training points; the test split has a fifth of them.
    std: standard deviation of each Gaussian along each axis.
    """
    steps = np.linspace(-1, 1, side) if side > 1 else np.zeros(1)
    return mixture("grid", np.stack(np.meshgrid(steps, steps), 2).reshape(-1, 2), count, std)


def mixture(name: str, centers: np.ndarray, count: int, std: float) -> dict[str, Samples]:
    """Points around `centers` (modes, 2), equally many around each up to rounding."""
    splits = {}
    for split, divisor in (("train", 1), ("test", 5)):
        labels = np.arange(max(1, count // divisor)) % len(centers)
        noise = np.random.Generator(np.random.PCG64(SEEDS[split])).standard_normal((len(labels), 2))
        # The stated range is at least five standard deviations from any center; clipping makes it exact.
        points = np.clip(centers[labels] + std * noise, *RANGE).astype(np.float32)
        splits[split] = point_samples(
            name,
            split,
            torch.from_numpy(points),
            torch.from_numpy(labels),
            [str(mode) for mode in range(len(centers))],
            bounds=RANGE,
        )
    return splits
