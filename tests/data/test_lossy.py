"""Lossy images are found by their content, whatever the files are called."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opened import zoo_kinds
from PIL import Image

from aigc_zoo.data.lossy import lossy_file, lossy_kind

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8))
FRAMES: dict[str, Any] = {"save_all": True, "append_images": [IMAGE.rotate(180)]}

LOSSY = {
    "JPEG in a .png": ("a.png", "JPEG", {}, "JPEG"),
    "JPEG in a .bmp": ("a.bmp", "JPEG", {"quality": 100}, "JPEG"),
    "JFIF": ("a.jfif", "JPEG", {}, "JPEG"),
    "capitals": ("A.JPG", "JPEG", {}, "JPEG"),
    "WebP": ("a.webp", "WEBP", {"quality": 90}, "WebP"),
    "WebP in a .png": ("a.png", "WEBP", {}, "WebP"),
    "animated WebP": ("a.webp", "WEBP", FRAMES, "WebP"),
    "WebP with EXIF": ("a.webp", "WEBP", {"exif": Image.Exif()}, "WebP"),
    "TIFF": ("a.tif", "TIFF", {"compression": "jpeg"}, "JPEG in TIFF"),
    "several JPEGs in a file": ("a.png", "MPO", FRAMES, "JPEG"),
}
LOSSLESS = {
    "PNG": ("a.png", "PNG", {}),
    "PNG in a .jpg": ("a.jpg", "PNG", {}),
    "BMP in a .jpeg": ("a.jpeg", "BMP", {}),
    "lossless WebP": ("a.webp", "WEBP", {"lossless": True}),
    "animated lossless WebP": ("a.webp", "WEBP", {"lossless": True, **FRAMES}),
    "LZW": ("a.tiff", "TIFF", {"compression": "tiff_lzw"}),
    "raw TIFF": ("a.tiff", "TIFF", {}),
    "GIF": ("a.gif", "GIF", {}),
}


def content(kind: str, **how: Any) -> bytes:
    target = io.BytesIO()
    IMAGE.save(target, kind, **how)
    return target.getvalue()


def sources(path: Path, name: str, data: bytes) -> list[Path]:
    """A folder with a PNG and this file two folders deep, and the same as a zip."""
    (path / "data" / "train").mkdir(parents=True)
    (path / "data" / "first.png").write_bytes(content("PNG"))
    (path / "data" / "train" / name).write_bytes(data)
    with zipfile.ZipFile(path / "data.zip", "w") as zipped:
        zipped.write(path / "data" / "first.png", "first.png")
        zipped.writestr(f"train/{name}", data)
    return [path / "data", path / "data.zip"]


@pytest.mark.promise("M4", 1, 1)
@pytest.mark.parametrize("case", LOSSY)
def test_lossy_content_is_found(case: str, tmp_path: Path, promise: Any) -> None:
    name, kind, how, expected = LOSSY[case]
    for source in sources(tmp_path, name, content(kind, **how)):
        assert lossy_file(source, zoo_kinds()) == (f"train/{name}", expected)
    promise.kept(lossy=2, found=2)


@pytest.mark.parametrize("case", LOSSLESS)
def test_lossless_content_is_accepted(case: str, tmp_path: Path) -> None:
    name, kind, how = LOSSLESS[case]
    for source in sources(tmp_path, name, content(kind, **how)):
        assert lossy_file(source, zoo_kinds()) == ("", "")


@pytest.mark.parametrize("data", [b"", b"RIFF", b"RIFF\x08\0\0\0WEBPVP8 ", b"\xff\xd8\xff", b"II*\0" + b"\xff" * 40])
def test_damaged_files_are_left_to_the_reader(data: bytes) -> None:
    assert lossy_kind(io.BytesIO(data)) == ""


def test_arrays_have_no_lossy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    assert lossy_file(tmp_path / "a.npy", zoo_kinds()) == ("", "")
