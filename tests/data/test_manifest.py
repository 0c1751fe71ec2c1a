"""The manifest of a dataset: its lines, the changes that it detects, and files that --skip-bad leaves out."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opened import open_path, verify

from aigc_zoo.data import manifest
from aigc_zoo.errors import DataError

from .test_images import zipped


@pytest.fixture
def folder(tmp_path: Path, write_image: Any) -> Path:
    for number in range(10):
        write_image(f"data/{'ab'[number % 2]}/{number}.png", mode=("RGB", "L")[number % 2], seed=number)
    return tmp_path / "data"


def spoil(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.write_bytes(path.read_bytes()[:60])


def lines(cache: Path) -> list[manifest.Line]:
    (path,) = cache.rglob("*.manifest.jsonl")
    return manifest.read(path)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_each_decoded_file_is_listed(folder: Path, tmp_path: Path, cache: Path, kind: str) -> None:
    open_path(folder if kind == "folder" else zipped(folder, tmp_path / "data.zip"))
    found = {line.path: line for line in lines(cache)}
    assert found.keys() == {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    for name, line in found.items():
        content = (folder / name).read_bytes()
        mode = "RGB" if name.startswith("a") else "L"
        assert line == manifest.Line(name, len(content), hashlib.sha256(content).hexdigest(), mode)


@pytest.mark.promise("R28", 100, 100)
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_every_flipped_bit_is_detected(folder: Path, tmp_path: Path, kind: str, promise: Any) -> None:
    """The modification time is restored, so that only the content differs."""
    path = folder if kind == "folder" else zipped(folder, tmp_path / "data.zip")
    open_path(path)
    assert not verify(path)
    rng, detected = random.Random(0), 0
    names = sorted(folder.rglob("*.png"))
    for number in range(promise.count):
        target = names[number % len(names)] if kind == "folder" else path
        whole, about = target.read_bytes(), target.stat()
        # In a zip, bits of a member's data: damage in the index is reported with another error when it is opened.
        end = len(whole) if kind == "folder" else whole.index(b"PK\1\2")
        position = rng.randrange(end)
        data = bytearray(whole)
        data[position] ^= 1 << rng.randrange(8)
        target.write_bytes(data)
        os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))
        changes = verify(path)
        detected += bool(changes)
        if kind == "folder":
            assert changes == ([target.relative_to(folder).as_posix()], [], [])
        target.write_bytes(whole)
    if kind == "folder":  # a zip has bits without effect, such as the time in a local header
        assert detected == promise.count
        promise.kept(flips=promise.count, noticed=detected)
    assert detected > promise.count * 0.6


def test_missing_and_added_files_are_reported(folder: Path, write_image: Any) -> None:
    with pytest.raises(DataError, match="no manifest yet"):
        verify(folder)
    open_path(folder)
    (folder / "a" / "0.png").rename(folder / "a" / "new.png")
    assert verify(folder) == ([], ["a/0.png"], ["a/new.png"])


def test_damaged_files_are_refused_by_default(folder: Path) -> None:
    spoil(folder, "a/0.png", "b/3.png")
    with pytest.raises(DataError, match=r"a/0\.png cannot be read(.|\n)*1 of its other files .*: b/3\.png") as caught:
        open_path(folder)
    assert str(caught.value).endswith("replace or remove the damaged files, or leave them out with --skip-bad 2")


def test_skipped_files_are_counted_and_recorded(folder: Path, cache: Path) -> None:
    whole = open_path(folder)["train"]
    spoil(folder, "a/0.png", "b/3.png")
    (folder / "a" / "2.png").write_bytes(b"")  # found by its header; the others only when they are decoded
    with pytest.raises(DataError, match=r"2 of its other files .*(.|\n)*with --skip-bad 3 \(now 2\)"):
        open_path(folder, skip_bad=2)
    found = open_path(folder, skip_bad=3)["train"]
    assert found.skipped == ("a/2.png", "a/0.png", "b/3.png")
    assert len(found) == 7
    assert found.fields["label"].tolist() == [0, 0, 0, 1, 1, 1, 1]
    remaining = [row.numpy() for n, row in enumerate(whole.fields["real"]) if n not in (0, 1, 6)]
    assert np.array_equal(found.fields["real"].numpy(), remaining)
    reasons = {line.path: line.skipped for line in lines(cache) if line.skipped}
    assert set(reasons) == set(found.skipped)
    assert "cannot identify" in reasons["a/2.png"]
    assert "truncated" in reasons["a/0.png"]
    assert open_path(folder, skip_bad=9)["train"].skipped == found.skipped  # from the cache
    with pytest.raises(DataError, match="cannot be read as an image"):
        open_path(folder)  # without skip_bad, the cached pool is refused too
    assert not verify(folder)


def test_a_dataset_without_valid_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").touch()
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image"):
        open_path(tmp_path / "data", skip_bad=5)


def test_names_that_are_not_utf8_are_listed(tmp_path: Path, write_image: Any, cache: Path) -> None:
    write_image("data/a.png")
    (tmp_path / "data" / "a.png").rename(tmp_path / "data" / os.fsdecode(b"\xff\x1b.png"))
    open_path(tmp_path / "data")
    assert [line.path for line in lines(cache)] == [os.fsdecode(b"\xff\x1b.png")]
    assert not verify(tmp_path / "data")


def test_a_damaged_manifest_is_reported(folder: Path, cache: Path) -> None:
    open_path(folder)
    (path,) = cache.rglob("*.manifest.jsonl")
    path.write_text('{"path": 1, "nosuch": 2}\n')
    with pytest.raises(DataError, match="cannot be read as a manifest"):
        verify(folder)
