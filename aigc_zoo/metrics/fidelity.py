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
    """The two functions that the Frechet distance is made of."""

    statistics: Callable[[Tensor], dict[str, Any]]
    distance: Callable[[dict[str, Any], dict[str, Any], bool], dict[str, float]]


def library() -> Library:
    """torch-fidelity, imported only to compute metrics: it imports torchvision, which costs seconds or fails.

    torchvision is locked to a build of torch; a pair that does not match dies with a RuntimeError. Raises ConfigError.
    """
    try:
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    except Exception as error:
        found = versions_of("torchvision")
        raise ConfigError(
            f"metrics need torch-fidelity, which does not import: {' '.join(str(error).split())[:160]}\n"
            f"installed are torch {found['torch']} and torchvision {found['torchvision']}, which must be a pair: "
            "python -m pip install --upgrade torch torchvision"
        ) from error
    return Library(fid_features_to_statistics, fid_statistics_to_metric)


@dataclass(frozen=True)
class Statistics:
    """Mean (D,) and covariance (D, D) of the features of `num` samples."""

    mu: Tensor
    sigma: Tensor
    num: int


def statistics(features: Tensor, what: str = "samples") -> Statistics:
    """Mean and covariance of features (N, D), as torch-fidelity takes them; float32 features keep a float32 mean.

    Raises DataError for N <= D and for features that are not finite.
    """
    count, dimensions = features.shape
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
            f"{dimensions + 1:,} are needed (--num, or more pictures)"
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
