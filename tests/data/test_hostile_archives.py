"""Twelve malicious archives: the outcome for each, and no file is written outside of the cache (R26)."""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opened import open_path
from PIL import Image

from aigc_zoo.data import layout
from aigc_zoo.errors import DataError


def image(seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def special(name: str, kind: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.create_system = 3
    member.external_attr = (kind | 0o777) << 16
    return member


def named(*names: str) -> Callable[[zipfile.ZipFile], None]:
    def fill(archive: zipfile.ZipFile) -> None:
        for number, name in enumerate(names):
            archive.writestr(name, image(number))

    return fill


def link_then_write(archive: zipfile.ZipFile) -> None:
    archive.writestr(special("out", stat.S_IFLNK), "/tmp")
    archive.writestr("out/through.png", image())


def links(archive: zipfile.ZipFile) -> None:
    archive.writestr(special("hard.png", stat.S_IFLNK), "good.png")
    archive.writestr("good.png", image())


def device(archive: zipfile.ZipFile) -> None:
    for name, kind in (
        ("c.png", stat.S_IFCHR),
        ("b.png", stat.S_IFBLK),
        ("p.png", stat.S_IFIFO),
        ("s.png", stat.S_IFSOCK),
    ):
        archive.writestr(special(name, kind), image())
    archive.writestr("good.png", image())


def bomb(archive: zipfile.ZipFile) -> None:
    archive.writestr("bomb.png", bytes(64 << 20))


def twice(archive: zipfile.ZipFile) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        named("a.png", "a.png")(archive)


def nested(archive: zipfile.ZipFile) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as again:
        again.writestr("../../in.png", image())
    archive.writestr("inner.zip", inner.getvalue())
    archive.writestr("inner.png", inner.getvalue())


ARCHIVES: dict[
    str, tuple[Callable[[zipfile.ZipFile], None], int | str]
] = {  # number of images, or the reason for refusing all
    "traversal": (named("../up.png", "a/../../up.png", "..\\up.png", "good.png"), 1),
    "absolute": (named("/etc/up.png", "C:/up.png", "//host/up.png"), 3),
    "link, then a write through it": (link_then_write, 1),
    "links": (links, 1),
    "devices": (device, 1),
    "bomb": (bomb, "decompression bomb"),
    "duplicate": (twice, r"two entries named a\.png"),
    "case": (named("A.png", "a.png", "a.PNG"), 3),
    "NUL": (named("a.png"), 1),  # written below
    "long name": (named("x" * 60_000 + ".png"), 1),
    "nested": (nested, r"inner\.png cannot be read as an image"),
}


@pytest.mark.promise("R26", 1, 1)
@pytest.mark.parametrize("name", ARCHIVES)
def test_every_archive_has_its_outcome(name: str, tmp_path: Path, cache: Path, promise: Any) -> None:
    fill, expected = ARCHIVES[name]
    path = tmp_path / "in" / "deep" / "a.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        fill(archive)
    if name == "NUL":
        path.write_bytes(path.read_bytes().replace(b"a.png", b"\0.png"))
        expected = "has no images"  # a name ends at a NUL
    before = everything(tmp_path, cache)
    if isinstance(expected, int):
        assert len(open_path(path)["train"]) == expected
    else:
        with pytest.raises(DataError, match=expected) as caught:
            open_path(path)
        assert len(str(caught.value).splitlines()) <= 3
    assert everything(tmp_path, cache) == before
    promise.kept(archives=1, as_stated=1, files_outside_the_cache=0)


def everything(folder: Path, cache: Path) -> set[str]:
    outside = {str(path) for path in folder.rglob("*") if cache not in (path, *path.parents)}
    return outside | {f"/tmp/{name}" for name in os.listdir("/tmp") if name.endswith("up.png")}


def zip_of_empty_files(path: Path, count: int) -> None:
    """Writes a zip of `count` empty files as bytes; writing it entry by entry would take a minute."""
    entry = struct.Struct("<4s4B4HL2L2H")
    local = struct.Struct("<4s2B4HL2L2H")
    names = [b"%07d.dat" % number for number in range(count)]
    step = local.size + 11
    heads = b"".join(local.pack(b"PK\3\4", 20, 0, 0, 0, 0, 33, 0, 0, 0, 11, 0) + name for name in names)
    index = b"".join(
        entry.pack(b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 33, 0, 0, 0, 11, 0)
        + struct.pack("<3H2L", 0, 0, 0, 0, i * step)
        + name
        for i, name in enumerate(names)
    )
    size, start, end = len(index), len(heads), len(heads) + len(index)
    far = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    far += struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    path.write_bytes(heads + index + far + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, size, start, 0))


@pytest.mark.promise("R26", 20_000, 1_000_000)
def test_too_many_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promise: Any) -> None:
    path = tmp_path / "a.zip"
    zip_of_empty_files(path, promise.count)
    with pytest.raises(DataError, match="has no images"):
        open_path(path)
    monkeypatch.setattr(layout, "MOST_FILES", promise.count - 1)
    with pytest.raises(DataError, match=rf"a\.zip has {promise.count:,} entries, more than"):
        open_path(path)
    promise.kept(archives=1, as_stated=1, entries=promise.count)
