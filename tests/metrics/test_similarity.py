"""PSNR, SSIM and MS-SSIM against scikit-image and against their definitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from aigc_zoo_plugins.metrics.pairs import EQUAL, SCALES
from aigc_zoo_plugins.metrics.pairs import ms_ssim_of as ms_ssim
from aigc_zoo_plugins.metrics.pairs import psnr_of as psnr
from aigc_zoo_plugins.metrics.pairs import ssim_of as ssim


def pairs(channels: int, height: int, width: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth images, and the same with noise."""
    stream = np.random.default_rng(channels * height + width)
    rough = stream.uniform(0, 255, (4, channels, height // 4 + 1, width // 4 + 1)).repeat(4, 2).repeat(4, 3)
    first = rough[:, :, :height, :width]
    second = (first + stream.normal(0, noise, first.shape)).clip(0, 255)
    return torch.from_numpy(first.astype(np.uint8)), torch.from_numpy(second.astype(np.uint8))


SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 48), (1, 11, 11), (4, 40, 23)]


@pytest.mark.parametrize("noise", [3, 20, 200])
@pytest.mark.parametrize("shape", SHAPES)
def test_psnr_is_that_of_scikit_image(shape: tuple[int, int, int], noise: float) -> None:
    x, y = pairs(*shape, noise)
    expected = [peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=255) for a, b in zip(x, y, strict=True)]
    assert psnr(x, y).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("noise", [3, 20, 200])
@pytest.mark.parametrize("shape", SHAPES)
def test_ssim_is_that_of_scikit_image(shape: tuple[int, int, int], noise: float) -> None:
    x, y = pairs(*shape, noise)
    expected = [
        structural_similarity(
            a.numpy(), b.numpy(), data_range=255, channel_axis=0, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(x, y, strict=True)
    ]  # fmt: skip
    assert ssim(x, y).tolist() == pytest.approx(expected, abs=1e-6)


def test_ms_ssim_is_the_product_over_scales() -> None:
    x, y = pairs(1, 176, 180, 30)
    expected = torch.ones(4, dtype=torch.float64)
    a, b = x.double(), y.double()
    for number, weight in enumerate(SCALES):
        parts = []
        for one, other in zip(a, b, strict=True):
            whole, image = structural_similarity(
                one[0].numpy(), other[0].numpy(), data_range=255, gaussian_weights=True, sigma=1.5,
                use_sample_covariance=False, full=True,
            )  # fmt: skip
            del image
            if number < len(SCALES) - 1:  # without the term of luminance
                shifted = [structural(one[0].numpy(), other[0].numpy())]
                whole = shifted[0]
            parts.append(float(whole))
        expected *= torch.tensor(parts, dtype=torch.float64).clamp(min=0) ** weight
        a, b = torch.nn.functional.avg_pool2d(a, 2), torch.nn.functional.avg_pool2d(b, 2)
    torch.testing.assert_close(ms_ssim(x, y), expected, rtol=0, atol=1e-6)


def structural(x: np.ndarray, y: np.ndarray) -> float:
    """Mean of (2 cov + C2) / (var + var + C2) by scipy's Gaussian filter."""
    from scipy.ndimage import gaussian_filter

    def blur(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, 1.5, truncate=3.5)[5:-5, 5:-5]

    c2 = (0.03 * 255) ** 2
    ux, uy = blur(x), blur(y)
    return float(((2 * (blur(x * y) - ux * uy) + c2) / (blur(x * x) - ux**2 + blur(y * y) - uy**2 + c2)).mean())


@pytest.mark.parametrize(("metric", "ideal", "side"), [(psnr, EQUAL, 16), (ssim, 1.0, 16), (ms_ssim, 1.0, 176)])
def test_equal_images_have_the_ideal(metric: Callable[..., torch.Tensor], ideal: float, side: int) -> None:
    x, _ = pairs(3, side, side, 0)
    assert metric(x, x.clone()).tolist() == pytest.approx([ideal] * 4)
    black = torch.zeros(2, 1, side, side, dtype=torch.uint8)
    assert metric(black, black).tolist() == pytest.approx([ideal] * 2)


@pytest.mark.parametrize(("metric", "side"), [(psnr, 16), (ssim, 16), (ms_ssim, 176)])
def test_more_noise_is_worse(metric: Callable[..., torch.Tensor], side: int) -> None:
    values = [float(metric(*pairs(3, side, side, noise)).mean()) for noise in (0, 5, 40, 255)]
    assert values == sorted(values, reverse=True)


def test_images_without_a_whole_window_are_refused() -> None:
    small = torch.zeros(1, 1, 10, 30, dtype=torch.uint8)
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(small, small)
    with pytest.raises(ValueError, match="at least 176 pixels"):
        ms_ssim(torch.zeros(1, 1, 175, 200, dtype=torch.uint8), torch.zeros(1, 1, 175, 200, dtype=torch.uint8))
