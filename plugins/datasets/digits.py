"""Labelled digits drawn by the zoo itself: the data of the first command, without a download and without a licence.

Bit-identical everywhere: raw 64-bit numbers of PCG64, whose sequence numpy guarantees, and float32 sums, products,
quotients and roots, which IEEE 754 rounds alike on all machines. No sine, no matrix product, no thread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from aigc_zoo.data.cache import Plan, remembered
from aigc_zoo.data.samples import image_samples
from aigc_zoo.errors import StorageError
from aigc_zoo.game import Samples

from . import glyphs
from .glyphs import GLYPHS, Glyph, Stroke

SIDE = 28
COUNTS = {"train": 12_000, "test": 2_000}
SEEDS = {"train": 1, "test": 2}
PIECES = 4
"""Straight pieces for each bend of a stroke."""
AT_ONCE = 32
"""Pictures whose distances are computed together: so many stay in the processor's cache."""
NUMBERS = 12
POINTS = max(len({point for stroke in glyph.strokes for point in stroke.points}) for ways in GLYPHS for glyph in ways)

Array = np.ndarray


def digits(where: Path) -> Mapping[str, Samples]:
    """Digits 0 to 9, white on black, (N, 1, 28, 28) uint8; ways of writing, size, width, slant, turn, place, thickness,
    softness, and the control points themselves vary. All ten in turn, so that each split has as many of each.

    Drawn once, which takes a second, and kept in the cache; where nothing can be kept they are drawn every time.
    """
    names = [str(digit) for digit in range(10)]
    splits = {}
    for split, (fields, digest) in _fields().items():
        splits[split] = image_samples(
            "digits", split, fields["real"], fields["label"], names, extractor="zoo-grey28", digest=digest
        )
    return splits


def _fields() -> dict[str, tuple[Mapping[str, torch.Tensor], str]]:
    """Images and labels of each split, and their digest where it is known."""
    arrays: dict[str, tuple[str, tuple[int, ...]]] = {}
    for split, count in COUNTS.items():
        arrays |= {f"{split}/real": ("uint8", (count, 1, SIDE, SIDE)), f"{split}/label": ("int64", (count,))}

    def fill(made: Mapping[str, Array]) -> None:
        for split, count in COUNTS.items():
            made[f"{split}/real"][:], made[f"{split}/label"][:] = draw(count, SEEDS[split])

    # What draws them is their state: nobody can forget to count up a version.
    drawing = hashlib.sha256(Path(__file__).read_bytes() + Path(glyphs.__file__).read_bytes()).hexdigest()
    try:
        kept = remembered("digits", "digits", drawing, lambda: Plan(arrays, {}, fill))
        return {split: (kept.split(split), kept.digests[split]) for split in COUNTS}
    except StorageError:
        made = {name: np.empty(shape, dtype) for name, (dtype, shape) in arrays.items()}
        fill(made)
        tensors = {name: torch.from_numpy(array) for name, array in made.items()}
        return {split: ({key: tensors[f"{split}/{key}"] for key in ("real", "label")}, "") for split in COUNTS}


def draw(count: int, seed: int) -> tuple[Array, Array]:
    """Images (count, 1, 28, 28) uint8 and labels (count,) int64."""
    raw = np.random.PCG64(seed).random_raw(count * (NUMBERS + 4 * POINTS))
    numbers = ((raw >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)).reshape(count, -1)
    labels = np.arange(count) % 10
    images = np.empty((count, 1, SIDE, SIDE), np.uint8)
    for digit, ways in enumerate(GLYPHS):
        of_digit = np.flatnonzero(labels == digit)
        way = (numbers[of_digit, 0] * np.float32(len(ways))).astype(np.int64)
        for number, glyph in enumerate(ways):
            rows = of_digit[way == number]
            for first in range(0, len(rows), AT_ONCE):
                part = rows[first : first + AT_ONCE]
                images[part, 0] = render(glyph, numbers[part])
    return images, labels


def render(glyph: Glyph, numbers: Array) -> Array:
    """Pictures (n, 28, 28) uint8 of one glyph, each by its own row of uniform numbers."""

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
    # A turn by 2 atan(half_turn), in numbers that are the same on every machine.
    square = half_turn * half_turn
    cosine, sine = ((1 - square) / (1 + square))[:, None], (2 * half_turn / (1 + square))[:, None]
    x, y = cosine * x - sine * y, sine * x + cosine * y
    starts, ends = _pieces(glyph, points, np.stack((x, y), 2))
    margin = thickness / 2 + soft / 2 + np.float32(0.5)
    shift = [_placed(starts[:, :, axis], ends[:, :, axis], margin, between(9 + axis, -2.5, 2.5)) for axis in range(2)]
    centre = np.stack(shift, 1)[:, None]
    nearest = _distance(starts + centre, ends + centre)
    ink = np.float32(0.5) + (thickness[:, None, None] / 2 - nearest) / soft[:, None, None]
    return (ink.clip(0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def _placed(starts: Array, ends: Array, margin: Array, wish: Array) -> Array:
    """The offset (n,) that puts the strokes' box in the middle, moved by `wish` as far as the picture allows."""
    low = np.minimum(starts.min(1), ends.min(1)) - margin
    high = np.maximum(starts.max(1), ends.max(1)) + margin
    room = np.maximum((SIDE - (high - low)) / 2, 0)
    return np.float32(SIDE / 2) - (low + high) / 2 + np.clip(wish, -room, room)


def _distance(starts: Array, ends: Array) -> Array:
    """From the centre of each pixel to the nearest of the pieces (n, pieces, 2), in pixels: (n, 28, 28)."""
    along = ends - starts
    length = np.sqrt((along * along).sum(2)) + np.float32(1e-6)
    unit = along / length[:, :, None]
    middle = (starts + ends) / 2
    pixels = np.arange(SIDE, dtype=np.float32) + np.float32(0.5)
    nearest = np.full((len(starts), SIDE, SIDE), np.inf, np.float32)
    across, beyond = np.empty_like(nearest), np.empty_like(nearest)
    for piece in range(starts.shape[1]):
        dx = (pixels - middle[:, piece, :1])[:, None, :]
        dy = (pixels - middle[:, piece, 1:])[:, :, None]
        ux, uy = unit[:, piece, 0, None, None], unit[:, piece, 1, None, None]
        np.subtract(dy * ux, dx * uy, out=across)
        np.add(dx * ux, dy * uy, out=beyond)
        np.abs(beyond, out=beyond)
        beyond -= length[:, piece, None, None] / 2
        np.maximum(beyond, 0, out=beyond)
        across *= across
        beyond *= beyond
        across += beyond
        np.minimum(nearest, across, out=nearest)
    return np.sqrt(nearest, out=nearest)


def _points(glyph: Glyph) -> list[tuple[float, float]]:
    return list(dict.fromkeys(point for stroke in glyph.strokes for point in stroke.points))


def _pieces(glyph: Glyph, points: list[tuple[float, float]], xy: Array) -> tuple[Array, Array]:
    """Where the straight pieces of all strokes start and end, each (n, pieces, 2)."""
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
        steps = range(1, PIECES + 1)
        line += [((PIECES - k) ** 2 * a + 2 * k * (PIECES - k) * b + k * k * c) / np.float32(PIECES**2) for k in steps]
    return line
