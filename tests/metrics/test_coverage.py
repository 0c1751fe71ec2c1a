"""Modes of mixtures: which samples count, and the divergence of uneven frequencies."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from aigc_zoo.random import generator
from aigc_zoo_plugins.metrics.modes import LEAST, divergence, mixture_of, mode_counts


def ring(modes: int = 8) -> Tensor:
    angles = 2 * math.pi * torch.arange(modes) / modes
    return torch.stack((angles.cos(), angles.sin()), 1)


def around(centres: Tensor, each: int, std: float) -> Tensor:
    points = centres.repeat_interleave(each, 0)
    return points + std * torch.randn(points.shape, generator=generator("around"))


def modes_found(points: Tensor, *, least: int = LEAST, sigmas: float = 3.0) -> int:
    return int((mode_counts(points, ring(), 0.02, sigmas=sigmas) >= least).sum())


def test_real_samples_find_every_mode() -> None:
    points = around(ring(), 312, 0.02)
    assert modes_found(points) == 8
    counts = mode_counts(points, ring(), 0.02)
    # 1 - exp(-9/2) = 98.9 % of a normal distribution in the plane are within three standard deviations.
    assert float(counts.sum()) / len(points) == pytest.approx(0.989, abs=0.01)


def test_a_mode_counts_from_twenty_samples_on() -> None:
    points = ring()[[0] * 20 + [1] * 19]
    assert modes_found(points) == 1
    assert modes_found(points, least=19) == 2


def test_samples_between_the_modes_are_not_counted() -> None:
    points = torch.zeros(500, 2)
    assert modes_found(points) == 0
    assert modes_found(points, sigmas=60) == 1, "a point counts only for the nearest centre"
    points[0] = float("nan")
    assert int(mode_counts(points, ring(), 0.02, sigmas=60).sum()) == 499


def test_centres_and_deviation_are_estimated_from_labelled_points() -> None:
    labels = torch.arange(8).repeat_interleave(2_000)
    centres, std = mixture_of(around(ring(), 2_000, 0.02), labels, 8)
    assert torch.allclose(centres.float(), ring(), atol=0.003)
    assert std == pytest.approx(0.02, rel=0.02)


def test_divergence_matches_closed_forms() -> None:
    assert divergence(torch.tensor([5, 5, 5, 5])) == pytest.approx(0)
    assert divergence(torch.tensor([7, 0, 0, 0])) == pytest.approx(math.log(4)), "one of four modes"
    assert divergence(torch.tensor([3, 1]), torch.tensor([0.75, 0.25])) == pytest.approx(0)
    assert divergence(torch.tensor([1, 1]), torch.tensor([1.0, 0.0])) == math.inf
    assert divergence(torch.zeros(4)) == math.inf
