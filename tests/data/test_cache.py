"""Pools between runs: whole or made anew, one writer at a time, and no more than a mapping in memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch
from safetensors.torch import load_file

from aigc_zoo.data.cache import Plan, cache_folder, cached_pool
from aigc_zoo.data.samples import digest_of
from aigc_zoo.errors import DataError, StorageError

IMAGES = np.arange(60, dtype=np.uint8).reshape(5, 1, 3, 4)
LABELS = np.array([0, 1, 0, 1, 2])


def plan() -> Plan:
    def fill(arrays: Mapping[str, np.ndarray]) -> None:
        arrays["train/real"][:] = IMAGES
        arrays["train/label"][:] = LABELS
        arrays["test/real"][:] = IMAGES[:1] + 1

    shapes = {
        "train/real": ("uint8", (5, 1, 3, 4)),
        "train/label": ("int64", (5,)),
        "test/real": ("uint8", (1, 1, 3, 4)),
    }
    return Plan(shapes, {"classes": "ü, b"}, fill)


def never() -> Plan:
    raise AssertionError("it was there already")


def only(folder: Path) -> Path:
    (path,) = folder.rglob("*.safetensors")
    return path


def test_what_was_kept_comes_back(cache: Path) -> None:
    for make in (plan, never):
        kept = cached_pool("näme of/it", "source", "state", make)
        train = kept.split("train")
        assert np.array_equal(train["real"], IMAGES)
        assert np.array_equal(train["label"], LABELS)
        assert set(kept.split("test")) == {"real"}
        assert kept.notes == {"classes": "ü, b"}
        assert kept.digests == {split: digest_of(kept.split(split)) for split in ("train", "test")}
    assert only(cache).name.startswith("n_me_of_it-")
    assert sorted(path.suffix for path in (cache / "pools").iterdir()) == [".lock", ".safetensors"]


def test_anybody_can_read_the_file(cache: Path) -> None:
    kept = cached_pool("pool", "source", "state", plan)
    theirs = load_file(only(cache))
    assert theirs.keys() == kept.tensors.keys()
    assert all(torch.equal(theirs[name], kept.tensors[name]) for name in theirs)


@pytest.mark.parametrize("size", [0, 5, 300, -1])
def test_a_file_that_is_cut_short_is_made_anew(cache: Path, size: int) -> None:
    cached_pool("pool", "source", "state", plan)
    content = only(cache).read_bytes()
    only(cache).write_bytes(content[:size])
    assert np.array_equal(cached_pool("pool", "source", "state", plan).split("train")["real"], IMAGES)
    assert only(cache).read_bytes() == content


def test_a_damaged_head_is_made_anew(cache: Path) -> None:
    cached_pool("pool", "source", "state", plan)
    content = bytearray(only(cache).read_bytes())
    content[9:40] = b"?" * 31
    only(cache).write_bytes(content)
    assert np.array_equal(cached_pool("pool", "source", "state", plan).split("train")["real"], IMAGES)


def test_another_state_is_another_pool_and_the_old_one_goes(cache: Path) -> None:
    cached_pool("pool", "source", "state", plan)
    cached_pool("pool", "another", "state", plan)
    cached_pool("pool", "source", "changed", plan)
    assert len(list(cache.rglob("*.safetensors"))) == 2
    cached_pool("pool", "source", "changed", never)
    cached_pool("pool", "another", "state", never)


def test_what_a_killed_writer_left_is_swept(cache: Path) -> None:
    cached_pool("pool", "source", "state", plan)
    left = only(cache).with_name(f".{only(cache).name}.0123abcd.tmp")
    left.touch()
    cached_pool("pool", "source", "changed", plan)
    assert not left.exists()


def test_a_failing_plan_leaves_nothing(cache: Path) -> None:
    def fill(arrays: Mapping[str, np.ndarray]) -> None:
        raise DataError("no such picture")

    with pytest.raises(DataError, match="no such picture"):
        cached_pool("pool", "source", "state", lambda: Plan(plan().arrays, {}, fill))
    assert [path.suffix for path in (cache / "pools").iterdir()] == [".lock"]


def test_a_full_disk_is_explained(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        StorageError, match=r"No space left on device\nthe pool of it .*: set ZOO_CACHE to a folder"
    ) as said:
        cached_pool("it", "source", "state", plan)
    assert said.value.exit_code == 74
    assert not list(cache.rglob("*.tmp"))


def test_a_cache_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError, match=r"file.*\nthe pool of it is kept there: set ZOO_CACHE"):
        cached_pool("it", "source", "state", plan)


def test_those_who_start_together_build_once(cache: Path) -> None:
    built = []

    def counting() -> Plan:
        built.append(1)
        return plan()

    def one(_: int) -> torch.Tensor:
        return cached_pool("pool", "source", "state", counting).split("train")["real"]

    with ThreadPoolExecutor(4) as pool:  # locks are of open files: threads exclude each other as processes do
        assert all(np.array_equal(images, IMAGES) for images in pool.map(one, range(4)))
    assert built == [1]


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("ZOO_CACHE")
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    assert cache_folder() == tmp_path / "aigc_zoo"
