"""The pixels that each kind of image file decodes to, and the files that are refused."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, PngImagePlugin

from aigc_zoo.data import pixels

RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
COLOR = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def file_of(image: Image.Image, kind: str = "PNG", **settings: Any) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    file.seek(0)
    return file


def decoded(image: Image.Image, channels: int = 3, kind: str = "PNG", **settings: Any) -> np.ndarray:
    with pixels.strict():
        return pixels.decode(file_of(image, kind, **settings), channels)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_files_decode_to_their_pixels(kind: str) -> None:
    assert np.array_equal(decoded(Image.fromarray(COLOR), kind=kind), COLOR.transpose(2, 0, 1))
    assert np.array_equal(decoded(Image.fromarray(RAMP), 1, kind=kind), RAMP[None])
    assert np.array_equal(decoded(Image.fromarray(RAMP), 3, kind=kind), np.stack([RAMP] * 3))


@pytest.mark.parametrize(
    ("kind", "settings"), [("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {"lossless": True})]
)
def test_lossy_formats_decode_approximately(kind: str, settings: Mapping[str, Any]) -> None:
    smooth = np.asarray(Image.fromarray(COLOR).resize((32, 32), Image.Resampling.BICUBIC))
    difference = decoded(Image.fromarray(smooth), kind=kind, **settings).astype(int) - smooth.transpose(2, 0, 1)
    assert np.abs(difference).mean() < 4


def test_sixteen_bits_keep_black_and_white() -> None:
    levels = np.array([[0, 128, 129, 257], [32768, 65278, 65406, 65535]], np.uint16)
    assert decoded(Image.fromarray(levels), 1).tolist() == [[[0, 0, 1, 1], [128, 254, 254, 255]]]
    assert decoded(Image.fromarray(levels), 1, "TIFF").tolist() == [[[0, 0, 1, 1], [128, 254, 254, 255]]]


def test_one_bit_is_black_and_white() -> None:
    image = Image.fromarray(RAMP > 100)
    assert image.mode == "1"
    assert np.array_equal(decoded(image, 1)[0], np.where(RAMP > 100, 255, 0))


def test_transparent_images_are_composited_on_black() -> None:
    image = Image.new("RGBA", (3, 1))
    image.putdata([(200, 100, 50, 255), (200, 100, 50, 0), (200, 100, 50, 128)])
    assert decoded(image)[:, 0].T.tolist() == [[200, 100, 50], [0, 0, 0], [100, 50, 25]]
    grey = Image.new("LA", (2, 1))
    grey.putdata([(200, 255), (200, 0)])
    assert decoded(grey, 1).tolist() == [[[200, 0]]]


def test_palettes_and_their_transparency_are_applied() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    assert decoded(image)[:, 0].T.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert decoded(image, transparency=1)[:, 0].T.tolist() == [[255, 0, 0], [0, 0, 0], [0, 0, 255]]
    assert decoded(image, transparency=b"\xff\x80\x00")[:, 0].T.tolist() == [[255, 0, 0], [0, 128, 0], [0, 0, 0]]


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red = decoded(image, kind="JPEG", quality=95)
    assert red[0].min() > 240
    assert red[1:].max() < 15


def test_the_first_frame_is_decoded() -> None:
    frames = [Image.new("L", (4, 4), level) for level in (10, 200)]
    for kind in ("GIF", "TIFF"):
        assert decoded(frames[0], 1, kind, save_all=True, append_images=frames[1:]).tolist() == [[[10] * 4] * 4]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_rotated_upright(kind: str, orientation: int) -> None:
    # A white corner at the top left of a wide write_image, as the camera held that way stores it.
    upright = Image.new("RGB", (64, 32))
    ImageDraw.Draw(upright).rectangle((0, 0, 15, 15), fill="white")
    inverse = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = inverse.get(orientation, pixels._TURNS.get(orientation))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright if turn is None else upright.transpose(turn)
    file = file_of(stored, kind, exif=exif)
    with pixels.strict():
        assert pixels.read_header(file)[:3] == (64, 32, False)
        found = pixels.decode(file, 1)[0]
    assert found.shape == (32, 64)
    assert found[:15, :15].min() > 200
    assert found[17:].max() < 50


def test_damaged_exif_data_is_ignored() -> None:
    file = file_of(Image.fromarray(RAMP), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff nonsense")
    with pixels.strict():
        assert pixels.read_header(file)[:3] == (8, 8, True)
        assert pixels.decode(file, 1).shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("mode", "grey"),
    [("1", True), ("L", True), ("LA", True), ("I;16", True), ("RGB", False), ("RGBA", False)],
)
def test_the_header_tells_whether_an_image_is_grey(mode: str, grey: bool) -> None:
    with pixels.strict():
        assert pixels.read_header(file_of(Image.new(mode, (4, 3)))) == (4, 3, grey, mode, False)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("count", [1, 3])
def test_the_header_tells_whether_there_are_further_frames(kind: str, count: int) -> None:
    frames = [Image.fromarray(np.full((8, 8), 80 * number, np.uint8)) for number in range(count)]
    file = file_of(frames[0], kind, save_all=True, append_images=frames[1:])
    with pixels.strict():
        assert pixels.read_header(file).several is (count > 1)
        assert pixels.decode(file, 1).max() == 0, "the first frame is the one that is read"


def test_a_damaged_second_frame_does_not_damage_the_first() -> None:
    first, second = (Image.fromarray(np.full((8, 8), level, np.uint8)) for level in (0, 200))
    content = file_of(first, "GIF", save_all=True, append_images=[second]).getvalue()
    with pixels.strict():
        for length in range(len(file_of(first, "GIF").getvalue()) - 1, len(content)):
            pixels.read_header(io.BytesIO(content[:length]))
            assert pixels.decode(io.BytesIO(content[:length]), 1).shape == (1, 8, 8)


@pytest.mark.parametrize("grey", [True, False])
def test_a_palette_of_greys_is_grey(grey: bool) -> None:
    image = Image.new("P", (4, 3))
    image.putpalette([level for i in range(256) for level in (i, i, i if grey else 255 - i)])
    with pixels.strict():
        assert pixels.read_header(file_of(image)).grey is grey


def test_the_center_square_is_resized_without_aliasing() -> None:
    stripes = np.zeros((64, 128), np.uint8)
    stripes[:, 32:96] = np.where(np.arange(64) % 2, 255, 0)  # the finest possible, only in the center square
    small = np.asarray(pixels.square(Image.fromarray(stripes), 16)).astype(int)
    assert small.shape == (16, 16)
    assert np.abs(small[:, 2:-2] - 127.5).max() < 6
    image = Image.fromarray(stripes[:, 32:96])
    assert pixels.square(image, 64) is image


# Golden values of Pillow's Lanczos filter: metrics with another method could not be compared.
def test_the_resizing_method_is_unchanged() -> None:
    ramp = Image.fromarray(np.add.outer(np.arange(6) * 5, np.arange(6) ** 2 * 7).astype(np.uint8))
    assert np.asarray(pixels.square(ramp, 3)).tolist() == [[4, 46, 145], [15, 57, 156], [25, 67, 166]]


@pytest.mark.parametrize(
    "content",
    [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"text" * 99],
)
def test_files_that_are_not_images_are_refused(content: bytes) -> None:
    with pixels.strict(), pytest.raises(Exception, match=r".+"):
        pixels.read_header(io.BytesIO(content))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_truncated_file_is_refused(kind: str) -> None:
    content = file_of(Image.fromarray(np.tile(COLOR, (8, 8, 1))), kind).getvalue()
    with pixels.strict(), pytest.raises(Exception, match=r".+"):
        pixels.decode(io.BytesIO(content[: len(content) * 2 // 3]), 3)


def test_bombs_are_refused_by_their_header() -> None:
    header = PngImagePlugin._MAGIC + _chunk(b"IHDR", (20_000).to_bytes(4) * 2 + bytes([8, 0, 0, 0, 0]))
    bomb = header + _chunk(b"IDAT", b"") + _chunk(b"IEND", b"")
    with pixels.strict(), pytest.raises(Exception, match="exceeds limit"):
        pixels.read_header(io.BytesIO(bomb))
    smaller = bomb.replace(
        header, PngImagePlugin._MAGIC + _chunk(b"IHDR", (9_440).to_bytes(4) * 2 + bytes([8, 0, 0, 0, 0]))
    )
    with pixels.strict(), pytest.raises(ValueError, match="9440x9440 pixels are more than 89,000,000"):
        pixels.read_header(io.BytesIO(smaller))


def test_values_without_a_known_range_are_refused() -> None:
    with pixels.strict(), pytest.raises(ValueError, match="floating-point"):
        pixels.decode(file_of(Image.new("F", (4, 4)), "TIFF"), 1)
    with pixels.strict(), pytest.raises(ValueError, match="more than 16 bits"):
        pixels.decode(file_of(Image.new("I", (4, 4), 70_000), "TIFF"), 1)


def _chunk(name: bytes, data: bytes) -> bytes:
    import zlib

    return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)
