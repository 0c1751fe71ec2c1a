"""One image file to uint8 pixels. Files may come from anywhere: few formats, bounded sizes, nothing guessed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""Pillow is asked for these alone: it knows formats that start other programs, and a name says nothing of content."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MOST_PIXELS = 89_000_000
"""An image that claims more is refused, as Pillow's own (slightly higher) limit only warns."""

METHOD = "centre crop, Lanczos"
"""How images are brought to a size: the middle square by Pillow's Lanczos filter, whose support grows as it shrinks."""

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
}  # by EXIF's orientation
_ORIENTATION = 0x0112

Array = np.ndarray[Any, Any]


class Look(NamedTuple):
    """What a file's header says: its size once upright, whether it has no colour, Pillow's name of its mode."""

    width: int
    height: int
    grey: bool
    mode: str


def look(file: IO[bytes]) -> Look:
    """Reads the header. Raises whatever Pillow raises, ValueError for more than MOST_PIXELS."""
    with _opened(file) as image:
        width, height = image.size
        if _orientation(image) >= 5:
            width, height = height, width
        return Look(width, height, image.mode in _GREY or _grey_palette(image), image.mode)


def decode(file: IO[bytes], channels: int, size: int | None = None) -> Array:
    """Pixels (channels, H, W), uint8, of the first frame, upright; cropped and resized to a square of `size`, if given.

    What is transparent lies on black; 16 bits become 8 by division by 257 (colour of 16 bits: by Pillow, its high
    byte), 1 bit becomes 0 and 255. Raises whatever Pillow raises for a damaged file.
    """
    with _opened(file) as image:
        turn = _TURNS.get(_orientation(image))
        image.load()
        flat = _on_black(_eight_bits(image)).convert("L" if channels == 1 else "RGB")
    if turn is not None:
        flat = flat.transpose(turn)
    pixels = np.asarray(square(flat, size) if size is not None else flat)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def square(image: Image.Image, size: int) -> Image.Image:
    """The middle square of an image of mode L or RGB, at `size` pixels a side."""
    if image.size == (size, size):
        return image
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    # Cropped first: resizing a box of a picture would let what lies outside shine in at its edges.
    return image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)


@contextmanager
def strict() -> Iterator[None]:
    """While inside, images too large are errors and Pillow's remarks on odd metadata are not shown."""
    Image.init()  # before there are threads
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


def _orientation(image: Image.Image) -> int:
    # Of a PNG, Pillow would decode all pixels to look for EXIF behind them, where no camera puts it; a TIFF it turns
    # itself.
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1  # broken notes about a picture are not a broken picture


def _grey_palette(image: Image.Image) -> bool:
    if image.mode not in ("P", "PA"):
        return False
    colours = np.array(image.getpalette("RGB") or [0, 1, 2], np.uint8).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its values have more than 16 bits, whose range nothing states: save it with 8")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("its values are floating-point numbers, whose range nothing states: save it with 8 bits")
    return image


def _on_black(image: Image.Image) -> Image.Image:
    if image.mode not in ("LA", "La", "PA", "RGBA", "RGBa") and "transparency" not in image.info:
        return image
    over = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", over.size, (0, 0, 0, 255)), over).convert("RGB")
