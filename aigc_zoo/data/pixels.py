"""Decodes image files to uint8 pixels. Files may be hostile: formats are few, sizes are limited, nothing is guessed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image

from aigc_zoo.data.png import GREY, GREY_ALPHA, Png, read_png

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""The only formats that Pillow may open: it knows others that start programs, and a name does not tell the content."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MOST_PIXELS = 89_000_000
"""Limit on the pixels of an image; Pillow only warns at its own, slightly higher limit."""

METHOD = "centre crop, Lanczos"
"""Resizing method: the center square by Pillow's Lanczos filter, which is antialiased when it shrinks an image."""

_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N")
_SIXTEEN = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF orientation
_ORIENTATION = 0x0112

Array = np.ndarray[Any, Any]


class Header(NamedTuple):
    """Size of the upright image, whether it is grey, its Pillow mode, and whether further frames or pages follow."""

    width: int
    height: int
    grey: bool
    mode: str
    several: bool = False


def read_header(file: IO[bytes]) -> Header:
    """Reads the header. Raises any exception of Pillow's, and ValueError for more than MOST_PIXELS."""
    png = read_png(file)
    with _opened(file) as image:
        width, height = image.size
        if _orientation(image, png) >= 5:
            width, height = height, width
        grey, mode = is_grey(image, png), image.mode
        return Header(width, height, grey, mode, _has_several(image))


def decode(file: IO[bytes], channels: int, size: int | None = None) -> Array:
    """Pixels (channels, H, W), uint8, of the upright first frame, cropped and resized to a square of `size` if given.

    Transparent images are composited on black. 16 bits become 8 by division by 257 (16-bit color: by Pillow, which
    takes the high byte), 1 bit becomes 0 and 255. Raises any exception of Pillow's for a damaged file, and ValueError
    for 16-bit files whose values are all below 4096, of which white is not known.
    """
    png = read_png(file)
    with _opened(file) as image:
        return pixels_of(image, channels, size, png, file)


def pixels_of(
    image: Image.Image, channels: int, size: int | None = None, png: Png | None = None, file: IO[bytes] | None = None
) -> Array:
    """`decode` of an image that Pillow has opened, from a PNG `file` or any other."""
    turn = _TURNS.get(_orientation(image, png))
    image.load()
    flat = _on_black(_eight_bits(image, png, file)).convert("L" if channels == 1 else "RGB")
    if turn is not None:
        flat = flat.transpose(turn)
    pixels = np.asarray(square(flat, size) if size is not None else flat)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def square(image: Image.Image, size: int) -> Image.Image:
    """The center square of an image of mode L or RGB, resized to `size` pixels a side."""
    if image.size == (size, size):
        return image
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    # Cropped before resizing, as resizing a box of the image would blend pixels outside of it into its edges.
    return image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)


@contextmanager
def strict() -> Iterator[None]:
    """Makes Pillow's warning about large images an error inside the block, and hides those about odd metadata."""
    Image.init()  # before threads start
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[Image.Image]:
    with Image.open(file, formats=FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width}x{image.height} pixels are more than {MOST_PIXELS:,}")
        yield image


def _has_several(image: Image.Image) -> bool:
    """Whether the file has more than one frame. Those of a GIF are searched for, and a damaged second one is none."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # decoders can raise any exception on hostile bytes, and only the first frame is needed
        return False


def _orientation(image: Image.Image, png: Png | None) -> int:
    if png is not None and png.orientation is not None:
        return png.orientation
    # In a PNG, Pillow would decode all pixels to search for EXIF after them. It rotates a TIFF itself.
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1  # the image can be read even if its EXIF data cannot


def _grey_palette(image: Image.Image) -> bool:
    if image.mode not in ("P", "PA"):
        return False
    colors = np.array(image.getpalette("RGB") or [0, 1, 2], np.uint8).reshape(-1, 3)
    return bool((colors == colors[:, :1]).all())


def is_grey(image: Image.Image, png: Png | None = None) -> bool:
    """Whether an image that Pillow has opened is grey."""
    return image.mode in _GREY or _grey_palette(image) or (png is not None and png.color == GREY_ALPHA)


def _eight_bits(image: Image.Image, png: Png | None, file: IO[bytes] | None) -> Image.Image:
    """An image with 8 bits per channel, in which the transparent color of a PNG is black or stated in 8 bits."""
    if image.mode in _SIXTEEN:
        return _grey_of_sixteen(image, png)
    if image.mode == "F":
        raise ValueError("its values are floating-point numbers without a stated range: save it with 8 bits")
    if png is not None and file is not None and png.depth == 16:
        return _color_of_sixteen(image, png, file)
    if image.format == "TIFF" and image.mode.startswith("RGB") and set(_bits(image)) == {16}:
        highest = _highest(np.asarray(image), image.mode)
        if highest < 16:
            _refuse_dark(highest * 256 + 255)
    if png is not None and png.color == GREY and png.depth in (2, 4) and png.transparent:
        image.info["transparency"] = png.transparent[0] * 255 // (2**png.depth - 1)  # as Pillow scales the pixels
    return image


def _grey_of_sixteen(image: Image.Image, png: Png | None) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its values have more than 16 bits and no stated range: save it with 8 bits")
    if image.format == "TIFF" and _bits(image) == (12,):
        return Image.fromarray(((values * 255 + 2047) // 4095).astype(np.uint8))
    _refuse_dark(int(values.max()))
    grey = (values + 128) // 257
    if png is not None and png.transparent:
        grey[values == png.transparent[0]] = 0
    return Image.fromarray(grey.astype(np.uint8))


def _color_of_sixteen(image: Image.Image, png: Png, file: IO[bytes]) -> Image.Image:
    """16-bit color, or grey with alpha, of which Pillow keeps the high bytes; low ones are read where they matter."""
    high = np.array(image)
    dark = _highest(high, image.mode) < 16
    if not dark and not png.transparent:
        return image
    low = _low_bytes(file, png)
    channels = min(3, low.shape[2])
    values = high[..., :channels].astype(np.int64) * 256 + low[..., :channels]
    _refuse_dark(int(values.max()))
    if not png.transparent:
        return image
    high[(values == png.transparent).all(2)] = 0
    return Image.fromarray(high)


def _low_bytes(file: IO[bytes], png: Png) -> Array:
    """The low bytes (H, W, C) of a 16-bit PNG with several channels."""
    file.seek(0)
    with _opened(file) as image:
        opened: Any = image
        codec, extents, offset, _ = opened.tile[0]
        # Pillow's names for the bytes: those of RGB;16L are the second ones; as RGBA, grey and alpha are four channels.
        raw = "RGBA" if png.color == GREY_ALPHA else f"{image.mode};16L"
        opened.tile = [opened.tile[0].__class__(codec, extents, offset, raw)]
        found = np.array(image)
    return found[..., 1:2] if png.color == GREY_ALPHA else found


def _highest(values: Array, mode: str) -> int:
    return int((values[..., :3] if mode.startswith("RGB") else values).max())


def _bits(image: Image.Image) -> tuple[int, ...]:
    tags: Any = getattr(image, "tag_v2", {})
    return tuple(tags.get(258, (1,)))


def _refuse_dark(highest: int) -> None:
    """Raises ValueError for 16-bit values that use 12 bits or fewer, and would become black or nearly black."""
    if 0 < highest < 4096:
        bits = max(8, highest.bit_length())
        raise ValueError(
            f"its 16-bit values are at most {highest:,}, as if white had {bits} bits: scale them to 0..65535, or save "
            "it with 8 bits"
        )


def _on_black(image: Image.Image) -> Image.Image:
    if image.mode not in ("LA", "La", "PA", "RGBA", "RGBa") and "transparency" not in image.info:
        return image
    over = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", over.size, (0, 0, 0, 255)), over).convert("RGB")
