"""Forty image files, each alone in a folder: its exact pixels, or the reason for refusing it (R27)."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opened import open_path
from PIL import Image

from aigc_zoo.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (6, 9, 1), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (6, 9), dtype=np.uint16)
FLAT = np.full((8, 8, 3), (200, 40, 90), np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def of(values: np.ndarray, mode: str | None = None) -> Image.Image:
    image = Image.fromarray(values)
    return image if mode is None else image.convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, color: int, rows: bytes) -> bytes:
    """A PNG written byte by byte, for modes and sizes that Pillow does not write."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def deep_color(values: np.ndarray) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(values.shape[1], values.shape[0], 16, 2, rows)


def turned(kind: str, **settings: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(of(COLOR), kind, exif=exif, **settings)


def frames(kind: str) -> bytes:
    others = [of(255 - COLOR), of(COLOR // 2)]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    return saved(of(COLOR), kind, save_all=True, append_images=others, **lossless)


def palette(transparent: bool) -> bytes:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    return saved(image, transparency=1) if transparent else saved(image)


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def on_black(values: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Pillow's own composition over opaque black, which rounds in its own way."""
    over = of(np.concatenate([values, alpha], -1))
    return np.asarray(Image.alpha_composite(Image.new("RGBA", over.size, (0, 0, 0, 255)), over).convert("RGB"))


def wide(values: np.ndarray) -> np.ndarray:
    return ((values.astype(int) + 128) // 257).astype(np.uint8)


DEEP_COLOR = RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)
LARGE = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
CMYK = np.array([[(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)]], np.uint8)
INK = np.array([[(255, 255, 255), (0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0)]], np.uint8)

FILES: dict[str, tuple[str, Callable[[], bytes], Any]] = {
    # modes of each format, with the expected pixels: (H, W) for grey images
    "1 bit": ("a.png", lambda: saved(of(GREY > 99)), np.where(GREY > 99, 255, 0)),
    "grey": ("a.png", lambda: saved(of(GREY)), GREY),
    "grey alpha": (
        "a.png",
        lambda: saved(Image.merge("LA", [of(GREY), of(ALPHA[..., 0])])),
        on_black(np.stack([GREY] * 3, -1), ALPHA)[..., 0],
    ),
    "16 bit": ("a.png", lambda: saved(of(DEEP)), wide(DEEP)),
    "16 bit tiff": ("a.tif", lambda: saved(of(DEEP), "TIFF"), wide(DEEP)),
    "16 bit tiff, big end": ("a.tif", lambda: saved(Image.fromarray(DEEP.astype(">u2")), "TIFF"), wide(DEEP)),
    "16 bit color": ("a.png", lambda: deep_color(DEEP_COLOR), (DEEP_COLOR >> 8).astype(np.uint8)),
    "palette": ("a.png", lambda: palette(False), np.array([[(255, 0, 0), (0, 255, 0), (0, 0, 255)]])),
    "transparent palette": ("a.png", lambda: palette(True), np.array([[(255, 0, 0), (0, 0, 0), (0, 0, 255)]])),
    "color": ("a.png", lambda: saved(of(COLOR)), COLOR),
    "alpha": ("a.png", lambda: saved(of(np.concatenate([COLOR, ALPHA], -1))), on_black(COLOR, ALPHA)),
    "alpha webp": (
        "a.webp",
        lambda: saved(of(np.concatenate([FLAT, np.full((8, 8, 1), 0, np.uint8)], -1)), "WEBP", lossless=True),
        np.zeros((8, 8, 3)),
    ),
    "CMYK": ("a.tif", lambda: saved(Image.fromarray(CMYK, "CMYK"), "TIFF"), INK),
    "YCbCr": ("a.tif", lambda: saved(of(FLAT).convert("YCbCr"), "TIFF"), np.asarray(of(FLAT, "YCbCr").convert("RGB"))),
    "LAB": ("a.tif", lambda: saved(Image.new("LAB", (4, 4), (128, 128, 128)), "TIFF"), np.full((4, 4, 3), 119)),
    "32 bit": ("a.tif", lambda: saved(of(DEEP.astype(np.int32) * 9), "TIFF"), "more than 16 bits"),
    "floating": ("a.tif", lambda: saved(of(GREY.astype(np.float32)), "TIFF"), "floating-point"),
    "bmp": ("a.bmp", lambda: saved(of(COLOR), "BMP"), COLOR),
    "gif": ("a.gif", lambda: saved(of(GREY), "GIF"), GREY),
    "lossless webp": ("a.webp", lambda: saved(of(COLOR), "WEBP", lossless=True), COLOR),
    "grey jpeg": ("a.jpg", lambda: saved(of(FLAT[..., 0]), "JPEG", quality=100), FLAT[..., 0]),
    "turned png": ("a.png", lambda: turned("PNG"), np.rot90(COLOR, -1)),
    "turned webp": ("a.webp", lambda: turned("WEBP", lossless=True), np.rot90(COLOR, -1)),
    # files with several frames: the first one
    "gif animation": ("a.gif", lambda: saved(of(GREY), "GIF", save_all=True, append_images=[of(255 - GREY)]), GREY),
    "png animation": ("a.png", lambda: frames("PNG"), COLOR),
    "webp animation": ("a.webp", lambda: frames("WEBP"), COLOR),
    "tiff pages": ("a.tiff", lambda: frames("TIFF"), COLOR),
    # the content determines the format, not the name
    "png called jpg": ("a.jpg", lambda: saved(of(COLOR)), COLOR),
    "postscript called png": ("a.png", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot identify"),
    "text called jpg": ("a.jpg", lambda: b"<svg/>" * 99, "cannot identify"),
    "no bytes": ("a.png", lambda: b"", "cannot identify"),
    # cut in half
    "half a png": ("a.png", lambda: half(saved(of(LARGE))), "truncated"),
    "half a jpeg": ("a.jpg", lambda: half(saved(of(LARGE), "JPEG")), "truncated"),
    "half a webp": ("a.webp", lambda: half(saved(of(LARGE), "WEBP")), "could not|failed|cannot|decoder"),
    "half a gif": ("a.gif", lambda: half(saved(of(LARGE[..., 0]), "GIF")), "truncated"),
    "half a tiff": ("a.tif", lambda: half(saved(of(LARGE), "TIFF")), "truncated|cannot identify"),
    "half a bmp": ("a.bmp", lambda: half(saved(of(LARGE), "BMP")), "truncated"),
    # decompression bombs: small files with a large size in the header
    "png bomb": ("a.png", lambda: png(60_000, 60_000, 8, 2, bytes(10)), "decompression bomb|more than"),
    "gif bomb": ("a.gif", lambda: b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b",", "bomb|identify"),
    "bmp bomb": (
        "a.bmp",
        lambda: saved(of(COLOR), "BMP")[:18] + struct.pack("<ii", 30_000, 30_000) + saved(of(COLOR), "BMP")[26:],
        "decompression bomb|more than",
    ),
}


def outcome(folder: Path) -> np.ndarray:
    (pixels,) = open_path(folder)["train"].fields["real"].numpy()
    return pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)


@pytest.mark.promise("R27", 1, 1)
@pytest.mark.parametrize("name", FILES)
def test_every_file_has_its_outcome(name: str, tmp_path: Path, promise: Any) -> None:
    file, _, expected = FILES[name]
    folder = written(name, tmp_path)
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected) as caught:
            outcome(folder)
        assert file in str(caught.value)
        assert caught.value.exit_code == 65
        assert len(str(caught.value).splitlines()) <= 3
    else:
        found = outcome(folder)
        assert found.shape == expected.shape
        assert np.array_equal(found, expected)
    promise.kept(files=1, as_stated=1)


@pytest.mark.promise("R27", 1, 1)
def test_a_pipe_is_not_an_image_and_a_loop_of_links_is_reported(tmp_path: Path, promise: Any) -> None:
    """Opening the pipe would block forever."""
    for name in ("pipe", "circle"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "pipe" / "a.png")
    (tmp_path / "circle" / "a.png").symlink_to("a.png")
    with pytest.raises(DataError, match="has no images"):
        open_path(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"a\.png cannot be read: Too many levels"):
        open_path(tmp_path / "circle")
    promise.kept(files=2, as_stated=2)


def peak() -> int:
    """The peak memory of this process since the last call, in KB."""
    found = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return int(found.split()[1])


@pytest.mark.promise("R27", 1, 1)
def test_bombs_take_no_memory(tmp_path: Path, promise: Any) -> None:
    outcome(written("color", tmp_path))  # imports everything that is imported lazily
    peak()
    before = peak()
    for name in (name for name in FILES if name.endswith("bomb")):
        with pytest.raises(DataError):
            outcome(written(name, tmp_path))
    kilobytes = peak() - before
    assert kilobytes < 64 << 10, "as pixels they would be 10 GB"
    promise.kept(peak_kilobytes=kilobytes)


def written(name: str, folder: Path) -> Path:
    (folder / name).mkdir()
    (folder / name / FILES[name][0]).write_bytes(FILES[name][1]())
    return folder / name
