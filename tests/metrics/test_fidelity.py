"""FID: closed forms, bias, and errors."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.metrics.known import installed, remedy, shortage
from aigc_zoo.random import generator
from aigc_zoo_plugins.metrics.fidelity import frechet, library, statistics


def gaussian(mean: Tensor, covariance: Tensor, n: int = 500, seed: int = 0) -> Tensor:
    """`n` points whose sample mean and sample covariance are exactly these, up to float64."""
    raw = torch.randn(n, len(mean), dtype=torch.float64, generator=generator("gaussian", seed))
    raw -= raw.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(raw.T.cov()), raw.T, upper=False).T
    return mean + white @ torch.linalg.cholesky(covariance).T


def root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T


def positive(d: int, seed: int) -> Tensor:
    factor = torch.randn(d, 2 * d, dtype=torch.float64, generator=generator("positive", seed))
    return factor @ factor.T / d


def test_fid_of_diagonal_gaussians_matches_the_closed_form() -> None:
    means = torch.tensor([[0.0, 1.0, -2.0], [0.5, 1.0, 1.0]], dtype=torch.float64)
    variances = torch.tensor([[1.0, 4.0, 0.25], [9.0, 1.0, 0.25]], dtype=torch.float64)
    a, b = (
        statistics(gaussian(m, torch.diag(s), seed=i)) for i, (m, s) in enumerate(zip(means, variances, strict=True))
    )
    expected = (means[0] - means[1]).square().sum() + (variances[0].sqrt() - variances[1].sqrt()).square().sum()
    assert expected == 9.25 + 4.0 + 1.0
    assert frechet(a, b) == pytest.approx(float(expected), rel=1e-9)
    assert frechet(b, a) == pytest.approx(float(expected), rel=1e-9)


def test_fid_of_non_commuting_covariances_matches_the_closed_form() -> None:
    zero, shift = torch.zeros(6, dtype=torch.float64), torch.full((6,), 0.3, dtype=torch.float64)
    first, second = positive(6, 1), positive(6, 2)
    between = root(root(first) @ second @ root(first))
    expected = shift.square().sum() + (first + second - 2 * between).trace()
    got = frechet(statistics(gaussian(zero, first)), statistics(gaussian(shift, second, seed=1)))
    assert got == pytest.approx(float(expected), rel=1e-9)


def test_fid_of_a_generator_that_repeats_one_image_is_finite() -> None:
    mean, covariance = torch.ones(5, dtype=torch.float64), positive(5, 3)
    real = statistics(gaussian(mean, covariance))
    constant = statistics(torch.zeros(100, 5, dtype=torch.float64))
    assert frechet(constant, real) == pytest.approx(float(5 + covariance.trace()), rel=1e-9)


def test_fid_needs_more_samples_than_features() -> None:
    known = installed()["fid"]
    found = shortage(known, 20, "samples", 20)
    assert found == "20 samples are too few for FID with 20 features: at least 21 are needed"
    assert "--allow-few" in remedy(known, 20)
    assert shortage(known, 21, "samples", 20) == shortage(known, 5, "samples", 20, few=True) == ""


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_features_are_refused(bad: float) -> None:
    features = torch.randn(50, 4, generator=generator("bad"))
    features[7, 2] = bad
    with pytest.raises(DataError, match="not finite"):
        statistics(features)


def test_fid_of_equal_distributions_falls_with_the_number_of_samples() -> None:
    """M2: because of this bias the number of samples is part of the protocol."""
    draws = torch.randn(2, 3_000, 64, generator=generator("bias"))
    found = [frechet(statistics(draws[0, :n]), statistics(draws[1, :n])) for n in (100, 300, 1_000, 3_000)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 10 * found[-1]


class _Broken:
    def __getattr__(self, name: str) -> object:
        raise RuntimeError("operator torchvision::nms does not exist")


@pytest.mark.parametrize(("broken", "reason"), [(False, "torch_fidelity"), (True, "torchvision::nms")])
def test_a_failed_import_of_torch_fidelity_is_explained(
    broken: bool, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity.metric_fid", _Broken() if broken else None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=reason) as error:
        library()
    message = str(error.value)
    assert f"torch {torch.__version__.split('+')[0]}" in message
    assert "torchvision 0." in message
    assert "pip install" in message
    assert message.count("\n") < 3
