"""Features without a network: coordinates of points, and pixels of images for which no extractor is chosen."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from aigc_zoo.errors import UsageError
from aigc_zoo.game import Samples
from aigc_zoo.metrics.features import Extractor
from aigc_zoo.metrics.protocol import versions_of
from aigc_zoo.plugins import Catalogue


class _Coordinates(nn.Module):
    """Identity: the coordinates of points are their features."""

    def forward(self, points: Tensor) -> dict[str, Tensor]:
        return {"features": points.flatten(1).float()}


def coordinates() -> Extractor:
    """The extractor for points: the identity, without a network."""
    return Extractor("points", "points", _Coordinates(), "none", torch.device("cpu"), versions_of())


PIXELS = "only pixels are compared, since "
"""The beginning of a note on metrics of pixels."""

SIDE = 8
"""Largest side of the images that pixels are compared at."""


class _Pixels(nn.Module):
    """Images reduced to at most 8x8 pixels by averaging: (N, C, H, W) uint8 -> features (N, 64 C) from 0 to 1."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise ValueError(f"expected uint8 images (N, C, H, W), not {images.dtype} of shape {tuple(images.shape)}")
        height, width = images.shape[2:]
        small = nn.functional.adaptive_avg_pool2d(images.float() / 255, (min(height, SIDE), min(width, SIDE)))
        return {"features": small.flatten(1)}


def pixels(note: str = "") -> Extractor:
    """The extractor for images of any size and number of channels: their pixels at a low resolution, no network."""
    groups = ("variance-ratio", "duplicates", "memorization")
    cpu = torch.device("cpu")
    return Extractor("pixels", "pixels", _Pixels(), f"mean {SIDE}x{SIDE}", cpu, versions_of(), note, groups=groups)


def own_features(catalogue: Catalogue, samples: Samples, weights: Path | None = None) -> Extractor | None:
    """The extractor without a network for samples that have no extractor; None for samples that are only numbers.

    Raises UsageError for `weights`, which belong to a network.
    """
    modality = samples.spec.modality
    found = coordinates() if modality == "points" else pixels(extractor_advice(catalogue, samples))
    if modality not in ("points", "image"):
        return None
    if weights is not None:
        fix = found.note or "leave the option out"
        raise UsageError(f"--extractor-weights {weights}: name the extractor that they are of\n{fix}")
    return found


def no_features(samples: Samples, otherwise: str) -> str:
    """The message that nothing can be measured of samples that are neither images nor points."""
    return (
        f"{samples.name} has no extractor, so nothing can be measured\n"
        f"no installed extractor accepts such samples ({samples.spec.modality}): {otherwise}"
    )


def extractor_advice(catalogue: Catalogue, samples: Samples, most: int = 3) -> str:
    """A sentence with the installed extractors that accept such samples, those of their shape first.

    An extractor that states no shapes accepts grey and colour images of any size.
    """
    shape = samples.spec.shape
    entries = sorted(catalogue.items("extractor"), key=lambda entry: not entry.component.shapes)
    usual = samples.spec.modality == "image" and shape[0] in (1, 3)
    names = [
        (entry.name if entry.namespace == "zoo" else entry.id)
        + (
            " (with --extractor-weights FILE where it cannot be downloaded)"
            if "download" in entry.component.tags
            else ""
        )
        for entry in entries
        if (shape in entry.component.shapes if entry.component.shapes else usual)
    ]
    start = f"{samples.name} of {'x'.join(map(str, shape))} has no extractor of its own"
    if not names:
        return f"{start}, and no installed one accepts such samples"
    return f"{start}: use --extractor {' or '.join(names[:most])}"
