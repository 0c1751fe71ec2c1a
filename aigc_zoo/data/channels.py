"""Grey images stored as colour ones, and the other way around, as torchvision's save_image and Pillow write them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from aigc_zoo.game import Samples

GREY, COLOR = 1, 3
ROWS = 1_024


def with_channels_of(samples: Samples, reference: Samples) -> Samples:
    """Samples with the number of channels of the reference, if that loses nothing; otherwise the samples unchanged.

    Grey images are repeated for three channels. Three equal channels become one.
    """
    real, shape = samples.fields.get("real"), samples.spec.shape
    wanted = reference.spec.shape
    if samples.spec.modality != reference.spec.modality or len(shape) != 3 or shape[1:] != wanted[1:]:
        return samples
    if real is None or real.shape[1:] != shape:  # a dataset that stores them in another way
        return samples
    if (shape[0], wanted[0]) == (GREY, COLOR):
        real = real.expand(-1, COLOR, *shape[1:])
    elif (shape[0], wanted[0]) == (COLOR, GREY) and is_grey(real):
        real = real[:, :GREY]
    else:
        return samples
    return replace(samples, fields={**samples.fields, "real": real}, spec=replace(samples.spec, shape=wanted))


def is_grey(images: Tensor) -> bool:
    """Whether all channels of all images (N, C, H, W) are equal."""
    return all(bool((part == part[:, :1]).all()) for part in torch.split(images, ROWS))
