"""Twenty hostile files of each modality, in a folder and in a zip: each has its stated outcome (R33)."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opened import open_path
from PIL import Image

from aigc_zoo.errors import DataError

Outcome = str | int
"""Part of the refusal, or the number of samples that are read."""

Case = tuple[str, Callable[[], bytes], Outcome]
"""Name, content and outcome of a file, which is read beside a good one."""


# --- sound ------------------------------------------------------------------------------------------------------------


def wav(
    data: bytes = b"\1\0" * 400,
    *,
    claims: int | None = None,
    code: int = 1,
    channels: int = 1,
    rate: int = 8_000,
    bits: int = 16,
    about: bytes | None = None,
    before: bytes = b"",
) -> bytes:
    layout = struct.pack(
        "<HHIIHH", code, channels, rate, rate * channels * bits // 8 % 2**32, channels * bits // 8 % 2**16, bits
    )
    layout = layout if about is None else about
    size = len(data) if claims is None else claims
    body = b"fmt " + struct.pack("<I", len(layout)) + layout + before + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def floats(*values: float) -> bytes:
    return wav(np.array(values, "<f4").tobytes(), code=3, bits=32)


AUDIO: Mapping[str, Case] = {
    "one byte": ("a.wav", lambda: b"R", "does not begin with the header"),
    "empty": ("a.wav", lambda: b"", "does not begin with the header"),
    "truncated header": ("a.wav", lambda: wav()[:20], "format is truncated"),
    "truncated samples": ("a.wav", lambda: wav()[:-100], "claims 800 bytes of samples, and 700 follow"),
    "ten hours": ("a.wav", lambda: wav(claims=2 * 8_000 * 36_000), "claims 576,000,000 bytes of samples"),
    "four gigabytes": ("a.wav", lambda: wav(claims=0xFFFFFFFF), "claims 4,294,967,295 bytes"),
    "no samples": ("a.wav", lambda: wav(b""), "has no samples"),
    "no data chunk": ("a.wav", lambda: wav()[:36], "ends before its samples"),
    "endless chunk": ("a.wav", lambda: wav(before=b"junk\xff\xff\xff\xff"), "ends before its samples"),
    "rate of zero": ("a.wav", lambda: wav(rate=0), "is not supported"),
    "rate of 2 GHz": ("a.wav", lambda: wav(rate=2_000_000_000), "is not supported"),
    "no channel": ("a.wav", lambda: wav(channels=0), "is not supported"),
    "65,535 channels": ("a.wav", lambda: wav(channels=65_535), "is not supported"),
    "compressed": ("a.wav", lambda: wav(code=85, bits=0), "format 85 with 0 bits"),
    "NaN": ("a.wav", lambda: floats(0.1, float("nan")), "NaN or infinite"),
    "infinity": ("a.wav", lambda: floats(0.1, float("inf")), "NaN or infinite"),
    "huge floats": ("a.wav", lambda: floats(*[1e30] * 400), 2),
    "a picture": ("a.wav", lambda: image(), "does not begin with the header"),
    "FLAC as WAV": ("a.wav", lambda: b"fLaC" + bytes(100), "does not begin with the header"),
    "WAV as FLAC": ("a.flac", lambda: wav(), 2),
    "damaged FLAC": ("a.flac", lambda: b"fLaC" + bytes(100), "cannot be read as a sound"),
    "damaged MP3": ("a.mp3", lambda: bytes(500), "cannot be read as a sound"),
    "one sample": ("a.wav", lambda: wav(b"\1\0"), 2),
}


# --- clips ------------------------------------------------------------------------------------------------------------


def image(side: int = 8) -> bytes:
    target = io.BytesIO()
    Image.fromarray(np.full((side, side), 99, np.uint8)).save(target, "PNG")
    return target.getvalue()


def clip(frames: int = 4, kind: str = "GIF", side: int = 8) -> bytes:
    target = io.BytesIO()
    images = [Image.fromarray(np.full((side, side), 9 + 50 * number, np.uint8)) for number in range(frames)]
    images[0].save(target, kind, save_all=True, append_images=images[1:], duration=100)
    return target.getvalue()


def sized(width: int, height: int) -> bytes:
    """A GIF whose header claims these pixels."""
    return clip()[:6] + struct.pack("<HH", width, height) + clip()[10:]


VIDEO: Mapping[str, Case] = {
    "one byte": ("a.gif", lambda: b"G", "cannot be read as a clip"),
    "empty": ("a.gif", lambda: b"", "cannot be read as a clip"),
    "header alone": ("a.gif", lambda: clip()[:13], "cannot be read as a clip"),
    "truncated": ("a.gif", lambda: clip()[:-30], "cannot be read as a clip"),
    "no frames": ("a.gif", lambda: b"GIF89a\x08\x00\x08\x00\x00\x00\x00;", "cannot be read as a clip"),
    "4 gigapixels": ("a.gif", lambda: sized(65_535, 65_535), "pixels"),
    "width of zero": ("a.gif", lambda: sized(0, 8), 2),
    "text": ("a.gif", lambda: b"not a clip at all", "cannot be read as a clip"),
    "random bytes": ("a.gif", lambda: np.random.default_rng(0).bytes(500), "cannot be read as a clip"),
    "random bytes after a header": ("a.gif", lambda: clip()[:20] + np.random.default_rng(0).bytes(500), "clip"),
    "a still image": ("a.gif", lambda: clip(1), "it is a still image"),
    "a still PNG": ("a.png", lambda: image(), "it is a still image"),
    "PNG as GIF": ("a.gif", lambda: clip(kind="PNG"), 2),
    "GIF as PNG": ("a.png", lambda: clip(), 2),
    "JPEG as GIF": ("a.gif", lambda: saved("JPEG"), "cannot be read as a clip"),
    "TIFF as PNG": ("a.png", lambda: saved("TIFF"), "cannot be read as a clip"),
    "truncated PNG": ("a.apng", lambda: clip(kind="PNG")[:-40], "cannot be read as a clip"),
    "damaged container": ("a.mp4", lambda: bytes(500), "cannot be read as a clip"),
    "text as container": ("a.webm", lambda: b"WEBM but no container", "cannot be read as a clip"),
    "a container without pictures": ("a.avi", lambda: wav(), "cannot be read as a clip"),
    "no time between frames": ("a.gif", lambda: clip().replace(b"\x0a\x00", b"\x00\x00"), 2),
}


def saved(kind: str) -> bytes:
    target = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(target, kind)
    return target.getvalue()


# --- text -------------------------------------------------------------------------------------------------------------


def lines(*values: Any) -> bytes:
    return "\n".join(json.dumps(value) for value in values).encode()


TEXT: Mapping[str, Case] = {
    "empty": ("a.txt", lambda: b"", "it has no text"),
    "one byte": ("a.txt", lambda: b"x", 2),
    "blank lines": ("a.txt", lambda: b"\n \n\t\n", "it has no text"),
    "Latin-1": ("a.txt", lambda: "caf\u00e9".encode("latin-1"), "it is not UTF-8: byte 3 is 0xe9"),
    "UTF-16": ("a.txt", lambda: "text".encode("utf-16"), "it is not UTF-8: byte 0"),
    "surrogate": ("a.txt", lambda: b"\xed\xa0\x80", "it is not UTF-8"),
    "overlong": ("a.txt", lambda: b"\xc0\xaf", "it is not UTF-8"),
    "half a character": ("a.txt", lambda: "\u2603".encode()[:2], "it is not UTF-8"),
    "byte order mark": ("a.txt", lambda: "\ufeffok".encode(), 2),
    "NUL": ("a.txt", lambda: b"a\0b", 2),
    "escape sequences": ("a.txt", lambda: b"\x1b[31mred\x1b[0m", 2),
    "a picture": ("a.txt", image, "it is not UTF-8"),
    "one long line": ("a.txt", lambda: b"x" * 1_000_000, 2),
    "many symbols": ("a.txt", lambda: "".join(map(chr, range(0x4E00, 0x4E00 + 9_000))).encode(), "9,0"),
    "no JSON": ("a.jsonl", lambda: b"plain text", 'line 1 is no JSON object with a "text"'),
    "JSON without text": ("a.jsonl", lambda: lines({"text": "a"}, {"body": "b"}), "line 2 is no JSON object"),
    "text that is a number": ("a.jsonl", lambda: lines({"text": 3}), 'the "text" of line 1 is no string'),
    "a list": ("a.jsonl", lambda: lines(["text"]), "line 1 is no JSON object"),
    "deep nesting": ("a.jsonl", lambda: b"[" * 100_000, "line 1 is no JSON object"),
    "truncated JSON": ("a.jsonl", lambda: lines({"text": "a"}, {"text": "b"})[:-3], "line 2 is no JSON object"),
    "empty texts": ("a.jsonl", lambda: lines({"text": ""}, {"text": " "}), "it has no text"),
}

GOOD: Mapping[str, tuple[str, bytes]] = {
    "audio": ("good.wav", wav()),
    "video": ("good.gif", clip()),
    "text": ("good.txt", b"some text"),
}
CASES = [
    pytest.param(modality, *case, id=f"{modality}, {name}")
    for modality, cases in {"audio": AUDIO, "video": VIDEO, "text": TEXT}.items()
    for name, case in cases.items()
]


@pytest.mark.promise("R33", 1, 1)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize(("modality", "name", "content", "outcome"), CASES)
def test_hostile_files_have_their_outcomes(
    modality: str, name: str, content: Callable[[], bytes], outcome: Outcome, packed: bool, tmp_path: Path, promise: Any
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    files = {GOOD[modality][0]: GOOD[modality][1], name: content()}
    for each, data in files.items():
        (folder / each).write_bytes(data)
    source = folder
    if packed:
        source = tmp_path / "data.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for each in files:
                archive.write(folder / each, each)
    tracemalloc.start()
    try:
        if isinstance(outcome, int):
            assert len(open_path(source, modality=modality)["train"]) == outcome
        else:
            with pytest.raises(DataError) as caught:
                open_path(source, modality=modality)
            assert outcome in str(caught.value)
            assert len(str(caught.value).splitlines()) <= 3
            left = open_path(source, modality=modality, skip_bad=1)["train"] if outcome != "9,0" else None
            assert left is None or left.skipped == (name,)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
    promise.kept(files=1, as_stated=1)


def test_there_are_twenty_of_each() -> None:
    assert min(map(len, (AUDIO, VIDEO, TEXT))) >= 20


def test_a_bomb_of_sound_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.wav", wav(bytes(64 << 20)))
    with pytest.raises(DataError, match="decompression bomb"):
        open_path(tmp_path / "bomb.zip", modality="audio")
