"""The manifest of a dataset: what it lists, what it notices, and what --skip-bad leaves out and records."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aigc_zoo.data import images, manifest
from aigc_zoo.data.open import open_path
from aigc_zoo.errors import DataError

from .test_images import zipped


@pytest.fixture
def folder(tmp_path: Path, picture: Any) -> Path:
    for number in range(10):
        picture(f"data/{'ab'[number % 2]}/{number}.png", mode=("RGB", "L")[number % 2], seed=number)
    return tmp_path / "data"


def spoil(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.write_bytes(path.read_bytes()[:60])


def lines(cache: Path) -> list[manifest.Line]:
    (path,) = cache.rglob("*.manifest.jsonl")
    return manifest.read(path)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_each_file_is_listed_when_it_is_first_decoded(folder: Path, tmp_path: Path, cache: Path, kind: str) -> None:
    open_path(folder if kind == "folder" else zipped(folder, tmp_path / "data.zip"))
    found = {line.path: line for line in lines(cache)}
    assert found.keys() == {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    for name, line in found.items():
        content = (folder / name).read_bytes()
        mode = "RGB" if name.startswith("a") else "L"
        assert line == manifest.Line(name, len(content), hashlib.sha256(content).hexdigest(), mode)


@pytest.mark.promise("R28", 100, 100)
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_every_flipped_bit_is_noticed(folder: Path, tmp_path: Path, kind: str, promise: Any) -> None:
    """The time of the last change is set back: the content alone tells."""
    path = folder if kind == "folder" else zipped(folder, tmp_path / "data.zip")
    open_path(path)
    assert not images.verify(path)
    rng, noticed = random.Random(0), 0
    names = sorted(folder.rglob("*.png"))
    for number in range(promise.count):
        target = names[number % len(names)] if kind == "folder" else path
        whole, about = target.read_bytes(), target.stat()
        # In a zip, the bits of a member's data; its index is read at the opening, and refuses in words of its own.
        end = len(whole) if kind == "folder" else whole.index(b"PK\1\2")
        place = rng.randrange(end)
        data = bytearray(whole)
        data[place] ^= 1 << rng.randrange(8)
        target.write_bytes(data)
        os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))
        changes = images.verify(path)
        noticed += bool(changes)
        if kind == "folder":
            assert changes == ([target.relative_to(folder).as_posix()], [], [])
        target.write_bytes(whole)
    if kind == "folder":  # a zip has bits that mean nothing, such as the time in a local header
        assert noticed == promise.count
        promise.kept(flips=promise.count, noticed=noticed)
    assert noticed > promise.count * 0.6


def test_what_goes_and_what_comes_is_said(folder: Path, picture: Any) -> None:
    with pytest.raises(DataError, match="no manifest yet"):
        images.verify(folder)
    open_path(folder)
    (folder / "a" / "0.png").rename(folder / "a" / "new.png")
    assert images.verify(folder) == ([], ["a/0.png"], ["a/new.png"])


def test_by_default_all_that_is_damaged_is_listed_and_refused(folder: Path) -> None:
    spoil(folder, "a/0.png", "b/3.png")
    with pytest.raises(DataError, match=r"a/0\.png cannot be read(.|\n)*1 of its other files: b/3\.png") as said:
        open_path(folder)
    assert str(said.value).endswith("replace or remove what is damaged, or leave it out with --skip-bad 2")


def test_skipping_counts_and_records(folder: Path, cache: Path) -> None:
    whole = open_path(folder)["train"]
    spoil(folder, "a/0.png", "b/3.png")
    (folder / "a" / "2.png").write_bytes(b"")  # which its header tells, the others only when they are decoded
    with pytest.raises(DataError, match=r"2 of its other files(.|\n)*with --skip-bad 3 \(now 2\)"):
        open_path(folder, skip_bad=2)
    found = open_path(folder, skip_bad=3)["train"]
    assert found.skipped == ("a/2.png", "a/0.png", "b/3.png")
    assert len(found) == 7
    assert found.fields["label"].tolist() == [0, 0, 0, 1, 1, 1, 1]
    kept = [row.numpy() for n, row in enumerate(whole.fields["real"]) if n not in (0, 1, 6)]
    assert np.array_equal(found.fields["real"].numpy(), kept)
    reasons = {line.path: line.skipped for line in lines(cache) if line.skipped}
    assert set(reasons) == set(found.skipped)
    assert "cannot identify" in reasons["a/2.png"]
    assert "truncated" in reasons["a/0.png"]
    assert open_path(folder, skip_bad=9)["train"].skipped == found.skipped  # from the cache
    with pytest.raises(DataError, match="cannot be read as an image"):
        open_path(folder)  # and not from there by who did not ask for it
    assert not images.verify(folder)


def test_nothing_left_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").touch()
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image"):
        open_path(tmp_path / "data", skip_bad=5)


def test_names_that_are_no_text_are_listed_as_they_are(tmp_path: Path, picture: Any, cache: Path) -> None:
    picture("data/a.png")
    (tmp_path / "data" / "a.png").rename(tmp_path / "data" / os.fsdecode(b"\xff\x1b.png"))
    open_path(tmp_path / "data")
    assert [line.path for line in lines(cache)] == [os.fsdecode(b"\xff\x1b.png")]
    assert not images.verify(tmp_path / "data")


def test_a_damaged_manifest_is_told(folder: Path, cache: Path) -> None:
    open_path(folder)
    (path,) = cache.rglob("*.manifest.jsonl")
    path.write_text('{"path": 1, "nosuch": 2}\n')
    with pytest.raises(DataError, match="cannot be read as a manifest"):
        images.verify(folder)
