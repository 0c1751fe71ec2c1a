"""Reader of IDX files, plain or gzipped, the format of MNIST (LeCun, Cortes and Burges, "The MNIST database")."""

from __future__ import annotations

import gzip
import hashlib
import math
import re
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from aigc_zoo.data.arrays import splits_of
from aigc_zoo.data.kinds import Kinds
from aigc_zoo.errors import DataError
from aigc_zoo.game import Samples

MOST_BYTES = 8 << 30
PREFIXES = {"train": "train", "test": "t10k"}
"""Prefixes of the file names of each split, in MNIST and in datasets with the same layout."""

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

Array = np.ndarray[Any, Any]


def read_idx(path: Path, checksum: str = "") -> Array:
    """The array in an IDX file. `checksum` ("sha256:...") is that of the unpacked content.

    Raises DataError with file and reason where the content does not match the header or the checksum.
    """
    try:
        with _unpacked(path) as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or not head[3]:
                raise ValueError("it does not begin with the header of an IDX file")
            sizes = file.read(4 * head[3])
            shape = struct.unpack(f">{head[3]}I", sizes)
            dtype = np.dtype(_TYPES[head[2]])
            wanted = math.prod(shape) * dtype.itemsize
            if wanted > MOST_BYTES:
                raise ValueError(f"its header claims {wanted:,} bytes")
            content = file.read(wanted + 1)
    except (ValueError, EOFError, struct.error, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged: {error}\nreplace or remove it") from error
    if len(content) != wanted:
        than = "more" if len(content) > wanted else "fewer"
        raise DataError(f"{path} is damaged: it has {than} bytes than its header says\nreplace or remove it")
    if checksum:
        kind, _, digest = checksum.partition(":")
        if hashlib.new(kind, head + sizes + content).hexdigest() != digest:
            raise DataError(f"{path} is not the published file: its content has another {kind}\nreplace or remove it")
    values = np.frombuffer(bytearray(content), dtype).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


def standard_files(folder: Path) -> dict[str, tuple[Path, Path | None]]:
    """Image and label files by split, of a folder with MNIST's file names; empty where it has no training images."""
    found = {}
    for split, prefix in PREFIXES.items():
        images = _published(folder, f"{prefix}-images", "idx3-ubyte")
        if images is not None:
            found[split] = images, _published(folder, f"{prefix}-labels", "idx1-ubyte")
    return found if "train" in found else {}


def is_idx(path: Path) -> bool:
    """Whether a file, unpacked if it is gzipped, begins with an IDX header."""
    try:
        with _unpacked(path) as file:
            head = file.read(4)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return False
    return len(head) == 4 and head[:2] == b"\0\0" and head[2] in _TYPES and 0 < head[3] < 8


def open_idx(path: Path, kinds: Kinds) -> dict[str, Samples]:
    """The splits of a folder with MNIST's file names, or one file of samples with the label file beside it."""
    files = standard_files(path) if path.is_dir() else {"train": (path, _labels_beside(path))}
    arrays = {
        split: (read_idx(images), None if labels is None else read_idx(labels))
        for split, (images, labels) in files.items()
    }
    return splits_of(path, arrays, kinds)


def _labels_beside(path: Path) -> Path | None:
    named = re.fullmatch(r"(.*images)[-.]idx3(-ubyte)(\.gz)?", path.name)
    if named is not None:
        return _published(path.parent, named[1].removesuffix("images") + "labels", f"idx1{named[2]}")
    beside = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    return beside if beside != path and beside.exists() else None


def _published(folder: Path, name: str, kind: str) -> Path | None:
    """The file of that name and kind, joined by "-" or, as some archivers write it, by "."; plain or gzipped."""
    for joined in (f"{name}-{kind}", f"{name}.{kind}"):
        for path in (folder / joined, folder / f"{joined}.gz"):
            if path.exists():
                return path
    return None


def _unpacked(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]
