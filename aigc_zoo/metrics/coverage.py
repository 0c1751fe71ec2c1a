"""Coverage metrics: modes, density and coverage, near-duplicates and memorization of training samples."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from aigc_zoo.errors import DataError

NEIGHBOURS = 5
"""Neighbours for density and coverage, as proposed by Naeem et al., 2020."""

NEAR = 0.01
"""Two samples are near-duplicates if they are closer than this quantile of the data's nearest-neighbour distances."""

REPEATS = 0.1
"""Data of which more than this fraction has a near-duplicate repeat by nature: then it matters how often."""

FEW = 2_048
"""Number of training samples from which the distance of near-duplicates is estimated for the training gap."""

LEAST, SIGMAS = 20, 3.0
"""A mode of a mixture counts as found with this many of about 2,500 points within this many standard deviations."""


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


# --- distances between features ---------------------------------------------------------------------------------------


def density_coverage(generated: Tensor, reference: Tensor, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Density and coverage (Naeem et al., 2020) of features (N, D) with respect to reference features (M, D).

    Both use the balls around the reference features that reach their k-th neighbour. Density is the mean number of
    balls that contain a sample, divided by k: about 1 for real samples, more where samples crowd the centre of the
    distribution. Coverage is the fraction of balls that contain a sample. A ball around a feature that is repeated more
    than k times contains samples that are equal to it.
    """
    if len(reference) <= neighbours:
        raise DataError(f"density and coverage need more than {neighbours} reference samples, not {len(reference)}")
    inside, covered = 0, 0
    reference, generated = reference.double(), generated.double()
    equal = _tolerance(reference)
    for chunk in torch.split(reference, 1_024):
        radius = _smallest(chunk, reference, neighbours + 1)[:, -1:].clamp(
            min=equal
        )  # the nearest neighbour is the sample itself
        hits = torch.cdist(chunk, generated) < radius
        inside += int(hits.sum())
        covered += int(hits.any(1).sum())
    return inside / (neighbours * len(generated)), covered / len(reference)


class NearDuplicates(NamedTuple):
    """Near-duplicates among samples, and among equally many samples of the data.

    rate      fraction of samples that have a near-duplicate
    data      the same fraction of the data: about 0.01, more for data that repeat by nature
    crowding  samples within the near-duplicates' distance of a sample, itself included, over the same number of the
              data; 1 for data that do not repeat
    """

    rate: float
    data: float
    crowding: float = 1.0


def near_duplicates(generated: Tensor, reference: Tensor) -> NearDuplicates:
    """Near-duplicates among samples (N, D): about 0.01 of real samples, 1 for a few repeated ones.

    A near-duplicate is another sample that is as close as only 1 % of the nearest neighbours in the reference (M, D)
    are. As many reference samples are used as there are generated ones, since neighbours are closer among more. In a
    reference with repeated samples the nearest neighbours are the nearest ones that differ.
    """
    count = min(len(generated), len(reference))
    generated, reference = generated[:count].double(), reference[:count].double()
    apart = _smallest(reference, reference, 2)[:, 1]
    near = _near(reference, apart)
    rate, data = (
        float((distances <= near).double().mean()) for distances in (_smallest(generated, generated, 2)[:, 1], apart)
    )
    if data <= REPEATS:
        return NearDuplicates(rate, data)
    return NearDuplicates(rate, data, _within(generated, near) / _within(reference, near))


def _near(reference: Tensor, apart: Tensor) -> float:
    """The distance up to which two samples are near-duplicates, from the nearest neighbours' distances `apart` (M,)."""
    equal = _tolerance(reference)
    near = float(apart.quantile(NEAR))
    if near <= equal:
        near = float(_nearest_different(reference, equal).quantile(NEAR))
    return max(near, equal) if math.isfinite(near) else equal


def _tolerance(features: Tensor) -> float:
    """The distance below which features (N, D) are equal: about the rounding of distances that matrix products give."""
    return max(1e-6, 5e-7 * float(features.norm(dim=1).max()))


def _nearest_different(points: Tensor, equal: float) -> Tensor:
    """Distances (N,) of points (N, D) to the nearest of them that is further away than `equal`; infinite for none."""
    found = []
    for chunk in torch.split(points, 1_024):
        distances = torch.cdist(chunk, points)
        found.append(distances.masked_fill(distances <= equal, torch.inf).min(1).values)
    return torch.cat(found)


def _within(points: Tensor, radius: float) -> float:
    """The mean number of points (N, D) within `radius` of a point, itself included."""
    return sum(int((torch.cdist(c, points) <= radius).sum()) for c in torch.split(points, 1_024)) / len(points)


def nearest(generated: Tensor, reference: Tensor, count: int = 1) -> tuple[Tensor, Tensor]:
    """Distances (N, count) and reference rows (N, count) of the nearest of (M, D) to each of the samples (N, D)."""
    found = [
        torch.cdist(chunk, reference.double()).topk(count, largest=False)
        for chunk in torch.split(generated.double(), 256)
    ]
    return torch.cat([one.values for one in found]), torch.cat([one.indices for one in found])


def training_gap(generated: Tensor, train: Tensor, held_out: Tensor) -> float:
    """Median distance of samples to the nearest training sample over that of held-out samples (N, D), (M, D), (K, D).

    About 1 for samples that are as new as held-out ones, 0 for memorized training samples (after the three-sample test
    of Meehan et al., 2020). If held-out samples repeat training samples, the distance of near-duplicates is the least
    that counts: samples that do the same have 1.
    """
    ours, theirs = (float(nearest(features, train)[0].median()) for features in (generated, held_out))
    if theirs <= _tolerance(train):  # most held-out samples repeat training samples
        some = train[:: max(1, len(train) // FEW)].double()
        theirs = _near(some, _smallest(some, some, 2)[:, 1])
        ours = max(ours, theirs)
    return ours / theirs


def _smallest(points: Tensor, others: Tensor, count: int) -> Tensor:
    """The `count` smallest distances (N, count) of each point (N, D) to the others (M, D), in ascending order."""
    count = min(count, len(others))
    return torch.cat(
        [torch.cdist(chunk, others).topk(count, largest=False).values for chunk in torch.split(points, 1_024)]
    )
