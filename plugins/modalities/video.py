"""Clips from animated GIF, PNG and WebP files, and from MP4 and other containers where PyAV is installed."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import IO, Annotated, Any, ClassVar, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageSequence
from torch import Tensor

from aigc_zoo.data import pixels
from aigc_zoo.game import Draw, Spec
from aigc_zoo.modality import Modality, Values, Writer, npy, png, to_uint8
from aigc_zoo.spec import Range

ANIMATIONS = (".gif", ".apng", ".png", ".webp")
CONTAINERS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
MOST_FRAMES = 100_000
FRAMES = 16
"""Frames of a clip where no number is given, at most."""

SIZE = 64
STRIPS, SHOWN, GAP, VISIBLE = 8, 8, 2, 48


class Header(NamedTuple):
    """Width and height in pixels, number of frames, frames per second, and whether all frames are grey."""

    width: int
    height: int
    frames: int
    rate: float
    grey: bool


class Video(Modality):
    """Clips (C, T, H, W) in [-1, 1] at `spec.rate` frames per second, stored as uint8."""

    noun: ClassVar[str] = "clip"
    units: ClassVar[str] = "clips"
    suffixes: ClassVar[tuple[str, ...]] = (*ANIMATIONS, *CONTAINERS)
    rank: ClassVar[int] = 3
    previews: ClassVar[int] = STRIPS

    def scan(self, file: IO[bytes], name: str) -> Iterator[Header]:
        yield _container_header(file) if _is_container(name) else _animation_header(file)

    def plan(
        self,
        scans: Sequence[Header],
        *,
        size: Annotated[int | None, Range(1)] = None,
        frames: Annotated[int | None, Range(1, MOST_FRAMES)] = None,
    ) -> Spec:
        """Size and length of all clips.

        size: pixels a side of the squares that frames are cropped and resized to; by default clips of one size keep it,
            and clips of several sizes become squares of 64.
        frames: frames of a sample; longer clips are cut into several, shorter ones repeat their last frame; by default
            those of the shortest clip, at most 16.
        """
        sizes = {(scan.width, scan.height) for scan in scans}
        if size is None and len(sizes) > 1:
            size = SIZE
        width, height = (size, size) if size else next(iter(sizes))
        count = frames or min(FRAMES, min(scan.frames for scan in scans))
        rates = sorted(scan.rate for scan in scans)
        channels = 1 if all(scan.grey for scan in scans) else 3
        return Spec(shape=(channels, count, height, width), modality="video", rate=round(rates[len(rates) // 2], 3))

    def whole(self, scans: Sequence[Header], spec: Spec) -> Spec:
        first = scans[0]
        return replace(spec, shape=(spec.shape[0], first.frames, first.height, first.width))

    def alike(self, spec: Spec, reference: Spec) -> Spec:
        return replace(spec, shape=(*spec.shape[:1], reference.shape[1], *spec.shape[2:]))

    def conversion(self, scans: Sequence[Header], spec: Spec) -> str:
        _, count, height, width = spec.shape
        done = []
        if any((scan.width, scan.height) != (width, height) for scan in scans):
            done.append(f"{pixels.METHOD} to {width}x{height}")
        if any(scan.frames != count for scan in scans):
            done.append(f"cut or extended to {count} frames")
        return ", ".join(done) or "none"

    def notes(self, scans: Sequence[Header], spec: Spec) -> Sequence[str]:
        _, count, height, width = spec.shape
        cropped = sum(scan.width * height != scan.height * width for scan in scans)
        rest = sum(scan.frames % count for scan in scans if scan.frames > count)
        squares = f"cropped {cropped:,} clip{'s' if cropped > 1 else ''} to squares of {width} pixels"
        ends = f"left out {rest:,} frame{'s' if rest > 1 else ''} after the last whole clip of {count} (--data.frames)"
        return [sentence for lost, sentence in ((cropped, squares), (rest, ends)) if lost]

    def stored(self, spec: Spec) -> tuple[str, tuple[int, ...]]:
        return "uint8", spec.shape

    def count(self, scans: Sequence[Header], spec: Spec) -> int:
        return sum(max(1, scan.frames // spec.shape[1]) for scan in scans)

    def read(self, file: IO[bytes], name: str, spec: Spec) -> Iterator[Values]:
        channels, count, height, width = spec.shape
        header = _container_header(file) if _is_container(name) else _animation_header(file)
        clips, frames = max(1, header.frames // count), []
        for image in _container(file) if _is_container(name) else _animation(file):
            flat = image.convert("L" if channels == 1 else "RGB")
            values = np.asarray(pixels.square(flat, width) if (flat.width, flat.height) != (width, height) else flat)
            frames.append(values[None] if channels == 1 else values.transpose(2, 0, 1))
            if len(frames) == count:
                yield np.stack(frames, 1)
                frames, clips = [], clips - 1
                if not clips:
                    return
        if not frames:
            raise ValueError("it has fewer frames than its header says")
        yield np.stack(frames + frames[-1:] * (count - len(frames)), 1)

    def strict(self) -> AbstractContextManager[None]:
        return pixels.strict()

    def example(self) -> tuple[Spec, Values]:
        clips = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 8, 8), dtype=np.uint8)
        return Spec(shape=(3, 4, 8, 8), modality="video", rate=10.0), clips

    def decode(self, rows: Tensor, draw: Draw, spec: Spec) -> Tensor:
        return rows.to(torch.float32).mul_(2 / 255).add_(-1.0) if rows.dtype == torch.uint8 else rows.to(torch.float32)

    def quantize(self, x: Tensor, spec: Spec) -> Tensor:
        return to_uint8(x, spec)

    @property
    def one(self) -> Mapping[str, Writer]:
        return {
            ".gif": lambda x, spec: _gif(self._pictures(x, spec), spec),
            ".apng": lambda x, spec: _animated(self._pictures(x, spec), "PNG", spec),
            ".npy": npy,
        }

    @property
    def many(self) -> Mapping[str, Writer]:
        return {
            ".gif": lambda x, spec: _gif(self._sheets(x, spec), spec),
            ".apng": lambda x, spec: _animated(self._sheets(x, spec), "PNG", spec),
            ".png": lambda x, spec: png(self.preview(x, spec)),
            ".npy": npy,
        }

    def preview(self, x: Tensor, spec: Spec) -> Image.Image:
        """A filmstrip: a clip in each row, at most eight frames of it at equal distances from left to right."""
        frames = self._frames(x, spec)
        chosen = np.linspace(0, frames.shape[1] - 1, min(SHOWN, frames.shape[1])).round().astype(int)
        return Image.fromarray(_tiled(frames[:, chosen]))

    def html(self, x: Tensor, spec: Spec) -> str:
        data = base64.b64encode(_gif(self._sheets(x[None], spec), spec)).decode()
        return f'<img alt="clip" class="clip" src="data:image/gif;base64,{data}">'

    def _frames(self, x: Tensor, spec: Spec) -> Values:
        """(N, C, T, H, W) -> uint8 (N, T, H, W) for grey, (N, T, H, W, 3) for color."""
        values = self.quantize(x.detach().cpu(), spec).permute(0, 2, 3, 4, 1)
        return (values if values.shape[-1] == 3 else values[..., 0]).contiguous().numpy()

    def _pictures(self, x: Tensor, spec: Spec) -> list[Image.Image]:
        """The frames of one clip, in their own size."""
        return [Image.fromarray(frame) for frame in self._frames(x[None], spec)[0]]

    def _sheets(self, x: Tensor, spec: Spec) -> list[Image.Image]:
        """All clips beside each other, a picture for each frame."""
        frames = self._frames(x, spec)
        columns = min(4, math.ceil(math.sqrt(len(frames))))
        missing = -len(frames) % columns
        if missing:
            frames = np.concatenate((frames, np.zeros((missing, *frames.shape[1:]), np.uint8)))
        return [
            Image.fromarray(_tiled(frames[:, t].reshape(-1, columns, *frames.shape[2:])))
            for t in range(frames.shape[1])
        ]


def _tiled(images: Values) -> Values:
    """Images (rows, columns, H, W[, 3]) as one, enlarged if they are small."""
    rows, columns, height, width = images.shape[:4]
    scale = max(1, round(VISIBLE / max(height, width)))
    down, right = height * scale + GAP, width * scale + GAP
    canvas = np.full((rows * down + GAP, columns * right + GAP, *images.shape[4:]), 48, np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = row * down + GAP, column * right + GAP
            canvas[top : top + height * scale, left : left + width * scale] = (
                images[row, column].repeat(scale, 0).repeat(scale, 1)
            )
    return canvas


def _gif(images: Sequence[Image.Image], spec: Spec) -> bytes:
    if images[0].mode == "RGB":
        images = [image.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE) for image in images]
    return _animated(images, "GIF", spec)


def _animated(images: Sequence[Image.Image], kind: str, spec: Spec) -> bytes:
    target = io.BytesIO()
    duration = max(20, round(1000 / (spec.rate or 8)))
    images[0].save(
        target, kind, save_all=True, append_images=images[1:], duration=duration, loop=0, **_EXACT.get(kind, {})
    )
    return target.getvalue()


_EXACT: Mapping[str, Mapping[str, Any]] = {"GIF": {"disposal": 1, "optimize": False}}


# --- animations -------------------------------------------------------------------------------------------------------


def _animation_header(file: IO[bytes]) -> Header:
    with _opened(file) as image:
        frames = int(getattr(image, "n_frames", 1))
        if frames < 2:
            raise ValueError("it is a still image")
        if frames > MOST_FRAMES or frames * image.width * image.height > 16 * pixels.MOST_PIXELS:
            raise ValueError(f"{frames:,} frames of {image.width}x{image.height} pixels are too many")
        grey, milliseconds = True, 0.0
        for frame in ImageSequence.Iterator(image):
            milliseconds += float(frame.info.get("duration") or 0)
            grey = grey and _grey(frame)
        rate = 1000 * frames / milliseconds if milliseconds else 0.0
        return Header(image.width, image.height, frames, rate or 8.0, grey)


def _animation(file: IO[bytes]) -> Iterator[Image.Image]:
    with _opened(file) as image:
        for frame in ImageSequence.Iterator(image):
            yield frame.convert("RGB")


def _opened(file: IO[bytes]) -> Image.Image:
    file.seek(0)
    image = Image.open(file, formats=("GIF", "PNG", "WEBP"))
    if not 0 < image.width * image.height <= pixels.MOST_PIXELS:
        image.close()
        raise ValueError(f"{image.width}x{image.height} pixels are not from 1 to {pixels.MOST_PIXELS:,}")
    return image


def _grey(frame: Image.Image) -> bool:
    if frame.mode in ("1", "L", "LA"):
        return True
    values = np.asarray(frame.convert("RGB"))
    return bool((values == values[..., :1]).all())


# --- containers -------------------------------------------------------------------------------------------------------


def _is_container(name: str) -> bool:
    return name.lower().endswith(CONTAINERS)


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise ValueError("this format needs PyAV: python -m pip install 'aigc-zoo[video]'") from error
    return av


def _container_header(file: IO[bytes]) -> Header:
    file.seek(0)
    with _av().open(file) as container:
        stream = container.streams.video[0]
        frames = sum(1 for packet in container.demux(stream) if packet.size)  # headers may lie, and packets are cheap
        if not 0 < frames <= MOST_FRAMES or frames * stream.width * stream.height > 16 * pixels.MOST_PIXELS:
            raise ValueError(f"{frames:,} frames of {stream.width}x{stream.height} pixels cannot be read")
        return Header(stream.width, stream.height, frames, float(stream.average_rate or 8), False)


def _container(file: IO[bytes]) -> Iterator[Image.Image]:
    file.seek(0)
    with _av().open(file) as container:
        for frame in container.decode(container.streams.video[0]):
            yield frame.to_image()
