"""Gaussian mixtures in the plane, the classic pictures of mode collapse (as in Metz et al., arXiv:1611.02163)."""

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
    """Gaussians with their centres evenly on the unit circle; the label is the mode.

    modes: how many Gaussians.
    count: points to train on; the test split has a fifth of that.
    std: of each Gaussian, in either direction.
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
    """Gaussians with their centres on a square grid over [-1, 1] in either direction; the label is the mode.

    side: Gaussians along one side.
    count: points to train on; the test split has a fifth of that.
    std: of each Gaussian, in either direction.
    """
    steps = np.linspace(-1, 1, side) if side > 1 else np.zeros(1)
    return mixture("grid", np.stack(np.meshgrid(steps, steps), 2).reshape(-1, 2), count, std)


def mixture(name: str, centres: np.ndarray, count: int, std: float) -> dict[str, Samples]:
    """Points around `centres` (modes, 2), as many around each as the count allows."""
    splits = {}
    for split, share in (("train", 1), ("test", 5)):
        labels = np.arange(max(1, count // share)) % len(centres)
        noise = np.random.Generator(np.random.PCG64(SEEDS[split])).standard_normal((len(labels), 2))
        # The bounds are stated, so they hold, five deviations from any centre and more.
        points = np.clip(centres[labels] + std * noise, *RANGE).astype(np.float32)
        splits[split] = point_samples(
            name,
            split,
            torch.from_numpy(points),
            torch.from_numpy(labels),
            [str(mode) for mode in range(len(centres))],
            bounds=RANGE,
        )
    return splits
