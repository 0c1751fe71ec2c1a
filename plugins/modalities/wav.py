"""Reads and writes WAV files. Files may be hostile: sizes are checked against the file before memory is reserved."""

from __future__ import annotations

import io
import os
import struct
import wave
from typing import IO, NamedTuple

import numpy as np

from aigc_zoo.modality import Values

MOST_SECONDS = 4 * 3600
"""Limit on the length of a recording."""

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


class Header(NamedTuple):
    """Sample rate in Hz, number of frames, and number of channels."""

    rate: int
    frames: int
    channels: int


class _Format(NamedTuple):
    header: Header
    dtype: str
    start: int


def read_header(file: IO[bytes]) -> Header:
    """The header of a WAV file. Raises ValueError for another or a truncated file."""
    return _format(file).header


def read(file: IO[bytes]) -> Values:
    """Frames (frames, channels), float32 in [-1, 1]. Raises ValueError for a damaged file and for NaN."""
    header, dtype, start = _format(file)
    file.seek(start)
    width = 3 if dtype == "24" else np.dtype(dtype).itemsize
    data = file.read(header.frames * header.channels * width)
    if dtype == "24":
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
        values = ((parts[:, 0] << 8 | parts[:, 1] << 16 | parts[:, 2] << 24) >> 8) / np.float32(1 << 23)
    elif dtype == "u1":
        values = (np.frombuffer(data, dtype).astype(np.float32) - 128) / 128
    elif dtype in ("<i2", "<i4"):
        values = np.frombuffer(data, dtype) / np.float64(1 << (8 * width - 1))
    else:
        values = np.frombuffer(data, dtype)
        if not np.isfinite(values).all():
            raise ValueError("it has NaN or infinite values")
    return values.astype(np.float32).reshape(-1, header.channels)


def written(samples: Values, rate: int) -> bytes:
    """A mono WAV file of int16 samples (T,)."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return target.getvalue()


def _format(file: IO[bytes]) -> _Format:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise ValueError("it does not begin with the header of a WAV file")
    layout: tuple[int, int, int, int] | None = None
    while True:
        chunk = file.read(8)
        if len(chunk) < 8:
            raise ValueError("it ends before its samples")
        name, length = struct.unpack("<4sI", chunk)
        start = file.tell()
        if name == b"fmt ":
            layout = _layout(file.read(min(length, 40)))
        elif name == b"data":
            break
        file.seek(start + length + length % 2)
    if layout is None:
        raise ValueError("its samples come before their format")
    code, channels, rate, bits = layout
    dtype = {(_PCM, 8): "u1", (_PCM, 16): "<i2", (_PCM, 24): "24", (_PCM, 32): "<i4", (_FLOAT, 32): "<f4"}.get(
        (code, bits), "<f8" if (code, bits) == (_FLOAT, 64) else ""
    )
    if not dtype or not 1 <= channels <= 64 or not 1 <= rate <= 1_000_000:
        raise ValueError(f"format {code} with {bits} bits, {channels} channels at {rate} Hz is not supported")
    frame = channels * bits // 8
    if length > size - start:
        raise ValueError(f"its header claims {length:,} bytes of samples, and {size - start:,} follow")
    if length // frame == 0:
        raise ValueError("it has no samples")
    if length // frame > MOST_SECONDS * rate:
        raise ValueError(f"it is longer than {MOST_SECONDS // 3600} hours")
    return _Format(Header(rate, length // frame, channels), dtype, start)


def _layout(content: bytes) -> tuple[int, int, int, int]:
    """Format code, channels, rate and bits of a "fmt " chunk; an extensible one has the code in its GUID."""
    if len(content) < 16:
        raise ValueError("the description of its format is truncated")
    code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
    if code == _EXTENSIBLE and len(content) >= 26:
        (code,) = struct.unpack("<H", content[24:26])
    return code, channels, rate, bits
