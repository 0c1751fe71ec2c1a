"""Similarity of pairs of images: PSNR, SSIM and MS-SSIM of 8-bit pixels, one value per pair."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PEAK = 255.0
EQUAL = 100.0
"""PSNR in dB of equal images, for which the logarithm is infinite; one differing value in a million gives 108."""

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the scales of MS-SSIM, finest first (Wang, Simoncelli and Bovik, 2003, section 3.2)."""


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio 10 log10(255² / MSE) in dB, at most 100: (N, C, H, W) uint8 twice -> (N,) float64."""
    error = (x.double() - y.double()).square().flatten(1).mean(1)
    return (10 * torch.log10(PEAK**2 / error.clamp(min=PEAK**2 / 10 ** (EQUAL / 10)))).clamp(max=EQUAL)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity (Wang et al., 2004, equation 13) with a Gaussian window of 11x11 and sigma 1.5.

    (N, C, H, W) uint8 twice -> (N,) float64, the mean over channels and over positions of whole windows. Raises
    ValueError for sides below 11 pixels.
    """
    return _maps(x.double(), y.double())[0]


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Multi-scale structural similarity over five scales (Wang, Simoncelli and Bovik, 2003, equation 7).

    (N, C, H, W) uint8 twice -> (N,) float64. Raises ValueError for sides below 176 pixels, whose smallest scale has no
    whole window. Negative contrasts, which have no real power, count as 0.
    """
    least = WINDOW * 2 ** (len(SCALES) - 1)
    if min(x.shape[2:]) < least:
        raise ValueError(f"MS-SSIM needs images of at least {least} pixels a side")
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
    places = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    window = torch.exp(-places.square() / (2 * SIGMA**2))
    window = (window / window.sum()).view(1, 1, 1, WINDOW)
    flat = x.flatten(0, 1)[:, None]
    flat = F.conv2d(F.conv2d(flat, window), window.transpose(2, 3))
    return flat.view(*x.shape[:2], *flat.shape[2:])
