"""Synthetic labelled digits, which need no download and have no license of others.

They are bit-identical on all machines: raw 64-bit numbers of PCG64, whose sequence numpy guarantees, and float32 sums,
products, quotients and roots, which IEEE 754 rounds in one way. There are no sines, matrix products or threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from aigc_zoo.data.cache import Plan, cached_pool
from aigc_zoo.data.samples import image_samples
from aigc_zoo.errors import StorageError
from aigc_zoo.game import Samples

from . import glyphs
from .glyphs import GLYPHS, Glyph, Stroke

SIDE = 28
COUNTS = {"train": 12_000, "test": 2_000}
SEEDS = {"train": 1, "test": 2}
SEGMENTS = 4
"""Straight segments for each bend of a stroke."""
CHUNK = 32
"""Images whose distances are computed together; this many fit into the cache of the processor."""
NUMBERS = 12
POINTS = max(len({point for stroke in glyph.strokes for point in stroke.points}) for some in GLYPHS for glyph in some)

Array = np.ndarray


def digits(where: Path) -> Mapping[str, Samples]:
    """Digits 0 to 9, white on black, (N, 1, 28, 28) uint8, equally many of each in every split.

    Glyph, size, width, slant, rotation, position, thickness, softness and the control points vary. The digits are drawn
    once, which takes a second, and cached; without a writable cache they are drawn every time.
    """
    names = [str(digit) for digit in range(10)]
    splits = {}
    for split, (fields, digest) in _fields().items():
        splits[split] = image_samples(
            "digits", split, fields["real"], fields["label"], names, extractor="zoo-grey28", digest=digest
        )
    return splits


def _fields() -> dict[str, tuple[Mapping[str, torch.Tensor], str]]:
    """Images and labels of each split, and their digest if it is known."""
    arrays: dict[str, tuple[str, tuple[int, ...]]] = {}
    for split, count in COUNTS.items():
        arrays |= {f"{split}/real": ("uint8", (count, 1, SIDE, SIDE)), f"{split}/label": ("int64", (count,))}

    def fill(pool: Mapping[str, Array]) -> None:
        for split, count in COUNTS.items():
            pool[f"{split}/real"][:], pool[f"{split}/label"][:] = draw(count, SEEDS[split])

    # The source code serves as the version, so that a change of it always draws the digits again.
    version = hashlib.sha256(Path(__file__).read_bytes() + Path(glyphs.__file__).read_bytes()).hexdigest()
    try:
        pool = cached_pool("digits", "digits", version, lambda: Plan(arrays, {}, fill))
        return {split: (pool.split(split), pool.digests[split]) for split in COUNTS}
    except StorageError:
        drawn = {name: np.empty(shape, dtype) for name, (dtype, shape) in arrays.items()}
        fill(drawn)
        tensors = {name: torch.from_numpy(array) for name, array in drawn.items()}
        return {split: ({key: tensors[f"{split}/{key}"] for key in ("real", "label")}, "") for split in COUNTS}


def draw(count: int, seed: int) -> tuple[Array, Array]:
    """Images (count, 1, 28, 28) uint8 and labels (count,) int64."""
    raw = np.random.PCG64(seed).random_raw(count * (NUMBERS + 4 * POINTS))
    numbers = ((raw >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)).reshape(count, -1)
    labels = np.arange(count) % 10
    images = np.empty((count, 1, SIDE, SIDE), np.uint8)
    for digit, glyphs_of_digit in enumerate(GLYPHS):
        rows_of_digit = np.flatnonzero(labels == digit)
        choice = (numbers[rows_of_digit, 0] * np.float32(len(glyphs_of_digit))).astype(np.int64)
        for number, glyph in enumerate(glyphs_of_digit):
            rows = rows_of_digit[choice == number]
            for first in range(0, len(rows), CHUNK):
                chunk = rows[first : first + CHUNK]
                images[chunk, 0] = render(glyph, numbers[chunk])
    return images, labels


def render(glyph: Glyph, numbers: Array) -> Array:
    """Images (n, 28, 28) uint8 of one glyph, each a function of its row of uniform numbers."""

    def between(column: int, low: float, high: float) -> Array:
        return np.float32(low) + numbers[:, column] * np.float32(high - low)

    tall = between(1, 15.0, 21.5)
    wide = tall * between(2, *glyph.width)
    thickness = between(3, 1.5, 3.8) * tall / np.float32(20)
    soft = between(4, 0.7, 1.3)
    lean = between(5, -0.14, 0.14) + between(6, -0.14, 0.14)
    half_turn = between(7, -0.06, 0.06) + between(8, -0.06, 0.06)
    points = _points(glyph)
    jitter = numbers[:, NUMBERS : NUMBERS + 4 * len(points)].reshape(len(numbers), len(points), 2, 2).sum(3) - 1
    xy = np.array(points, np.float32) - np.float32(0.5) + np.float32(0.055) * jitter
    y = xy[:, :, 1] * tall[:, None]
    x = xy[:, :, 0] * wide[:, None] - lean[:, None] * y
    # A rotation by 2 atan(half_turn), computed without functions that differ between machines.
    square = half_turn * half_turn
    cosine, sine = ((1 - square) / (1 + square))[:, None], (2 * half_turn / (1 + square))[:, None]
    x, y = cosine * x - sine * y, sine * x + cosine * y
    starts, ends = _segments(glyph, points, np.stack((x, y), 2))
    margin = thickness / 2 + soft / 2 + np.float32(0.5)
    shift = [_offset(starts[:, :, axis], ends[:, :, axis], margin, between(9 + axis, -2.5, 2.5)) for axis in range(2)]
    center = np.stack(shift, 1)[:, None]
    nearest = _distance(starts + center, ends + center)
    ink = np.float32(0.5) + (thickness[:, None, None] / 2 - nearest) / soft[:, None, None]
    return (ink.clip(0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def _offset(starts: Array, ends: Array, margin: Array, shift: Array) -> Array:
    """The offset (n,) that centers the strokes' box and moves it by `shift` as far as the image allows."""
    low = np.minimum(starts.min(1), ends.min(1)) - margin
    high = np.maximum(starts.max(1), ends.max(1)) + margin
    room = np.maximum((SIDE - (high - low)) / 2, 0)
    return np.float32(SIDE / 2) - (low + high) / 2 + np.clip(shift, -room, room)


def _distance(starts: Array, ends: Array) -> Array:
    """Distance in pixels from each pixel's center to the nearest segment: (n, segments, 2) -> (n, 28, 28)."""
    along = ends - starts
    length = np.sqrt((along * along).sum(2)) + np.float32(1e-6)
    unit = along / length[:, :, None]
    middle = (starts + ends) / 2
    pixels = np.arange(SIDE, dtype=np.float32) + np.float32(0.5)
    nearest = np.full((len(starts), SIDE, SIDE), np.inf, np.float32)
    across, beyond = np.empty_like(nearest), np.empty_like(nearest)
    for segment in range(starts.shape[1]):
        dx = (pixels - middle[:, segment, :1])[:, None, :]
        dy = (pixels - middle[:, segment, 1:])[:, :, None]
        ux, uy = unit[:, segment, 0, None, None], unit[:, segment, 1, None, None]
        np.subtract(dy * ux, dx * uy, out=across)
        np.add(dx * ux, dy * uy, out=beyond)
        np.abs(beyond, out=beyond)
        beyond -= length[:, segment, None, None] / 2
        np.maximum(beyond, 0, out=beyond)
        across *= across
        beyond *= beyond
        across += beyond
        np.minimum(nearest, across, out=nearest)
    return np.sqrt(nearest, out=nearest)


def _points(glyph: Glyph) -> list[tuple[float, float]]:
    return list(dict.fromkeys(point for stroke in glyph.strokes for point in stroke.points))


def _segments(glyph: Glyph, points: list[tuple[float, float]], xy: Array) -> tuple[Array, Array]:
    """Starts and ends of the straight segments of all strokes, each (n, segments, 2)."""
    starts, ends = [], []
    for stroke in glyph.strokes:
        corners = [xy[:, points.index(point)] for point in stroke.points]
        line = _bent(stroke, corners)
        starts += line[:-1]
        ends += line[1:]
    return np.stack(starts, 1), np.stack(ends, 1)


def _bent(stroke: Stroke, corners: list[Array]) -> list[Array]:
    """The vertices (n, 2) of the polyline that follows a stroke's curve."""
    if len(corners) == 2:
        return corners
    if stroke.closed:
        line = [(corners[-1] + corners[0]) / 2]
        bends = corners
        ends = [(a + b) / 2 for a, b in pairwise((*corners, corners[0]))]
    else:
        line = [corners[0]]
        bends = corners[1:-1]
        ends = [(a + b) / 2 for a, b in pairwise(bends)] + [corners[-1]]
    for b, c in zip(bends, ends, strict=True):
        a = line[-1]
        steps = range(1, SEGMENTS + 1)
        line += [
            ((SEGMENTS - k) ** 2 * a + 2 * k * (SEGMENTS - k) * b + k * k * c) / np.float32(SEGMENTS**2) for k in steps
        ]
    return line
