"""Samples as files that people look at: grids and scatters as PNG, one file each, an animation of grids.

The same samples give the same bytes: nothing here writes a date, and no number of samples depends on its neighbours.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from aigc_zoo.artefacts.atomic import make_folder, write_bytes
from aigc_zoo.errors import DataError, UsageError
from aigc_zoo.game import Spec

GAP = 2
GAP_GREY = 48
VISIBLE = 72
"""Pixels of a picture's longer side that a person sees comfortably; smaller pictures are enlarged in grids."""

PLOT = 480
DOT = 2.0
FINER = 4
"""A scatter is drawn so many times larger and reduced: Pillow's own circles have hard edges."""

FRAMES = 64
FRAME_MS = 120
LAST_MS = 2000


def shown(spec: Spec) -> int:
    """How many samples make a telling picture: a scatter of points wants more than a grid of images."""
    return 1_024 if spec.modality == "points" else 64


def suffix(spec: Spec) -> str:
    """Of the file that `save_grid` writes by default."""
    return ".png" if spec.modality in ("image", "points") else ".npy"


def to_uint8(x: Tensor, spec: Spec) -> Tensor:
    """Values in `spec.range` as uint8, rounded, clamped: (N, C, H, W) -> (N, C, H, W)."""
    if spec.range is None:
        raise DataError(f"samples of the kind {spec.modality!r} without a stated range have no meaning as pictures")
    low, high = spec.range
    return ((x.float() - low) / (high - low) * 255).round_().clamp_(0, 255).to(torch.uint8)


def grid(samples: Tensor, spec: Spec, columns: int = 8) -> Image.Image:
    """One picture of all samples: images row by row, enlarged where they are tiny; points as a scatter."""
    if spec.modality == "points":
        return _scatter(samples, spec)
    pictures = _pictures(samples, spec)
    height, width = pictures.shape[1:3]
    scale = max(1, round(VISIBLE / max(height, width)))
    columns = max(1, min(columns, len(pictures)))
    tall, wide = height * scale + GAP, width * scale + GAP
    shape = (math.ceil(len(pictures) / columns) * tall + GAP, columns * wide + GAP, *pictures.shape[3:])
    canvas = np.full(shape, GAP_GREY, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * tall + GAP, number % columns * wide + GAP
        canvas[top : top + tall - GAP, left : left + wide - GAP] = picture.repeat(scale, 0).repeat(scale, 1)
    return Image.fromarray(canvas)


def save_grid(samples: Tensor, spec: Spec, path: Path) -> None:
    """Writes all samples to one file, whole or not at all: a picture as PNG, or their values as .npy.

    Raises UsageError for another suffix, StorageError where the file cannot be written.
    """
    make_folder(path.parent)
    if path.suffix == ".npy":
        return write_bytes(path, _npy(samples))
    if path.suffix != ".png" or suffix(spec) == ".npy":
        raise UsageError(f"{path}: samples are written as {' or '.join(dict.fromkeys((suffix(spec), '.npy')))}")
    return write_bytes(path, _png(grid(samples, spec)))


def png(picture: Image.Image, path: Path) -> None:
    """Writes a picture as PNG, whole or not at all. Raises StorageError."""
    write_bytes(path, _png(picture))


def save_each(samples: Tensor, spec: Spec, folder: Path, start: int = 0) -> list[Path]:
    """Writes a PNG for each image, numbered from `start`; of other samples one .npy, numbered from first to last."""
    make_folder(folder)
    if spec.modality != "image":
        path = folder / f"{start:06d}-{start + len(samples) - 1:06d}.npy"
        write_bytes(path, _npy(samples))
        return [path]
    paths = [folder / f"{start + number:06d}.png" for number in range(len(samples))]
    for path, picture in zip(paths, _pictures(samples, spec), strict=True):
        write_bytes(path, _png(Image.fromarray(picture)))
    return paths


def animate(paths: Sequence[Path], out: Path) -> None:
    """Pictures of equal size as a GIF without end, at most 64 of them evenly chosen; the last one stays for a while."""
    count = min(len(paths), FRAMES)
    chosen = [paths[number * (len(paths) - 1) // max(1, count - 1)] for number in range(count)]
    frames = []
    for path in chosen:
        with Image.open(path, formats=["PNG"]) as image:
            # Pillow's own choice of 256 colours takes 25 times as long and looks hardly better.
            few = Image.Quantize.FASTOCTREE
            frames.append(image.copy() if image.mode == "L" else image.quantize(256, few, dither=Image.Dither.NONE))
    target = io.BytesIO()
    durations = [FRAME_MS] * (count - 1) + [LAST_MS]
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    write_bytes(out, target.getvalue())


def _pictures(samples: Tensor, spec: Spec) -> np.ndarray:
    """(N, C, H, W) -> uint8 (N, H, W) for grey, (N, H, W, 3 or 4) for colour; other channels stand side by side."""
    if samples.ndim != 4:
        raise DataError(f"pictures have the shape (N, C, H, W), not {tuple(samples.shape)}")
    pictures = to_uint8(samples.detach().cpu(), spec)
    if pictures.shape[1] in (3, 4):
        return pictures.permute(0, 2, 3, 1).contiguous().numpy()
    return pictures.permute(0, 2, 1, 3).flatten(2).contiguous().numpy()


def _scatter(points: Tensor, spec: Spec) -> Image.Image:
    """Points (N, 2) on white, x to the right and y up, over the range of the data, so that pictures are comparable."""
    values = points.detach().cpu().double().numpy()
    if values.ndim != 2 or values.shape[1] != 2:
        raise DataError(f"points have the shape (N, 2), not {tuple(values.shape)}")
    low, high = spec.range or _limits(values)
    side = PLOT * FINER
    canvas = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(canvas)
    for quarter in range(1, 4):
        line = side * quarter // 4
        draw.line((line, 0, line, side), fill="#e0e0e0", width=FINER)
        draw.line((0, line, side, line), fill="#e0e0e0", width=FINER)
    for x, y in (values - low) / (high - low) * side:
        if math.isfinite(x) and math.isfinite(y):
            r = DOT * FINER
            draw.ellipse((x - r, side - y - r, x + r, side - y + r), fill="#1f4e99")
    return canvas.reduce(FINER)


def _limits(values: np.ndarray) -> tuple[float, float]:
    """A power of two that holds nearly all points: it moves seldom between the pictures of a run."""
    finite = np.abs(values[np.isfinite(values)])
    reach = 2.0 ** math.ceil(math.log2(max(1e-3, float(np.quantile(finite, 0.99))))) if finite.size else 1.0
    return -reach, reach


def _npy(samples: Tensor) -> bytes:
    target = io.BytesIO()
    np.save(target, samples.detach().cpu().numpy(), allow_pickle=False)
    return target.getvalue()


def _png(image: Image.Image) -> bytes:
    target = io.BytesIO()
    image.save(target, "PNG")
    return target.getvalue()
