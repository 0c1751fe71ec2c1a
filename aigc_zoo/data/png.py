"""Chunks of a PNG file that Pillow reads only with the pixels or not at all: EXIF orientation, transparent color."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

from PIL import Image

MAGIC = b"\x89PNG\r\n\x1a\n"
MOST_CHUNKS = 1 << 16
MOST_BYTES = 1 << 20
"""Limits on the number of chunks, and on the bytes of those that are read; others are ignored."""

GREY, COLOR, GREY_ALPHA = 0, 2, 4
"""Color types of a PNG."""

_ORIENTATION = 0x0112
_PROFILES = (b"Raw profile type exif", b"Raw profile type APP1")  # as ImageMagick and ExifTool write them


class Png(NamedTuple):
    """Bits per channel, color type, levels of the transparent color (none for no such color) and EXIF orientation."""

    depth: int
    color: int
    transparent: tuple[int, ...] = ()
    orientation: int | None = None


def read_png(file: IO[bytes]) -> Png | None:
    """What the chunks of a PNG file say, wherever they are in it; None for another file. The file is rewound."""
    file.seek(0)
    found = None
    if file.read(8) == MAGIC:
        for kind, data in _chunks(file):
            if found is None:
                if kind != b"IHDR" or len(data) != 13:
                    break
                found = Png(data[8], data[9])
            elif kind == b"tRNS" and found.color in (GREY, COLOR) and len(data) in (2, 6):
                found = found._replace(transparent=struct.unpack(f">{len(data) // 2}H", data))
            elif found.orientation is None and kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
                found = found._replace(orientation=_orientation(data if kind == b"eXIf" else _profile(kind, data)))
    file.seek(0)
    return found


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Type and data of each chunk; those of pixels are skipped."""
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        size, kind = int.from_bytes(head[:4]), head[4:]
        if kind not in (b"IHDR", b"tRNS", b"eXIf", b"tEXt", b"zTXt", b"iTXt") or size > MOST_BYTES:
            file.seek(size + 4, 1)
            continue
        yield kind, file.read(size)
        file.seek(4, 1)


def _profile(kind: bytes, data: bytes) -> bytes:
    """EXIF data from a text chunk with a raw profile: a line break, its name, its length, and hexadecimal digits."""
    key, _, text = data.partition(b"\0")
    if key not in _PROFILES:
        return b""
    try:
        packed = kind == b"zTXt"
        if kind == b"zTXt":
            text = text[1:]
        elif kind == b"iTXt":
            packed, text = text[:1] == b"\1", text[2:].split(b"\0", 2)[2]
        if packed:
            text = zlib.decompressobj().decompress(text, MOST_BYTES)
        return bytes.fromhex("".join(text.decode("latin-1").split()[2:]))
    except (ValueError, IndexError, zlib.error):
        return b""


def _orientation(data: bytes) -> int | None:
    if not data:
        return None
    try:
        exif = Image.Exif()
        exif.load(data)
        return int(exif[_ORIENTATION])
    except Exception:
        return None  # the image can be read even if its EXIF data cannot
