"""Writers of samples: image grids and scatter plots as PNG, one file per sample, and an animation of grids.

The same samples give the same bytes, since no file has a date.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from aigc_zoo.artefacts.atomic import make_folder, write_bytes
from aigc_zoo.data.pixels import SUFFIXES
from aigc_zoo.errors import DataError, UsageError
from aigc_zoo.game import Spec

GAP = 2
GAP_GREY = 48
VISIBLE = 72
"""Pixels of the longer side to which grids enlarge small images."""

PLOT = 480
DOT = 2.0
OVERSAMPLING = 4
"""A scatter plot is drawn larger by this factor and reduced, as Pillow's circles are not antialiased."""

FRAMES = 64
FRAME_MS = 120
LAST_MS = 2000

SAMPLES = (*SUFFIXES, ".npy", ".npz")
"""Suffixes of the files that are read as samples."""


def preview_count(spec: Spec) -> int:
    """The number of samples in a preview: a scatter plot of points needs more than a grid of images."""
    return 1_024 if spec.modality == "points" else 64


def suffix(spec: Spec) -> str:
    """The suffix of the file that `save_grid` writes by default."""
    return ".png" if spec.modality in ("image", "points") else ".npy"


def to_uint8(x: Tensor, spec: Spec) -> Tensor:
    """Values in `spec.range`, rounded and clamped to uint8: (N, C, H, W) -> (N, C, H, W)."""
    if spec.range is None:
        raise DataError(f"samples of modality {spec.modality!r} without a range cannot be converted to images")
    low, high = spec.range
    return ((x.float() - low) / (high - low) * 255).round_().clamp_(0, 255).to(torch.uint8)


def grid(samples: Tensor, spec: Spec, columns: int = 8) -> Image.Image:
    """One image of all samples: images row by row, enlarged if they are small; points as a scatter plot."""
    if spec.modality == "points":
        return _scatter(samples, spec)
    images = _to_arrays(samples, spec)
    height, width = images.shape[1:3]
    scale = max(1, round(VISIBLE / max(height, width)))
    columns = max(1, min(columns, len(images)))
    row, column = height * scale + GAP, width * scale + GAP
    shape = (math.ceil(len(images) / columns) * row + GAP, columns * column + GAP, *images.shape[3:])
    canvas = np.full(shape, GAP_GREY, np.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * row + GAP, number % columns * column + GAP
        canvas[top : top + row - GAP, left : left + column - GAP] = image.repeat(scale, 0).repeat(scale, 1)
    return Image.fromarray(canvas)


def preview(samples: Tensor, spec: Spec) -> bytes | None:
    """The PNG of a grid; None for no samples, and for samples of a kind that has no grid."""
    return _png(grid(samples, spec)) if len(samples) and suffix(spec) == ".png" else None


def is_folder(out: Path | str) -> bool:
    """Whether `out` names a folder: it is one, or ends with a slash, or has no suffix; that of `v1.0` is a number."""
    path = Path(out)
    last = str(out)[-1:]
    return last in ("/", os.sep) or path.is_dir() or not path.suffix[1:] or path.suffix[1:].isdecimal()


def require_suffix(path: Path, spec: Spec) -> None:
    """Raises UsageError unless `save_grid` can write a file of this name; capitals make no difference."""
    known = tuple(dict.fromkeys((suffix(spec), ".npy")))
    if path.suffix.lower() not in known:
        raise UsageError(f"{path}: samples are written as {' or '.join(known)}\nend the name of a folder with a slash")


def require_no_samples(folder: Path) -> None:
    """Raises UsageError if the folder has images or arrays, with which new samples would be mixed."""
    if not folder.is_dir():
        return
    found = [path.name for path in folder.iterdir() if path.name.lower().endswith(SAMPLES) and path.name[0] != "."]
    if found:
        one = f"{len(found):,} files such as {min(found)}" if len(found) > 1 else found[0]
        raise UsageError(
            f"{folder} has samples already: {one}\n"
            "new samples would be mixed with them: choose another --out, or remove these files"
        )


def save_grid(samples: Tensor, spec: Spec, path: Path) -> None:
    """Writes all samples to one file, atomically: a grid or scatter plot as PNG, or their values as .npy.

    Raises UsageError for another suffix, StorageError where the file cannot be written.
    """
    require_suffix(path, spec)
    make_folder(path.parent)
    write_bytes(path, _npy(samples) if path.suffix.lower() == ".npy" else _png(grid(samples, spec)))


def save_image(image: Image.Image, path: Path) -> None:
    """Writes an image as PNG, atomically. Raises StorageError."""
    write_bytes(path, _png(image))


def save_each(samples: Tensor, spec: Spec, folder: Path, start: int = 0) -> list[Path]:
    """Writes a PNG per image, numbered from `start`; other samples go to one .npy, named by first and last number."""
    make_folder(folder)
    if spec.modality != "image":
        path = folder / f"{start:06d}-{start + len(samples) - 1:06d}.npy"
        write_bytes(path, _npy(samples))
        return [path]
    paths = [folder / f"{start + number:06d}.png" for number in range(len(samples))]
    for path, image in zip(paths, _to_arrays(samples, spec), strict=True):
        write_bytes(path, _png(Image.fromarray(image)))
    return paths


def animate(paths: Sequence[Path], out: Path) -> None:
    """Writes a looping GIF of at most 64 evenly chosen images of equal size; the last one is shown for longer."""
    count = min(len(paths), FRAMES)
    chosen = [paths[number * (len(paths) - 1) // max(1, count - 1)] for number in range(count)]
    frames = []
    for path in chosen:
        with Image.open(path, formats=["PNG"]) as image:
            # Pillow's default method takes 25 times as long for a hardly visible difference.
            method = Image.Quantize.FASTOCTREE
            frames.append(image.copy() if image.mode == "L" else image.quantize(256, method, dither=Image.Dither.NONE))
    target = io.BytesIO()
    durations = [FRAME_MS] * (count - 1) + [LAST_MS]
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    write_bytes(out, target.getvalue())


def _to_arrays(samples: Tensor, spec: Spec) -> np.ndarray:
    """(N, C, H, W) -> uint8 (N, H, W) for grey, (N, H, W, 3 or 4) for color; other channels are put side by side."""
    if samples.ndim != 4:
        raise DataError(f"images must have the shape (N, C, H, W), not {tuple(samples.shape)}")
    images = to_uint8(samples.detach().cpu(), spec)
    if images.shape[1] in (3, 4):
        return images.permute(0, 2, 3, 1).contiguous().numpy()
    return images.permute(0, 2, 1, 3).flatten(2).contiguous().numpy()


def _scatter(points: Tensor, spec: Spec) -> Image.Image:
    """Scatter plot of points (N, 2), with y upwards, over the range of the data, so that plots are comparable."""
    values = points.detach().cpu().double().numpy()
    if values.ndim != 2 or values.shape[1] != 2:
        raise DataError(f"points must have the shape (N, 2), not {tuple(values.shape)}")
    low, high = spec.range or _limits(values)
    side = PLOT * OVERSAMPLING
    canvas = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(canvas)
    for quarter in range(1, 4):
        line = side * quarter // 4
        draw.line((line, 0, line, side), fill="#e0e0e0", width=OVERSAMPLING)
        draw.line((0, line, side, line), fill="#e0e0e0", width=OVERSAMPLING)
    for x, y in (values - low) / (high - low) * side:
        if math.isfinite(x) and math.isfinite(y):
            r = DOT * OVERSAMPLING
            draw.ellipse((x - r, side - y - r, x + r, side - y + r), fill="#1f4e99")
    return canvas.reduce(OVERSAMPLING)


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Limits at a power of two that include nearly all points, so that they rarely change during a run."""
    finite = np.abs(values[np.isfinite(values)])
    limit = 2.0 ** math.ceil(math.log2(max(1e-3, float(np.quantile(finite, 0.99))))) if finite.size else 1.0
    return -limit, limit


def _npy(samples: Tensor) -> bytes:
    target = io.BytesIO()
    np.save(target, samples.detach().cpu().numpy(), allow_pickle=False)
    return target.getvalue()


def _png(image: Image.Image) -> bytes:
    target = io.BytesIO()
    image.save(target, "PNG")
    return target.getvalue()
