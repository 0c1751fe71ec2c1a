"""What the extractors take: uint8 images as files hold them, or float images in [-1, 1] as models generate them."""

from __future__ import annotations

import torch
from torch import Tensor

from aigc_zoo.errors import ConfigError

ADVICE = "use --extractor inception-v3-compat, with --extractor-weights FILE where it cannot be downloaded"


def fits(images: Tensor, shape: tuple[int, ...]) -> bool:
    """True for uint8 or float images (N, *shape)."""
    return tuple(images.shape[1:]) == shape and (images.dtype == torch.uint8 or images.is_floating_point())


def refusal(accepts: str, images: Tensor, advice: str = ADVICE) -> ConfigError:
    """The error for other images. Losses pass floats; metrics pass uint8, to the extractor that --extractor names."""
    dtype = str(images.dtype).removeprefix("torch.")
    fix = "choose another extractor for this loss" if images.is_floating_point() else advice
    return ConfigError(f"{accepts} uint8 or float, not {tuple(images.shape)} {dtype}: {fix}")
