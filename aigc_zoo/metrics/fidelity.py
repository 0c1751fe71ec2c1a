"""torch-fidelity's functions on features that we extract: none of its wrappers, none of its caches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.metrics.protocol import versions_of


class Library(NamedTuple):
    """The functions of torch-fidelity that take features: `statistics` and `distance` make the Frechet distance."""

    statistics: Callable[[Tensor], dict[str, Any]]
    distance: Callable[[dict[str, Any], dict[str, Any], bool], dict[str, float]]
    kid: Callable[..., dict[str, float]]
    isc: Callable[..., dict[str, float]]
    prc: Callable[..., dict[str, float]]


class Value(NamedTuple):
    """A metric's value, how far it is sure (95 %), and the settings that belong to its protocol."""

    value: float
    interval: tuple[float, float] | None
    settings: dict[str, Any]


def library() -> Library:
    """torch-fidelity, imported only to compute metrics: it imports torchvision, which costs seconds or fails.

    torchvision is locked to a build of torch; a pair that does not match dies with a RuntimeError. Raises ConfigError.
    """
    try:
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
        from torch_fidelity.metric_isc import isc_features_to_metric
        from torch_fidelity.metric_kid import kid_features_to_metric
        from torch_fidelity.metric_prc import prc_features_to_metric
    except Exception as error:
        found = versions_of("torchvision")
        raise ConfigError(
            f"metrics need torch-fidelity, which does not import: {' '.join(str(error).split())[:160]}\n"
            f"installed are torch {found['torch']} and torchvision {found['torchvision']}, which must be a pair: "
            "python -m pip install --upgrade torch torchvision"
        ) from error
    return Library(
        fid_features_to_statistics,
        fid_statistics_to_metric,
        kid_features_to_metric,
        isc_features_to_metric,
        prc_features_to_metric,
    )


@dataclass(frozen=True)
class Statistics:
    """Mean (D,) and covariance (D, D) of the features of `num` samples."""

    mu: Tensor
    sigma: Tensor
    num: int


def statistics(features: Tensor, what: str = "samples", *, few: bool = False) -> Statistics:
    """Mean and covariance of features (N, D), as torch-fidelity takes them; float32 features keep a float32 mean.

    Raises DataError for N <= D unless `few`, and for features that are not finite.
    """
    count, dimensions = features.shape
    if not few:
        check_count(count, dimensions, what)
    if not bool(torch.isfinite(features).all()):
        raise DataError(f"the features of these {what} are not finite: the images hold values out of range")
    made = library().statistics(features.cpu())
    return Statistics(torch.from_numpy(made["mu"]), torch.from_numpy(made["sigma"]), count)


def check_count(count: int, dimensions: int, what: str) -> None:
    """Refuses N <= D: such a covariance is singular, the distance far too large (1.80 for 0 at N = 20, D = 64)."""
    if count <= dimensions:
        raise DataError(
            f"{count:,} {what} are too few for a Frechet distance of {dimensions:,} features: at least "
            f"{dimensions + 1:,} are needed (--num, or more pictures)\n--allow-few measures them all the same, and the "
            "protocol says so"
        )


def frechet(generated: Statistics, reference: Statistics) -> float:
    """The squared Frechet distance of two Gaussians, |mu - mu'|^2 + tr(S + S' - 2 (S S')^(1/2)) (Heusel et al., 2017).

    torch-fidelity takes the root through eigenvalues, real parts only, so singular covariances (a generator that
    repeats one picture) give a finite number; equal statistics may give one just below 0.
    """
    first, second = ({"mu": s.mu.numpy(), "sigma": s.sigma.numpy()} for s in (generated, reference))
    value = library().distance(first, second, False)["frechet_inception_distance"]
    if not math.isfinite(value):
        raise DataError("the Frechet distance of these samples is not finite")
    return value


KID_LEAST = 1_000
KID_SUBSETS = 100
ISC_SPLITS = 10
PRC_NEIGHBOURS = 3
SEED = 2020
"""Of the subsets and the shuffle: torch-fidelity's own default."""


def check_kid_count(count: int, what: str) -> None:
    """Refuses fewer samples than a usual subset has."""
    if count < KID_LEAST:
        raise DataError(
            f"{count:,} {what} are too few for a kernel distance: at least {KID_LEAST:,} are needed (--num, or more "
            "pictures)\n--allow-few measures them all the same, and the protocol says so"
        )


def kernel(generated: Tensor, reference: Tensor) -> Value:
    """The squared MMD of features (N, D), (M, D) under a cubic kernel, the mean over random subsets (KID, Binkowski
    et al., 2018): unbiased at any N, so it may fall just below 0.

    The interval is the error of N samples: subsets of m out of N vary by m (1/m - 1/N) of what N themselves would.
    """
    least = min(len(generated), len(reference))
    size = min(KID_LEAST, least // 2)
    if size < 2:
        raise DataError(f"a kernel distance needs at least 4 samples on either side, not {least}")
    made = library().kid(
        generated, reference, kid_subsets=KID_SUBSETS, kid_subset_size=size, rng_seed=SEED, verbose=False
    )
    value = _finite(made["kernel_inception_distance_mean"], "kernel distance")
    error = 1.96 * made["kernel_inception_distance_std"] * math.sqrt(size / (least - size))
    return Value(value, (value - error, value + error), {"subsets": KID_SUBSETS, "subset_size": size, "rng_seed": SEED})


def inception_score(logits: Tensor) -> Value:
    """exp E KL(p(y | x) || p(y)) of logits (N, classes), the mean over ten splits (Salimans et al., 2016).

    The interval is that of the mean of the splits.
    """
    splits = min(ISC_SPLITS, len(logits))
    made = library().isc(logits, splits, True, SEED)
    value = _finite(made["inception_score_mean"], "Inception Score")
    error = 1.96 * made["inception_score_std"] / math.sqrt(max(1, splits - 1))
    return Value(value, (value - error, value + error), {"splits": splits, "rng_seed": SEED})


def precision_recall(generated: Tensor, reference: Tensor) -> tuple[Value, Value]:
    """The shares of samples within the data's manifold and of data within the samples' (Kynkaanniemi et al., 2019)."""
    if min(len(generated), len(reference)) <= PRC_NEIGHBOURS:
        raise DataError(f"precision and recall need more than {PRC_NEIGHBOURS} samples on either side")
    made = library().prc(
        generated, reference, prc_neighborhood=PRC_NEIGHBOURS, prc_batch_size=10_000, save_cpu_ram=True, verbose=False
    )
    settings = {"neighbours": PRC_NEIGHBOURS}
    return Value(made["precision"], None, settings), Value(made["recall"], None, settings)


def _finite(value: float, what: str) -> float:
    if not math.isfinite(value):
        raise DataError(f"the {what} of these samples is not finite")
    return value
