"""Images (C, H, W): files of the usual formats, grids, and pixels as uint8."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import IO, Annotated, Any, ClassVar

import numpy as np
import torch
from PIL import Image as Pictures
from torch import Tensor

from aigc_zoo.data import pixels
from aigc_zoo.data.array_images import as_images
from aigc_zoo.errors import DataError
from aigc_zoo.game import Draw, Spec
from aigc_zoo.modality import Adopted, Modality, Values, Writer, npy, png, to_uint8
from aigc_zoo.spec import Range

SIZE = 64
"""Pixels a side that images of different sizes are resized to where no size is given."""

GAP, GREY = 2, 48
VISIBLE = 72
"""Pixels of the longer side to which grids enlarge small images."""


class Image(Modality):
    """Images (C, H, W) in [-1, 1], stored as uint8; grey where all files are grey, otherwise of three channels."""

    noun: ClassVar[str] = "image"
    units: ClassVar[str] = "images"
    suffixes: ClassVar[tuple[str, ...]] = pixels.SUFFIXES
    rank: ClassVar[int] = 5
    resizing: ClassVar[str] = pixels.METHOD

    def scan(self, file: IO[bytes], name: str) -> Iterator[pixels.Header]:
        yield pixels.read_header(file)

    def plan(self, scans: Sequence[pixels.Header], *, size: Annotated[int | None, Range(1)] = None) -> Spec:
        """The size of all images.

        size: pixels a side of the squares that images are cropped and resized to; by default images of one size keep
            it, and images of several sizes become squares of 64.
        """
        sizes = {(scan.width, scan.height) for scan in scans}
        if size is None and len(sizes) > 1:
            size = SIZE
        width, height = (size, size) if size else next(iter(sizes))
        return Spec(shape=(1 if all(scan.grey for scan in scans) else 3, height, width))

    def whole(self, scans: Sequence[pixels.Header], spec: Spec) -> Spec:
        return replace(spec, shape=(spec.shape[0], scans[0].height, scans[0].width))

    def conversion(self, scans: Sequence[pixels.Header], spec: Spec) -> str:
        _, height, width = spec.shape
        kept = all((scan.width, scan.height) == (width, height) for scan in scans)
        return "none" if kept else f"{pixels.METHOD} to {width}x{height}"

    def notes(self, scans: Sequence[pixels.Header], spec: Spec) -> Sequence[str]:
        _, height, width = spec.shape
        cropped = sum(scan.width * height != scan.height * width for scan in scans)
        several = sum(scan.several for scan in scans)
        first = f"read only the first frame of {several:,} file{'s' if several > 1 else ''} with several"
        squares = f"cropped {cropped:,} image{'s' if cropped > 1 else ''} to squares of {width} pixels"
        return [sentence for lost, sentence in ((cropped, squares), (several, first)) if lost]

    def stored(self, spec: Spec) -> tuple[str, tuple[int, ...]]:
        return "uint8", spec.shape

    def read(self, file: IO[bytes], name: str, spec: Spec) -> Iterator[Values]:
        channels, height, width = spec.shape
        yield pixels.decode(file, channels, width if width == height else None)

    def strict(self) -> AbstractContextManager[None]:
        return pixels.strict()

    def resize(self, rows: Tensor, size: int) -> Tensor:
        """As image files are resized, channel by channel."""
        if rows.dtype != torch.uint8:
            raise ValueError(f"only uint8 images can be resized, not {str(rows.dtype).removeprefix('torch.')}")
        result = torch.empty(*rows.shape[:2], size, size, dtype=torch.uint8)
        for channel, target in zip(rows.flatten(0, 1), result.flatten(0, 1), strict=True):
            target.copy_(torch.from_numpy(np.array(pixels.square(Pictures.fromarray(channel.numpy()), size))))
        return result

    def part(self, number: int, of: int) -> Modality:
        return Part(number, of)

    def adopt(self, arrays: Mapping[str, Values], kind: str, where: str) -> Adopted | None:
        found = None if kind == "arrays" else as_images(where, arrays, kind == "images")
        if found is None:
            return None
        shape = tuple(next(iter(found.values.values())).shape[1:])
        return Adopted(found.values, Spec(shape=shape, range=found.bounds or (-1.0, 1.0)))

    def example(self) -> tuple[Spec, Values]:
        return Spec(shape=(3, 8, 8)), np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)

    def decode(self, rows: Tensor, draw: Draw, spec: Spec) -> Tensor:
        if rows.dtype != torch.uint8:
            return rows.to(torch.float32)
        # A product, since CUDA divides by a scalar through its reciprocal, which differs by a bit from the CPU.
        return rows.to(torch.float32).mul_(2 / 255).add_(-1.0)

    def quantize(self, x: Tensor, spec: Spec) -> Tensor:
        return to_uint8(x, spec)

    @property
    def one(self) -> Mapping[str, Writer]:
        return {".png": lambda x, spec: png(Pictures.fromarray(self._pixels(x[None], spec)[0])), ".npy": npy}

    @property
    def many(self) -> Mapping[str, Writer]:
        return {".png": lambda x, spec: png(self.preview(x, spec)), ".npy": npy}

    def preview(self, x: Tensor, spec: Spec) -> Pictures.Image:
        """A grid, row by row; small images are enlarged."""
        return self.grid(x, spec)

    def grid(self, x: Tensor, spec: Spec, columns: int = 8) -> Pictures.Image:
        """A grid with this many images in a row."""
        images = self._pixels(x, spec)
        height, width = images.shape[1:3]
        scale = max(1, round(VISIBLE / max(height, width)))
        columns = max(1, min(columns, len(images)))
        row, column = height * scale + GAP, width * scale + GAP
        shape = (math.ceil(len(images) / columns) * row + GAP, columns * column + GAP, *images.shape[3:])
        canvas = np.full(shape, GREY, np.uint8)
        for number, image in enumerate(images):
            top, left = number // columns * row + GAP, number % columns * column + GAP
            canvas[top : top + row - GAP, left : left + column - GAP] = image.repeat(scale, 0).repeat(scale, 1)
        return Pictures.fromarray(canvas)

    def html(self, x: Tensor, spec: Spec) -> str:
        """An image of at least 72 pixels a side."""
        data = base64.b64encode(png(self.grid(x[None], spec))).decode()
        return f'<img alt="sample" src="data:image/png;base64,{data}">'

    def extractor(self, spec: Spec) -> str:
        return "pixels"

    def metrics(self, spec: Spec) -> tuple[str, ...]:
        return ("fid", "variance-ratio", "duplicates", "modes", *self._of_pairs(spec))

    def evaluation(self, spec: Spec) -> tuple[str, ...]:
        return ("fid", "kid", *self._of_pairs(spec), "memorization")

    def _of_pairs(self, spec: Spec) -> tuple[str, ...]:
        """Where images belong to images, a translation is compared with its target."""
        return ("psnr", "ssim") if any(one.modality == spec.modality for one in spec.entries.values()) else ()

    def _pixels(self, x: Tensor, spec: Spec) -> np.ndarray[Any, Any]:
        """(N, C, H, W) -> uint8 (N, H, W) for grey, (N, H, W, 3 or 4) for color; other channels lie side by side."""
        if x.ndim != 4:
            raise DataError(f"images must have the shape (N, C, H, W), not {tuple(x.shape)}")
        images = self.quantize(x.detach().cpu(), spec)
        if images.shape[1] in (3, 4):
            return images.permute(0, 2, 3, 1).contiguous().numpy()
        return images.permute(0, 2, 1, 3).flatten(2).contiguous().numpy()


class Part(Image):
    """Part `number` of images of which `of` lie side by side in each file, from left to right."""

    def __init__(self, number: int, of: int) -> None:
        self.number, self.of = number, of

    def scan(self, file: IO[bytes], name: str) -> Iterator[pixels.Header]:
        for header in super().scan(file, name):
            if header.width % self.of:
                raise ValueError(f"its width of {header.width} pixels does not divide into {self.of} equal parts")
            yield header._replace(width=header.width // self.of)

    def read(self, file: IO[bytes], name: str, spec: Spec) -> Iterator[Values]:
        channels, height, width = spec.shape
        whole = pixels.decode(file, channels)
        side = whole.shape[2] // self.of
        mine = whole[:, :, self.number * side : (self.number + 1) * side]
        if mine.shape[1:] == (height, width):
            yield mine
            return
        planes = [pixels.square(Pictures.fromarray(np.ascontiguousarray(plane)), width) for plane in mine]
        yield np.stack([np.asarray(plane) for plane in planes])
