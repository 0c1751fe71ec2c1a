"""Recognition of images among arrays, by shape, dtype and range: they are converted, or refused with the fix."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aigc_zoo.errors import DataError

Array = np.ndarray[Any, Any]

BRIGHT = 128
"""Numbers that are not uint8 are pixels from 0 to 255 if they reach this value; otherwise white may be another one."""

_CHANNELS = (3, 1, 4)  # the most likely first
_SMALLEST_SIDE = 8
_UNITS = ((0.0, 1.0), (-1.0, 1.0))
_NO_IMAGES = (
    "if these are no images, name them arrays: np.savez('data.npz', arrays=values), in Python {'arrays': values}"
)


class Images(NamedTuple):
    """Images (N, C, H, W) by split: uint8 with 0 as black and 255 as white, or floats within `bounds`."""

    values: dict[str, Array]
    bounds: tuple[float, float] | None


def as_images(path: Path, arrays: Mapping[str, Array], named: bool) -> Images | None:
    """The arrays of all splits as images; None where they are something else.

    3-D and 4-D arrays are images if they are bool, uint8, or floats within 0..1 or -1..1, give or take one grey level.
    Other integers and floats are images if they are pixels from 0 to 255. What has the shape of images and none of
    these ranges raises DataError. `named` says that the file calls the arrays images. All splits have one shape.
    """
    first = next(iter(arrays.values()))
    if first.ndim == 2:
        _refuse_flattened(path, arrays, named)
    if first.ndim not in (3, 4):
        return None
    bounds = None
    if first.dtype.kind == "b":
        found = {split: values.astype(np.uint8) * np.uint8(255) for split, values in arrays.items()}
    elif all(values.dtype == np.uint8 for values in arrays.values()):
        if not any(map(_exceeds_one, arrays.values())) and any(values.any() for values in arrays.values()):
            raise _no_range(path, arrays, 0, 1)
        found = dict(arrays)
    else:
        low, high = limits(arrays)
        bounds = next((unit for unit in _UNITS if first.dtype.kind == "f" and _within(low, high, unit)), None)
        if bounds is None and not _has_shape_of_images(first, named):
            return None
        if bounds is None and not _are_pixels(arrays, low, high, named):
            raise _no_range(path, arrays, low, high)
        found = {split: _converted(values, bounds) for split, values in arrays.items()}
    return Images({split: _channels_first(values) for split, values in found.items()}, bounds)


def limits(arrays: Mapping[str, Array]) -> tuple[float, float]:
    """The lowest and the highest value of all splits; NaN where there is a NaN."""
    lows, highs = zip(*((float(values.min()), float(values.max())) for values in arrays.values()), strict=True)
    return float(np.min(lows)), float(np.max(highs))


def _within(low: float, high: float, bounds: tuple[float, float]) -> bool:
    """Whether a range lies within bounds that are wider by one of 255 grey levels, which interpolation may exceed."""
    level = (bounds[1] - bounds[0]) / 255
    return low >= bounds[0] - level and high <= bounds[1] + level


def _has_shape_of_images(values: Array, named: bool) -> bool:
    """Whether (N, ...) are images by shape: (N, H, W) may also be sequences, which are longer than they are wide."""
    if values.ndim == 4 or named:
        return True
    short, long = sorted(values.shape[1:])
    return bool(short >= _SMALLEST_SIDE and long <= 2 * short)


def _are_pixels(arrays: Mapping[str, Array], low: float, high: float, named: bool) -> bool:
    """Whether numbers are pixels from 0 to 255. Fractions are, where the shape or the name leaves no doubt."""
    first = next(iter(arrays.values()))
    if first.dtype.kind != "f":
        return 0 <= low <= high <= 255 and (high >= BRIGHT or high == 0)
    sure = first.ndim == 4 or named or all(map(_integral, arrays.values()))
    return high >= BRIGHT and sure and _within(low, high, (0.0, 255.0))


def _converted(values: Array, bounds: tuple[float, float] | None) -> Array:
    if bounds is None:
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)
    if values.min() < bounds[0] or values.max() > bounds[1]:
        return np.clip(values, *bounds)
    return values


def _channels_first(images: Array) -> Array:
    """(N, H, W) or (N, H, W, C) -> (N, C, H, W). Where both axes could be channels, the more likely number decides."""
    if images.ndim == 3:
        return images[:, None]
    _, one, two, three = images.shape
    first, last = (_CHANNELS.index(n) if n in _CHANNELS else 9 for n in (one, three))
    if first == last == 9:
        channels_last = three < two and three < one  # of another number: it is less than height and width
    else:
        channels_last = last <= first
    return images.transpose(0, 3, 1, 2) if channels_last else images


def _blocks(values: Array) -> list[Array]:
    rows = max(1, (1 << 24) // max(1, values[:1].nbytes))
    return [values[first : first + rows] for first in range(0, len(values), rows)]


def _exceeds_one(values: Array) -> bool:
    return any(bool((block > 1).any()) for block in _blocks(values))


def _integral(values: Array) -> bool:
    return all(bool((block == np.rint(block)).all()) for block in _blocks(values))


def _no_range(path: Path, arrays: Mapping[str, Array], low: float, high: float) -> DataError:
    first = next(iter(arrays.values()))
    if (low, high) == (0, 1):
        fix = "convert black and white images to bool"
    elif first.dtype.kind == "f" and low >= -1.5 and high <= 1.5:
        unit = (0, 1) if low >= -0.5 else (-1, 1)
        fix = f"clip them to the range {unit[0]} to {unit[1]}, if that is theirs"
    elif first.dtype.kind == "f":
        fix = "convert images to floats from 0 to 1 or from -1 to 1, or to uint8 from 0 to 255"
    elif low < 0:
        fix = "convert images to uint8 from 0 to 255, or to floats from -1 to 1"
    else:
        fix = "convert images to floats from 0 to 1, divided by the value of white, or to uint8 from 0 to 255"
    return DataError(
        f"{path}: {first.dtype} of shape {first.shape} with values from {low:.6g} to {high:.6g} has the shape of "
        f"images, but not their range\n{fix}\n{_NO_IMAGES}"
    )


def _refuse_flattened(path: Path, arrays: Mapping[str, Array], named: bool) -> None:
    """Raises DataError for rows of pixels, of which a network that needs height and width would learn little."""
    first = next(iter(arrays.values()))
    length = first.shape[1]
    sizes = [(math.isqrt(length // c), c) for c in (1, 3) if c * math.isqrt(length // c) ** 2 == length >= 64 * c]
    if not sizes and not named:
        return
    if not named:
        tokens = first.dtype.kind != "f" and length & (length - 1) == 0  # sequences of tokens have such lengths
        low, high = limits(arrays)
        if tokens or low < 0 or not BRIGHT <= high <= 255 or not all(map(_integral, arrays.values())):
            return
    shape = "H, W"
    if sizes:
        side, channels = sizes[0]
        shape = f"{side}, {side}" if channels == 1 else f"{channels}, {side}, {side}"
    raise DataError(
        f"{path}: {first.dtype} of shape {first.shape} has one row of numbers for each image, without height and "
        f"width\nuse images with their shape: values.reshape(-1, {shape})\n{_NO_IMAGES}"
    )
