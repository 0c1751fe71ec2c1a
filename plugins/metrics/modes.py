"""Modes: classes that a classifier finds, or centres of a mixture, and the divergence of their frequencies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.metric import Measured, Metric, Record, Value, View

from .neighbours import of_data

LEAST, SIGMAS = 20, 3.0
"""A mode of a mixture counts as found with this many of about 2,500 points within this many standard deviations."""


def modes() -> Metric:
    """Classes of the data that a classifier finds among samples."""

    def measure(view: View) -> Mapping[str, Measured]:
        found = view.predictions()
        counts = torch.bincount(found[found >= 0], minlength=view.spec.classes)
        expected = view.class_counts().double()
        settings = {"of": view.spec.classes, "least": 1}
        return _measured(view, counts, expected, expected, int(expected.sum()), settings)

    return Metric(VALUES, measure, needs=frozenset({"logits", "labels"}))


def mixture() -> Metric:
    """Modes of a mixture of points, each around the mean of one label."""

    def measure(view: View) -> Mapping[str, Measured]:
        points = view.features("reference")
        centres, std = mixture_of(points, view.labels(), view.spec.classes)
        settings = {"of": view.spec.classes, "least": LEAST, "sigmas": SIGMAS, "std": round(std, 4)}
        counts, shown = (mode_counts(one, centres, std) for one in (view.features(), points))
        return _measured(view, counts, view.class_counts().double(), shown, len(points), settings)

    return Metric(VALUES, measure, ("points",), needs=frozenset({"features", "labels"}))


def _measured(
    view: View, counts: Tensor, expected: Tensor, shown: Tensor, total: int, settings: Mapping[str, Any]
) -> Mapping[str, Measured]:
    """Modes with the least number of samples, and the divergence of `counts` (modes,) from the expected ones.

    `shown` are the counts of `total` real samples, from which the number of modes that real samples miss is estimated.
    """
    missing = expected_missing(shown, view.num, total, settings["least"])
    found = int((counts >= settings["least"]).sum())
    return {
        "modes": Measured(found, settings=settings, data={"value": view.spec.classes - missing}),
        "kl": Measured(divergence(counts, expected), settings=settings),
    }


def missing_modes(modes: float, record: Record) -> str:
    """The sentence for missing modes. The number of those that real samples miss varies by about its root."""
    total = int(record["protocol"]["settings"]["of"])
    missing = total - of_data(record, "value", total)
    if total - modes <= missing + 3 * math.sqrt(missing):
        return ""
    shown = f", and {total - missing:,.0f} in equally many real samples" if missing > 0.5 else ""
    return f"collapse: {modes:,.0f} of {total:,} modes found{shown}"


VALUES = (
    Value("modes", "modes found", "higher", warn=missing_modes, alarm="missing modes", counts=True),
    Value("kl", "KL of the modes", "lower", 0.0),
)


def mode_counts(points: Tensor, centres: Tensor, std: float, *, sigmas: float = SIGMAS) -> Tensor:
    """Count the points (N, d) within `sigmas * std` of their nearest centre (modes, d). Returns counts (modes,).

    Points that are near no centre and non-finite points are not counted.
    """
    counts = torch.zeros(len(centres), dtype=torch.int64)
    radius = sigmas * std
    for chunk in torch.split(points.detach().cpu().double(), 4_096):
        distance, nearest = torch.cdist(chunk, centres.cpu().double()).min(1)
        counts += torch.bincount(nearest[distance <= radius], minlength=len(centres))
    return counts


def mixture_of(points: Tensor, labels: Tensor, modes: int) -> tuple[Tensor, float]:
    """Estimate the centres (modes, d) and the common standard deviation of a mixture from labelled points (N, d).

    The centres are the means per label, the deviation is the root mean square distance to them per coordinate. With
    50,000 points around 8 centres the error of a mean is about a hundredth of the deviation.
    """
    points = points.double()
    counts = torch.bincount(labels, minlength=modes).clamp(min=1)
    centres = torch.zeros(modes, points.shape[1], dtype=torch.float64).index_add_(0, labels, points) / counts[:, None]
    return centres, float((points - centres[labels]).square().mean().sqrt())


def divergence(counts: Tensor, expected: Tensor | None = None) -> float:
    """KL(p || q) in nats, where p is `counts` (modes,) normalized and q is `expected` normalized, uniform if None.

    The result is infinite if all counts are zero or if a mode with samples has no expected ones. It is biased upwards
    by about (modes - 1) / 2N, so only equal numbers of samples compare.
    """
    p = counts.double()
    q = torch.ones_like(p) if expected is None else expected.double()
    if not float(p.sum()):
        return float("inf")
    p, q = p / p.sum(), q / q.sum()
    support = p > 0
    return float((p[support] * (p[support] / q[support]).log()).sum())


def expected_missing(counts: Tensor, num: int, total: int, least: int) -> float:
    """The mean number of modes that `num` real samples miss, from the counts (modes,) of `total` real samples.

    A mode is missed by fewer than `least` samples; their number has a Poisson distribution.
    """
    rates = counts.double() * (num / max(1, total))
    return float(torch.special.gammaincc(torch.tensor(float(least), dtype=torch.float64), rates).sum())
