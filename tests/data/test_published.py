"""Published datasets, from existing files or verified downloads, tested on small files of the same format."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aigc_zoo.data.resolve import load
from aigc_zoo.errors import DataError, StorageError
from aigc_zoo.plugins import catalogue
from aigc_zoo_plugins.datasets import cifar, mnist

ROWS = np.random.default_rng(0).integers(0, 10, (6, 10, cifar.ROW), dtype=np.uint8)


def archive(path: Path, names: tuple[str, ...] = tuple(cifar.FILES), more: tuple[str, ...] = ()) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for number, name in enumerate((*names, *more)):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            content = ROWS[number % 6].tobytes()
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of CIFAR-10 in $ZOO_DATA, with ten images per batch file."""
    monkeypatch.setattr(cifar, "BATCH", 10)
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "cifar10").mkdir(parents=True)
    return tmp_path / "data" / "cifar10"


def trust(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(cifar, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())


def check(splits: dict[str, Any]) -> None:
    assert {split: len(samples) for split, samples in splits.items()} == {"train": 50, "test": 10}
    for split, rows in (("train", ROWS[:5]), ("test", ROWS[5:])):
        rows = rows.reshape(-1, cifar.ROW)
        assert splits[split].spec.shape == (3, 32, 32)
        assert splits[split].classes[3] == "cat"
        assert np.array_equal(splits[split].fields["label"], rows[:, 0])
        assert np.array_equal(splits[split].fields["real"].flatten(1), rows[:, 1:])


def test_cifar_is_read_from_its_archive_without_extraction(monkeypatch: pytest.MonkeyPatch, small: Path) -> None:
    trust(monkeypatch, archive(small / "cifar-10-binary.tar.gz", more=("readme.html",)))
    check(load(catalogue(), "cifar10"))
    assert [path.name for path in small.rglob("*")] == ["cifar-10-binary.tar.gz"]
    monkeypatch.setattr(cifar, "SHA256", "")
    check(load(catalogue(), "cifar10"))  # from the cached pool


@pytest.mark.parametrize("folder", ["", "cifar-10-batches-bin"])
def test_cifar_is_read_from_its_files(small: Path, folder: str) -> None:
    (small / folder).mkdir(exist_ok=True)
    for number, name in enumerate(cifar.FILES):
        (small / folder / name).write_bytes(ROWS[number].tobytes())
    check(load(catalogue(), "cifar10"))


def test_another_archive_is_refused(small: Path) -> None:
    archive(small / "cifar-10-binary.tar.gz")
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz is not the published archive"):
        load(catalogue(), "cifar10")


def test_files_missing_in_an_archive_are_named(monkeypatch: pytest.MonkeyPatch, small: Path) -> None:
    path = archive(small / "cifar-10-binary.tar.gz", names=tuple(cifar.FILES)[:4])
    trust(monkeypatch, path)
    with pytest.raises(DataError, match=r"tar\.gz lacks data_batch_5\.bin, test_batch\.bin"):
        load(catalogue(), "cifar10")
    path.write_bytes(path.read_bytes()[:2000])
    trust(monkeypatch, path)
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz is damaged"):
        load(catalogue(), "cifar10")


def test_a_file_with_a_wrong_length_is_named(small: Path) -> None:
    for number, name in enumerate(cifar.FILES):
        (small / name).write_bytes(ROWS[number].tobytes())
    (small / "data_batch_3.bin").write_bytes(b"short")
    with pytest.raises(DataError, match=r"data_batch_3\.bin has 5 bytes, not 30,730"):
        load(catalogue(), "cifar10")


def test_a_label_beyond_ten_is_refused(small: Path) -> None:
    for number, name in enumerate(cifar.FILES):
        (small / name).write_bytes((ROWS[number] + 3).tobytes())
    with pytest.raises(DataError, match="cifar10: labels from 3 to 12 do not fit 10 classes"):
        load(catalogue(), "cifar10")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_missing_files_are_downloaded_from_each_mirror_in_turn(
    monkeypatch: pytest.MonkeyPatch, name: str, cache: Path
) -> None:
    requested: list[tuple[str, Path, str, int]] = []

    def fetch(url: str, path: Path, checksum: str, max_bytes: int, **_: Any) -> Path:
        requested.append((url, path, checksum, max_bytes))
        raise StorageError(f"{url} cannot be downloaded")

    monkeypatch.setattr(mnist, "fetch", fetch)
    with pytest.raises(StorageError, match=r"train-images-idx3-ubyte\.gz cannot be downloaded"):
        load(catalogue(), name)
    assert len(requested) == 2
    for url, path, checksum, most in requested:
        assert url.startswith("https://")
        assert path == cache / "data" / name / "train-images-idx3-ubyte.gz"
        assert len(checksum.removeprefix("sha256:")) == 64
        assert 9_912_422 <= most < 30_000_000


def test_files_with_other_content_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    for name, head in (("mnist", b"\0\0\x08\x01\0\0\0\x01"), ("fashion-mnist", b"\0\0\x08\x01\0\0\0\x01")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train-images-idx3-ubyte").write_bytes(head + b"\0")
    with pytest.raises(DataError, match="is not the published file"):
        load(catalogue(), "mnist")
    with pytest.raises(DataError, match=r"holds uint8 of shape \(1,\), not uint8 of \(60000, 28, 28\)"):
        load(catalogue(), "fashion-mnist")
