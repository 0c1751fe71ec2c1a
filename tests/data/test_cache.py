"""The cache of decoded datasets: complete files or none, one writer at a time, memory-mapped reading."""

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
    raise AssertionError("it is in the cache already")


def only(folder: Path) -> Path:
    (path,) = folder.rglob("*.safetensors")
    return path


def test_a_cached_pool_is_read_back(cache: Path) -> None:
    for build in (plan, never):
        pool = cached_pool("näme of/it", "source", "state", build)
        train = pool.split("train")
        assert np.array_equal(train["real"], IMAGES)
        assert np.array_equal(train["label"], LABELS)
        assert set(pool.split("test")) == {"real"}
        assert pool.notes == {"classes": "ü, b"}
        assert pool.digests == {split: digest_of(pool.split(split)) for split in ("train", "test")}
    assert only(cache).name.startswith("n_me_of_it-")
    assert sorted(path.suffix for path in (cache / "pools").iterdir()) == [".lock", ".safetensors"]


def test_safetensors_can_read_the_file(cache: Path) -> None:
    pool = cached_pool("pool", "source", "state", plan)
    tensors = load_file(only(cache))
    assert tensors.keys() == pool.tensors.keys()
    assert all(torch.equal(tensors[name], pool.tensors[name]) for name in tensors)


@pytest.mark.parametrize("size", [0, 5, 300, -1])
def test_a_truncated_file_is_written_again(cache: Path, size: int) -> None:
    cached_pool("pool", "source", "state", plan)
    content = only(cache).read_bytes()
    only(cache).write_bytes(content[:size])
    assert np.array_equal(cached_pool("pool", "source", "state", plan).split("train")["real"], IMAGES)
    assert only(cache).read_bytes() == content


def test_a_file_with_a_damaged_header_is_written_again(cache: Path) -> None:
    cached_pool("pool", "source", "state", plan)
    content = bytearray(only(cache).read_bytes())
    content[9:40] = b"?" * 31
    only(cache).write_bytes(content)
    assert np.array_equal(cached_pool("pool", "source", "state", plan).split("train")["real"], IMAGES)


def test_a_changed_state_gives_a_new_pool_and_deletes_the_old_one(cache: Path) -> None:
    cached_pool("pool", "source", "state", plan)
    cached_pool("pool", "another", "state", plan)
    cached_pool("pool", "source", "changed", plan)
    assert len(list(cache.rglob("*.safetensors"))) == 2
    cached_pool("pool", "source", "changed", never)
    cached_pool("pool", "another", "state", never)


def test_temporary_files_of_killed_writers_are_removed(cache: Path) -> None:
    cached_pool("pool", "source", "state", plan)
    temporary = only(cache).with_name(f".{only(cache).name}.0123abcd.tmp")
    temporary.touch()
    cached_pool("pool", "source", "changed", plan)
    assert not temporary.exists()


def test_a_failing_plan_leaves_nothing(cache: Path) -> None:
    def fill(arrays: Mapping[str, np.ndarray]) -> None:
        raise DataError("no such image")

    with pytest.raises(DataError, match="no such image"):
        cached_pool("pool", "source", "state", lambda: Plan(plan().arrays, {}, fill))
    assert [path.suffix for path in (cache / "pools").iterdir()] == [".lock"]


def test_a_full_disk_is_explained(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        StorageError, match=r"No space left on device\nthe decoded dataset it .*: set ZOO_CACHE to a folder"
    ) as caught:
        cached_pool("it", "source", "state", plan)
    assert caught.value.exit_code == 74
    assert not list(cache.rglob("*.tmp"))


def test_a_cache_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError, match=r"file.*\nthe decoded dataset it is cached there: set ZOO_CACHE"):
        cached_pool("it", "source", "state", plan)


def test_concurrent_readers_build_the_pool_once(cache: Path) -> None:
    built = []

    def counting() -> Plan:
        built.append(1)
        return plan()

    def one(_: int) -> torch.Tensor:
        return cached_pool("pool", "source", "state", counting).split("train")["real"]

    with ThreadPoolExecutor(4) as pool:  # locks belong to open files, so threads exclude each other as processes do
        assert all(np.array_equal(images, IMAGES) for images in pool.map(one, range(4)))
    assert built == [1]


def test_the_location_of_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("ZOO_CACHE")
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    assert cache_folder() == tmp_path / "aigc_zoo"
