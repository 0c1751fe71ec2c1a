"""FID, KID, Inception Score, precision and recall: torch-fidelity's functions applied to extracted features."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.game import Spec
from aigc_zoo.metric import Measured, Metric, Value, View


class Library(NamedTuple):
    """Functions of torch-fidelity that take features; FID is `distance` of two `statistics`."""

    statistics: Callable[[Tensor], dict[str, Any]]
    distance: Callable[[dict[str, Any], dict[str, Any], bool], dict[str, float]]
    kid: Callable[..., dict[str, float]]
    isc: Callable[..., dict[str, float]]
    prc: Callable[..., dict[str, float]]


def library() -> Library:
    """Import torch-fidelity. It is imported only to compute metrics, since importing torchvision takes seconds.

    torchvision is built for one version of torch and raises RuntimeError with another. Raises ConfigError if the import
    fails.
    """
    try:
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
        from torch_fidelity.metric_isc import isc_features_to_metric
        from torch_fidelity.metric_kid import kid_features_to_metric
        from torch_fidelity.metric_prc import prc_features_to_metric
    except Exception as error:
        raise ConfigError(
            f"metrics need torch-fidelity, whose import failed: {' '.join(str(error).split())[:160]}\n"
            f"installed are torch {_version('torch')} and torchvision {_version('torchvision')}, which must match: "
            "python -m pip install --upgrade torch torchvision"
        ) from error
    return Library(
        fid_features_to_statistics,
        fid_statistics_to_metric,
        kid_features_to_metric,
        isc_features_to_metric,
        prc_features_to_metric,
    )


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


def refuses(spec: Spec) -> str:
    """Why torch-fidelity cannot be used, "" if it can."""
    try:
        library()
    except ConfigError as error:
        return str(error)
    return ""


KID_LEAST = 1_000
"""The usual size of a subset for KID."""


def fid() -> Metric:
    """Frechet distance of two Gaussians (Heusel et al., 2017, equation 6). With no more samples than features the
    covariance is singular, and the distance far too large: it was 1.80 for 0 at 20 samples and 64 features.
    """
    return Metric(
        (Value("fid", "FID", "lower", 0.0, ratio=True),),
        lambda view: {"fid": Measured(frechet(statistics(view.features()), reference_statistics(view)))},
        least=lambda dimensions: dimensions + 1,
        fewest=2,
        refuses=refuses,
    )


def kid() -> Metric:
    """Squared MMD of features with a cubic kernel (Binkowski et al., 2018), unbiased at any number of samples."""
    return Metric(
        (Value("kid", "KID", "lower", 0.0, unbiased=True),),
        lambda view: {"kid": kid_of(view.features(), view.features("reference"))},
        least=lambda dimensions: KID_LEAST,
        fewest=4,
        refuses=refuses,
    )


def isc() -> Metric:
    """Inception Score (Salimans et al., 2016) of the logits of the samples alone."""
    return Metric(
        (Value("isc", "Inception Score", "higher", ratio=True),),
        lambda view: {"isc": inception_score(view.logits())},
        needs=frozenset({"logits"}),
        least=lambda dimensions: 2,
        fewest=2,
        refuses=refuses,
    )


def prc() -> Metric:
    """Precision and recall (Kynkaanniemi et al., 2019) against as many reference samples as there are samples."""

    def measure(view: View) -> Mapping[str, Measured]:
        found = precision_recall(view.features(), view.features("reference", view.num))
        return dict(zip(("precision", "recall"), found, strict=True))

    values = (Value("precision", "precision", "higher", scale=1.0), Value("recall", "recall", "higher", scale=1.0))
    return Metric(values, measure, least=lambda dimensions: 4, fewest=4, refuses=refuses)


# --- statistics -------------------------------------------------------------------------------------------------------


class Statistics(NamedTuple):
    """Mean (D,) and covariance (D, D) of features."""

    mu: Tensor
    sigma: Tensor


def statistics(features: Tensor, what: str = "samples") -> Statistics:
    """Mean and covariance of features (N, D), as torch-fidelity computes them; float32 features keep a float32 mean.

    Raises DataError for non-finite features.
    """
    if not bool(torch.isfinite(features).all()):
        raise DataError(f"the features of these {what} are not finite: check the samples for NaN and infinity")
    found = library().statistics(features.cpu())
    return Statistics(torch.from_numpy(found["mu"]), torch.from_numpy(found["sigma"]))


def reference_statistics(view: View) -> Statistics:
    """Those of the reference, computed once and cached."""

    def compute() -> Mapping[str, Tensor]:
        return statistics(view.features("reference"), "reference samples")._asdict()

    found = view.cached("statistics", compute)
    return Statistics(found["mu"], found["sigma"])


def frechet(generated: Statistics, reference: Statistics) -> float:
    """FID: squared Frechet distance of two Gaussians, |mu - mu'|^2 + tr(S + S' - 2 (S S')^(1/2)) (Heusel et al., 2017).

    torch-fidelity computes the root from eigenvalues, real parts only, so singular covariances (a generator that
    repeats one image) give a finite value; equal statistics may give a value just below 0.
    """
    first, second = ({"mu": s.mu.numpy(), "sigma": s.sigma.numpy()} for s in (generated, reference))
    value = library().distance(first, second, False)["frechet_inception_distance"]
    if not math.isfinite(value):
        raise DataError("FID of these samples is not finite")
    return value


KID_SUBSETS = 100
ISC_SPLITS = 10
PRC_NEIGHBOURS = 3
SEED = 2020
"""Seed of the subsets and the shuffle, torch-fidelity's default."""


def kid_of(generated: Tensor, reference: Tensor) -> Measured:
    """KID: squared MMD of features (N, D), (M, D) with a cubic kernel, the mean over random subsets.

    Binkowski et al., 2018. The estimate is unbiased at any N, so it may be just below 0. The interval is the sampling
    error of N samples: the variance over subsets of m out of N is m (1/m - 1/N) of that.
    """
    least = min(len(generated), len(reference))
    size = min(KID_LEAST, least // 2)
    if size < 2:
        raise DataError(f"KID needs at least 4 samples and 4 reference samples, not {least}")
    found = library().kid(
        generated, reference, kid_subsets=KID_SUBSETS, kid_subset_size=size, rng_seed=SEED, verbose=False
    )
    value = _finite(found["kernel_inception_distance_mean"], "KID")
    error = 1.96 * found["kernel_inception_distance_std"] * math.sqrt(size / (least - size))
    settings = {"subsets": KID_SUBSETS, "subset_size": size, "rng_seed": SEED}
    return Measured(value, (value - error, value + error), settings)


def inception_score(logits: Tensor) -> Measured:
    """Inception Score exp E KL(p(y | x) || p(y)) of logits (N, classes), mean over ten splits (Salimans et al., 2016).

    The interval is that of the mean over the splits.
    """
    splits = min(ISC_SPLITS, len(logits))
    found = library().isc(logits, splits, True, SEED)
    value = _finite(found["inception_score_mean"], "Inception Score")
    error = 1.96 * found["inception_score_std"] / math.sqrt(max(1, splits - 1))
    return Measured(value, (value - error, value + error), {"splits": splits, "rng_seed": SEED})


def precision_recall(generated: Tensor, reference: Tensor) -> tuple[Measured, Measured]:
    """Fractions of samples within the data manifold and of data within the samples' (Kynkaanniemi et al., 2019)."""
    if min(len(generated), len(reference)) <= PRC_NEIGHBOURS:
        raise DataError(f"precision and recall need more than {PRC_NEIGHBOURS} samples and reference samples")
    found = library().prc(
        generated, reference, prc_neighborhood=PRC_NEIGHBOURS, prc_batch_size=10_000, save_cpu_ram=True, verbose=False
    )
    settings = {"neighbours": PRC_NEIGHBOURS}
    return Measured(found["precision"], None, settings), Measured(found["recall"], None, settings)


def _finite(value: float, what: str) -> float:
    if not math.isfinite(value):
        raise DataError(f"{what} of these samples is not finite")
    return value
