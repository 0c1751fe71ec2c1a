"""How samples cover a distribution: modes, density and coverage, duplicates, and whether they are copies."""

from __future__ import annotations

import torch
from torch import Tensor

from aigc_zoo.errors import DataError

NEIGHBOURS = 5
"""Of density and coverage, as their authors propose."""

NEAR = 0.01
"""Two samples are duplicates when they are nearer to each other than this share of the data's own neighbours are."""

LEAST, SIGMAS = 20, 3.0
"""A mode of a mixture counts with so many points within so many deviations, of about 2,500 points."""


def modes_found(points: Tensor, centres: Tensor, std: float, *, least: int = LEAST, sigmas: float = SIGMAS) -> int:
    """How many of the `centres` (modes, d) have at least `least` of the `points` (N, d) within `sigmas` * `std`."""
    return int((mode_counts(points, centres, std, sigmas=sigmas) >= least).sum())


def mode_counts(points: Tensor, centres: Tensor, std: float, *, sigmas: float = SIGMAS) -> Tensor:
    """Points (N, d) within `sigmas` * `std` of the `centres` (modes, d), each counted for the nearest: (modes,).

    Points that are near no centre, or not finite, count for none.
    """
    counts = torch.zeros(len(centres), dtype=torch.int64)
    reach = sigmas * std
    for part in torch.split(points.detach().cpu().double(), 4_096):
        distance, nearest = torch.cdist(part, centres.cpu().double()).min(1)
        counts += torch.bincount(nearest[distance <= reach], minlength=len(centres))
    return counts


def mixture_of(points: Tensor, labels: Tensor, modes: int) -> tuple[Tensor, float]:
    """Centres (modes, d) and common deviation of labelled points (N, d): their means, and the root of the mean square.

    Of 50,000 points around 8 centres a mean is off by about a hundredth of the deviation.
    """
    points = points.double()
    counts = torch.bincount(labels, minlength=modes).clamp(min=1)
    centres = torch.zeros(modes, points.shape[1], dtype=torch.float64).index_add_(0, labels, points) / counts[:, None]
    return centres, float((points - centres[labels]).square().mean().sqrt())


def divergence(counts: Tensor, expected: Tensor | None = None) -> float:
    """KL(p || q) in nats, p the shares of `counts` (modes,) and q those of `expected`, uniform where it is None.

    Infinite where nothing was counted, or samples are of modes that are not expected. It is biased upwards by about
    (modes - 1) / 2N, so compare equal numbers of samples.
    """
    p = counts.double()
    q = torch.ones_like(p) if expected is None else expected.double()
    if not float(p.sum()):
        return float("inf")
    p, q = p / p.sum(), q / q.sum()
    seen = p > 0
    return float((p[seen] * (p[seen] / q[seen]).log()).sum())


# --- distances between features ---------------------------------------------------------------------------------------


def density_coverage(generated: Tensor, reference: Tensor, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Density and coverage of features (N, D), (M, D), over the balls that reach each real one's k-th neighbour.

    Density counts in how many balls a sample lies, over k: 1 for real ones, more where samples crowd the middle.
    Coverage is the share of balls that hold a sample (Naeem et al., 2020).
    """
    if len(reference) <= neighbours:
        raise DataError(f"density and coverage need more than {neighbours} pictures of the data, not {len(reference)}")
    inside, covered = 0, 0
    reference, generated = reference.double(), generated.double()
    for part in torch.split(reference, 1_024):
        radius = _smallest(part, reference, neighbours + 1)[:, -1:]  # the nearest of all is the picture itself
        hits = torch.cdist(part, generated) < radius
        inside += int(hits.sum())
        covered += int(hits.any(1).sum())
    return inside / (neighbours * len(generated)), covered / len(reference)


def duplicate_rate(generated: Tensor, reference: Tensor) -> float:
    """The share of samples (N, D) with another one as near as only 1 % of the data (M, D) have: about 0.01 for real
    ones, 1 for a generator that repeats a few pictures.

    As many of the data are taken as there are samples, since neighbours are nearer among more.
    """
    count = min(len(generated), len(reference))
    generated, reference = generated[:count].double(), reference[:count].double()
    near = _smallest(reference, reference, 2)[:, 1].quantile(NEAR)
    # Equal pictures have equal features up to the rounding of a distance.
    return float((_smallest(generated, generated, 2)[:, 1] <= near.clamp(min=1e-6)).double().mean())


def nearest(generated: Tensor, reference: Tensor, count: int = 1) -> tuple[Tensor, Tensor]:
    """Distances (N, count) and rows (N, count) of the nearest of the reference (M, D) to each of the samples (N, D)."""
    found = [
        torch.cdist(part, reference.double()).topk(count, largest=False)
        for part in torch.split(generated.double(), 256)
    ]
    return torch.cat([one.values for one in found]), torch.cat([one.indices for one in found])


def training_gap(generated: Tensor, train: Tensor, held_out: Tensor) -> float:
    """How near samples are to the training pictures, over how near held-out ones are: the ratio of median distances.

    About 1 for samples that are as new as held-out pictures, 0 for copies (after the three-sample test of Meehan et
    al., 2020). Features (N, D), (M, D), (K, D).
    """
    ours, theirs = (nearest(part, train)[0].median() for part in (generated, held_out))
    return float(ours / theirs.clamp(min=1e-12))


def _smallest(points: Tensor, others: Tensor, count: int) -> Tensor:
    """The `count` smallest distances (N, count) of each point (N, D) to the others (M, D), in order."""
    count = min(count, len(others))
    return torch.cat(
        [torch.cdist(part, others).topk(count, largest=False).values for part in torch.split(points, 1_024)]
    )
