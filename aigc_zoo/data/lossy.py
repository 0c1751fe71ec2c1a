"""Finds lossy compression in the content of image files, whatever they are called."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO

from PIL import Image

from aigc_zoo.data import layout
from aigc_zoo.data.kinds import Kinds
from aigc_zoo.data.pixels import FORMATS, strict

_PNG = b"\x89PNG\r\n\x1a\n"


def lossy_file(path: Path, kinds: Kinds) -> tuple[str, str]:
    """The first lossy image file in a folder or a zip by name, and its kind; two empty strings if there is none.

    Other sources have none. Files that cannot be read as images are left to the reader of the dataset.
    """
    if not path.is_dir() and path.suffix.lower() != ".zip":
        return "", ""
    with ExitStack() as stack, strict():
        files = layout.folder(path, kinds)[0] if path.is_dir() else stack.enter_context(layout.archive(path, kinds))
        for name in files.names:
            with closing(files.open(name)) as file:
                if kind := lossy_kind(file):
                    return name, kind
    return "", ""


def lossy_kind(file: IO[bytes]) -> str:
    """JPEG, WebP or TIFF if the image is compressed with loss; "" for other images and for what is no image."""
    if file.read(len(_PNG)) == _PNG:
        return ""
    file.seek(0)
    try:
        with Image.open(file, formats=FORMATS) as image:
            kind, compression = image.format, str(image.info.get("compression", ""))
    except Exception:  # decoders can raise any exception on hostile bytes
        return ""
    if kind == "TIFF":
        return "JPEG in TIFF" if "jpeg" in compression else "WebP in TIFF" if compression == "webp" else ""
    if kind == "WEBP":
        return "WebP" if any(chunk == b"VP8 " for chunk in _chunks(file)) else ""
    return "JPEG" if kind in ("JPEG", "MPO") else ""


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The types of the chunks of a WebP file, with those in the frames of an animation."""
    file.seek(12)
    while len(header := file.read(8)) == 8:
        yield header[:4]
        if header[:4] == b"ANMF":
            file.seek(16, os.SEEK_CUR)  # the chunks of the frame follow its position and size
        else:
            size = int.from_bytes(header[4:], "little")
            file.seek(size + size % 2, os.SEEK_CUR)
