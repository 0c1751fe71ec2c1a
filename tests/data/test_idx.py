"""IDX files: plain, gzipped and damaged; single files, with label files, and in a folder with MNIST's names."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from opened import open_path

from aigc_zoo.data import idx
from aigc_zoo.errors import DataError, StorageError

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 6, 5), dtype=np.uint8)
LABELS = np.array([1, 0, 1, 7], np.uint8)


def content(values: np.ndarray, code: int = 0x08) -> bytes:
    head = bytes([0, 0, code, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(values.dtype.newbyteorder(">")).tobytes()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a-idx3-ubyte", "a-idx3-ubyte.gz"])
def test_arrays_are_read(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, content(IMAGES))
    assert np.array_equal(idx.read_idx(path), IMAGES)
    digest = hashlib.sha256(content(IMAGES)).hexdigest()
    assert np.array_equal(idx.read_idx(path, f"sha256:{digest}"), IMAGES)
    with pytest.raises(DataError, match="is not the published file: its content has another sha256"):
        idx.read_idx(path, f"sha256:{'0' * 64}")


@pytest.mark.parametrize(("code", "dtype"), [(0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")])
def test_other_dtypes_have_native_byte_order(tmp_path: Path, code: int, dtype: str) -> None:
    values = np.arange(-3, 3).astype(dtype).reshape(2, 3)
    found = idx.read_idx(write(tmp_path / "a", content(values, code)))
    assert found.dtype == values.dtype
    assert np.array_equal(found, values)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "does not begin with the header of an IDX file"),
        (b"PNG and more", "does not begin with the header of an IDX file"),
        (content(IMAGES)[:7], "is damaged"),
        (content(IMAGES)[:-1], "fewer bytes than its header says"),
        (content(IMAGES) + b"!", "more bytes than its header says"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, "its header claims"),
    ],
)
@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_damage_is_reported(tmp_path: Path, data: bytes, reason: str, name: str) -> None:
    with pytest.raises(
        DataError, match=rf"{name} is damaged: .*{reason.removeprefix('is damaged')}.*\nreplace or remove"
    ):
        idx.read_idx(write(tmp_path / name, data))


def test_damaged_gzip_files_are_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gz", content(IMAGES))
    whole = path.read_bytes()
    for damaged in (whole[:-20], whole[:40] + b"\0" * 20 + whole[60:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.gz is damaged"):
            idx.read_idx(path)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_a_folder_with_the_names_of_mnist_has_splits_and_labels(tmp_path: Path, end: str) -> None:
    for prefix in ("train", "t10k"):
        write(tmp_path / "set" / f"{prefix}-images-idx3-ubyte{end}", content(IMAGES))
        write(tmp_path / "set" / f"{prefix}-labels-idx1-ubyte{end}", content(LABELS))
    found = open_path(tmp_path / "set")
    assert list(found) == ["train", "test"]
    for samples in found.values():
        assert samples.name == "set"
        assert samples.classes == ("0", "1", "7")
        assert samples.fields["label"].tolist() == [1, 0, 1, 2]
        assert np.array_equal(samples.fields["real"][:, 0].numpy(), IMAGES)


@pytest.mark.parametrize(
    "kinds", [(".idx3-ubyte", ".idx1-ubyte"), (".idx3-ubyte.gz", "-idx1-ubyte"), ("-idx3-ubyte", ".idx1-ubyte.gz")]
)
def test_names_with_a_dot_are_those_of_mnist_too(tmp_path: Path, kinds: tuple[str, str]) -> None:
    for prefix in ("train", "t10k"):
        write(tmp_path / "set" / f"{prefix}-images{kinds[0]}", content(IMAGES))
        write(tmp_path / "set" / f"{prefix}-labels{kinds[1]}", content(LABELS))
    for path in (tmp_path / "set", tmp_path / "set" / f"train-images{kinds[0]}"):
        assert open_path(path)["train"].classes == ("0", "1", "7")


def test_a_single_file_uses_the_label_file_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path / "t10k-images-idx3-ubyte.gz", content(IMAGES))
    assert open_path(path)["train"].classes == ()
    write(tmp_path / "t10k-labels-idx1-ubyte.gz", content(LABELS))
    assert open_path(path)["train"].classes == ("0", "1", "7")
    assert open_path(path, size=3)["train"].spec.shape == (1, 3, 3)


def test_unknown_formats_and_missing_files_are_reported(tmp_path: Path) -> None:
    for name in ("table.xyz", "packed.gz"):
        path = write(tmp_path / name, b"some text")
        with pytest.raises(DataError, match=rf"{name} has no format that can be read: use a folder, a \.zip"):
            open_path(path)
    with pytest.raises(DataError, match=r"picture\.png: picture\.png cannot be read as an image"):
        open_path(write(tmp_path / "picture.png", b"some text"))
    with pytest.raises(DataError, match="missing: there is no such file or folder"):
        open_path(tmp_path / "missing")
    with pytest.raises(DataError, match=r"missing\.npy: there is no such file or folder"):
        open_path(tmp_path / "missing.npy")


def test_a_lack_of_permission_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "a.npy"))

    monkeypatch.setattr(np.lib.format, "open_memmap", refused)
    (tmp_path / "a.npy").touch()
    with pytest.raises(StorageError, match=r"a\.npy cannot be read: Permission denied"):
        open_path(tmp_path / "a.npy")
