"""Pairs of images: PSNR, SSIM and MS-SSIM of 8-bit pixels, and the errors of translation there and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from aigc_zoo.game import Spec
from aigc_zoo.metric import Measured, Metric, Value, View
from aigc_zoo.modality import from_uint8

IMAGES = ("image",)

AT_ONCE = 1 << 18
"""Values of images that are compared at a time, so few that intermediate results stay in the cache."""

PEAK = 255.0
EQUAL = 100.0
"""PSNR in dB of equal images, for which the logarithm is infinite; one differing value in a million gives 108."""

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the scales of MS-SSIM, finest first (Wang, Simoncelli and Bovik, 2003, section 3.2)."""

LARGE = WINDOW * 2 ** (len(SCALES) - 1)
"""Pixels a side from which on the smallest scale of MS-SSIM has a whole window."""


def psnr() -> Metric:
    """Mean over pairs of generated images and their targets, with its 95 % interval over pairs."""
    return _of_pairs(Value("psnr", "PSNR", "higher"), psnr_of, 1)


def ssim() -> Metric:
    """Mean over pairs of generated images and their targets, with its 95 % interval over pairs."""
    return _of_pairs(Value("ssim", "SSIM", "higher", 1.0, scale=1.0), ssim_of, WINDOW)


def ms_ssim() -> Metric:
    """Mean over pairs of generated images and their targets, with its 95 % interval over pairs."""
    return _of_pairs(Value("ms-ssim", "MS-SSIM", "higher", 1.0, scale=1.0), ms_ssim_of, LARGE)


def cycle_error() -> Metric:
    """Mean absolute difference of "source" and the entry "cycled" that `generate` returns, in units of the range."""
    return _of_entries("cycle-error", "cycle error", "source", "cycled")


def identity_error() -> Metric:
    """Mean absolute difference of "real" and the entry "identity" that `generate` returns, in units of the range."""
    return _of_entries("identity-error", "identity error", "real", "identity")


def _of_pairs(value: Value, similarity: Callable[[Tensor, Tensor], Tensor], side: int) -> Metric:
    """The metric of fakes and their targets, for images of at least `side` pixels a side."""

    def measure(view: View) -> Mapping[str, Measured]:
        return {
            value.name: mean(
                similarity(*pair)
                for chunk in view.chunks("fake", "real")
                for pair in zip(*(chunk[name].split(_at_once(view.spec)) for name in ("fake", "real")), strict=True)
            )
        }

    def refuses(spec: Spec) -> str:
        small = min(spec.shape[1:]) < side
        return f"{value.title} needs images of at least {side} pixels a side" if small else ""

    return Metric((value,), measure, IMAGES, entries=("real",), needs=frozenset({"samples"}), refuses=refuses)


def _at_once(spec: Spec) -> int:
    """Pairs that are compared at a time."""
    return max(1, AT_ONCE // math.prod(spec.shape))


def _of_entries(name: str, title: str, known: str, generated: str) -> Metric:
    def measure(view: View) -> Mapping[str, Measured]:
        spec = view.spec if known == "real" else view.spec.entries[known]
        low, high = spec.range or (0.0, 1.0)
        return {
            name: mean(
                (from_uint8(chunk[known], spec) - chunk[generated]).abs().flatten(1).double().mean(1) / (high - low)
                for chunk in view.chunks(known, generated)
            )
        }

    value = Value(name, title, "lower", 0.0, scale=1.0)
    return Metric((value,), measure, IMAGES, entries=(known, generated), needs=frozenset({"samples"}))


def mean(parts: Iterable[Tensor]) -> Measured:
    """The mean of values (n,) float64 that come in parts, with its 95 % interval."""
    count, total, squares = 0, 0.0, 0.0
    for part in parts:
        count, total, squares = count + len(part), total + float(part.sum()), squares + float(part.square().sum())
    average = total / count
    variance = max(0.0, squares / count - average**2) * count / max(1, count - 1)
    error = 1.96 * math.sqrt(variance / count)
    return Measured(average, (average - error, average + error))


# --- formulas ---------------------------------------------------------------------------------------------------------


def psnr_of(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio 10 log10(255² / MSE) in dB, at most 100: (N, C, H, W) uint8 twice -> (N,) float64."""
    error = (x.double() - y.double()).square().flatten(1).mean(1)
    return (10 * torch.log10(PEAK**2 / error.clamp(min=PEAK**2 / 10 ** (EQUAL / 10)))).clamp(max=EQUAL)


def ssim_of(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity (Wang et al., 2004, equation 13) with a Gaussian window of 11x11 and sigma 1.5.

    (N, C, H, W) uint8 twice -> (N,) float64, the mean over channels and over positions of whole windows. Raises
    ValueError for sides below 11 pixels.
    """
    return _maps(x.double(), y.double())[0]


def ms_ssim_of(x: Tensor, y: Tensor) -> Tensor:
    """Multi-scale structural similarity over five scales (Wang, Simoncelli and Bovik, 2003, equation 7).

    (N, C, H, W) uint8 twice -> (N,) float64. Raises ValueError for sides below 176 pixels, whose smallest scale has no
    whole window. Negative contrasts, which have no real power, count as 0.
    """
    if min(x.shape[2:]) < LARGE:
        raise ValueError(f"MS-SSIM needs images of at least {LARGE} pixels a side")
    x, y = x.double(), y.double()
    product = torch.ones(len(x), dtype=torch.float64, device=x.device)
    for number, weight in enumerate(SCALES):
        whole, contrast = _maps(x, y)
        product = product * (whole if number == len(SCALES) - 1 else contrast).clamp(min=0) ** weight
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return product


def _maps(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Means (N,) of SSIM, and of its product of contrast and structure."""
    if min(x.shape[2:]) < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW} pixels a side")
    ux, uy = _blurred(x), _blurred(y)
    vx, vy = _blurred(x * x) - ux * ux, _blurred(y * y) - uy * uy
    vxy = _blurred(x * y) - ux * uy
    contrast = (2 * vxy + C2) / (vx + vy + C2)
    whole = (2 * ux * uy + C1) / (ux * ux + uy * uy + C1) * contrast
    return whole.flatten(1).mean(1), contrast.flatten(1).mean(1)


def _blurred(x: Tensor) -> Tensor:
    """Weighted means over all whole windows, (N, C, H, W) -> (N, C, H - 10, W - 10)."""
    return _weighted(_weighted(x, 2), 3)


def _weighted(x: Tensor, dim: int) -> Tensor:
    """Weighted means along one dimension, by adding shifted slices: ten times as fast as a convolution in float64."""
    places = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    window = torch.exp(-places.square() / (2 * SIGMA**2))
    first, *others = (window / window.sum()).tolist()
    length = x.shape[dim] - WINDOW + 1
    total = x.narrow(dim, 0, length) * first
    for place, weight in enumerate(others, 1):
        total.add_(x.narrow(dim, place, length), alpha=weight)
    return total
