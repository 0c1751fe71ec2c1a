"""Coverage metrics: modes, density and coverage, near-duplicates and memorization of training samples."""

from __future__ import annotations

import torch
from torch import Tensor

from aigc_zoo.errors import DataError

NEIGHBOURS = 5
"""Neighbours for density and coverage, as proposed by Naeem et al., 2020."""

NEAR = 0.01
"""Two samples are near-duplicates if they are closer than this quantile of the data's nearest-neighbour distances."""

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


# --- distances between features ---------------------------------------------------------------------------------------


def density_coverage(generated: Tensor, reference: Tensor, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Density and coverage (Naeem et al., 2020) of features (N, D) with respect to reference features (M, D).

    Both use the balls around the reference features that reach their k-th neighbour. Density is the mean number of
    balls that contain a sample, divided by k: about 1 for real samples, more where samples crowd the centre of the
    distribution. Coverage is the fraction of balls that contain a sample.
    """
    if len(reference) <= neighbours:
        raise DataError(f"density and coverage need more than {neighbours} reference samples, not {len(reference)}")
    inside, covered = 0, 0
    reference, generated = reference.double(), generated.double()
    for chunk in torch.split(reference, 1_024):
        radius = _smallest(chunk, reference, neighbours + 1)[:, -1:]  # the nearest neighbour is the sample itself
        hits = torch.cdist(chunk, generated) < radius
        inside += int(hits.sum())
        covered += int(hits.any(1).sum())
    return inside / (neighbours * len(generated)), covered / len(reference)


def duplicate_rate(generated: Tensor, reference: Tensor) -> float:
    """Fraction of samples (N, D) that have a near-duplicate: about 0.01 for real samples, 1 for a few repeated ones.

    A near-duplicate is another sample that is as close as only 1 % of the nearest neighbours in the reference (M, D)
    are. As many reference samples are used as there are generated ones, since neighbours are closer among more.
    """
    count = min(len(generated), len(reference))
    generated, reference = generated[:count].double(), reference[:count].double()
    near = _smallest(reference, reference, 2)[:, 1].quantile(NEAR)
    # Equal images have equal features up to the rounding of a distance.
    return float((_smallest(generated, generated, 2)[:, 1] <= near.clamp(min=1e-6)).double().mean())


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
    of Meehan et al., 2020).
    """
    ours, theirs = (nearest(features, train)[0].median() for features in (generated, held_out))
    return float(ours / theirs.clamp(min=1e-12))


def _smallest(points: Tensor, others: Tensor, count: int) -> Tensor:
    """The `count` smallest distances (N, count) of each point (N, D) to the others (M, D), in ascending order."""
    count = min(count, len(others))
    return torch.cat(
        [torch.cdist(chunk, others).topk(count, largest=False).values for chunk in torch.split(points, 1_024)]
    )
