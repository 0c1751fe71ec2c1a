"""Density and coverage, variance, near-duplicates and memorization: distances between features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from aigc_zoo.errors import DataError
from aigc_zoo.metric import Measured, Metric, Record, Value, View

from .fidelity import reference_statistics, refuses

NEIGHBOURS = 5
"""Neighbours for density and coverage, as proposed by Naeem et al., 2020."""

NEAR = 0.01
"""Two samples are near-duplicates if they are closer than this quantile of the data's nearest-neighbour distances."""

REPEATS = 0.1
"""Data of which more than this fraction has a near-duplicate repeat by nature: then it matters how often."""

FEW = 2_048
"""Number of training samples from which the distance of near-duplicates is estimated for the training gap."""

DUPLICATES, VARIANCE_RATIO, GAP, CROWDING = 0.1, 1 / 3, 0.5, 3.0
"""Thresholds of the warnings, relative to the values of real samples.

A tenth more near-duplicates, three times as many of each sample, a third of the variance or half of the distance to
training samples are far beyond chance. Real images of a single digit of MNIST have 0.09 to 0.30 of the variance; early
samples of a generator that draws all ten digits were measured from 0.42 on.
"""

ENOUGH = 20
"""With fewer samples, or fewer of the data, the rate of near-duplicates is chance."""

REAL_DUPLICATES = 0.01


def dac() -> Metric:
    """Density and coverage (Naeem et al., 2020) against as many reference samples as there are samples."""

    def measure(view: View) -> Mapping[str, Measured]:
        values = density_coverage(view.features(), view.features("reference", view.num))
        settings = {"neighbours": NEIGHBOURS}
        return {name: Measured(one, None, settings) for name, one in zip(("density", "coverage"), values, strict=True)}

    values = (Value("density", "density", "higher", scale=1.0), Value("coverage", "coverage", "higher", scale=1.0))
    return Metric(values, measure, least=lambda dimensions: 6, fewest=6)


def variance_ratio() -> Metric:
    """Variance of features over that of the reference, and of as many reference samples."""

    def measure(view: View) -> Mapping[str, Measured]:
        total = reference_statistics(view).sigma.trace()
        ratio, data = (
            float(values.double().var(0).sum() / total)
            for values in (view.features(), view.features("reference", view.num))
        )
        return {"variance-ratio": Measured(ratio, data={"value": data})}

    value = Value("variance-ratio", "variance ratio", "near", 1.0, low_variance, "low variance")
    return Metric((value,), measure, least=lambda dimensions: 2, fewest=2, coarse=True, refuses=refuses)


def duplicates() -> Metric:
    """Fraction of samples with a near-duplicate among the samples, and of as many reference samples."""

    def measure(view: View) -> Mapping[str, Measured]:
        found = near_duplicates(view.features(), view.features("reference", view.num))
        data = {"value": found.data} | ({"crowding": found.crowding} if found.data > REPEATS else {})
        return {"duplicates": Measured(found.rate, settings={"near": NEAR}, data=data)}

    title = "near-duplicates"
    value = Value("duplicates", title, "lower", REAL_DUPLICATES, many_duplicates, title, scale=1.0)
    return Metric((value,), measure, least=lambda dimensions: 2, fewest=2, coarse=True)


def memorization() -> Metric:
    """Median distance to the nearest training sample over that of held-out samples (after Meehan et al., 2020)."""

    def measure(view: View) -> Mapping[str, Measured]:
        return {"gap": Measured(training_gap(view.features(), view.features("reference"), view.features("held_out")))}

    value = Value("gap", "training gap", "near", 1.0, memorized, "memorization")
    return Metric((value,), measure, needs=frozenset({"features", "held_out"}), coarse=True)


# --- warnings ---------------------------------------------------------------------------------------------------------


def of_data(record: Record, key: str, default: float) -> float:
    """What a record states of equally many real samples; records of earlier versions state nothing."""
    data = record.get("data")
    value = data.get(key) if isinstance(data, Mapping) else None
    return float(value) if isinstance(value, int | float) else default


def many_duplicates(rate: float, record: Record) -> str:
    """The sentence for samples that repeat more than the data."""
    stamp = record.get("protocol", {})
    if min(stamp.get("num", ENOUGH), stamp.get("reference_num", ENOUGH)) < ENOUGH:
        return ""
    data, crowding = of_data(record, "value", 0.0), of_data(record, "crowding", 1.0)
    least = DUPLICATES + max(0.0, data - REAL_DUPLICATES)
    if rate > least:
        return f"collapse: {rate:.0%} of the samples are near-duplicates" + (
            f", and {data:.0%} of the data" if data > DUPLICATES else ""
        )
    if rate > DUPLICATES and crowding > CROWDING:
        return f"collapse: samples repeat {crowding:,.1f} times as often as the data, which repeat by nature"
    return ""


def low_variance(ratio: float, record: Record) -> str:
    """The sentence for samples that vary far less than the data."""
    below = ratio < VARIANCE_RATIO * of_data(record, "value", 1.0)
    return f"collapse: the samples have {ratio:.0%} of the data's variance" if below else ""


def memorized(gap: float, record: Record) -> str:
    """The sentence for samples that are much nearer to training samples than held-out ones are."""
    text = f"memorization: samples are {gap:.0%} as far from the training images as held-out images are"
    return text if gap < GAP else ""


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
