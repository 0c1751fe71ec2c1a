"""Labels beside arrays of samples, in the shapes and dtypes that they are saved in."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from opened import open_path

from aigc_zoo.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 6, 5), dtype=np.uint8)
CLASSES = np.array([3, 1, 3, 7])


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (CLASSES, ("1", "3", "7")),
        (CLASSES[:, None].astype(np.uint8), ("1", "3", "7")),
        (CLASSES[:, None].astype(np.float32), ("1", "3", "7")),
        (CLASSES.astype(">f8"), ("1", "3", "7")),
        (np.array([["ox"], ["cat"], ["ox"], ["rat"]]), ("cat", "ox", "rat")),
        (np.array([b"ox", b"cat", b"ox", b"rat"]), ("cat", "ox", "rat")),
        (np.eye(3)[[1, 0, 1, 2]], ("0", "1", "2")),
        (np.eye(3, dtype=bool)[[1, 0, 1, 2]], ("0", "1", "2")),
    ],
)
def test_labels_of_every_form_are_read(tmp_path: Path, labels: np.ndarray, names: tuple[str, ...]) -> None:
    np.savez(tmp_path / "set.npz", images=IMAGES, labels=labels)
    train = open_path(tmp_path / "set.npz")["train"]
    assert train.classes == names
    assert train.fields["label"].tolist() == [1, 0, 1, 2]


def test_bools_are_two_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x=IMAGES, y=CLASSES > 2)
    train = open_path(tmp_path / "set.npz")["train"]
    assert (train.classes, train.fields["label"].tolist()) == (("0", "1"), [1, 0, 1, 1])


def test_arrays_without_names_are_samples_and_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", IMAGES, CLASSES)
    assert open_path(tmp_path / "set.npz")["train"].classes == ("1", "3", "7")
    np.savez(tmp_path / "set.npz", faces=IMAGES, ids=CLASSES)
    assert open_path(tmp_path / "set.npz")["train"].classes == ()


@pytest.mark.parametrize(
    "labels",
    [
        CLASSES[:3],
        CLASSES[None],
        np.array(3),
        np.array([[1, 1, 0]] * 4),
        np.array([[0.5, 0.5]] * 4),
        np.array([0.5, 1, 1, 1]),
        np.array([np.nan, 1, 1, 1]),
        np.zeros(4, complex),
        np.zeros(4, "M8[s]"),
    ],
)
def test_other_labels_are_refused(tmp_path: Path, labels: np.ndarray) -> None:
    np.savez(tmp_path / "set.npz", images=IMAGES, labels=labels)
    with pytest.raises(DataError, match="labels must be integers or texts, one for each of 4 samples, not "):
        open_path(tmp_path / "set.npz")


@pytest.mark.parametrize(
    ("with_labels", "without"),
    [(["train"], ["test"]), (["test"], ["train"]), (["train", "test"], ["val"]), (["train"], ["val", "test"])],
)
def test_labels_of_some_splits_only_are_refused(tmp_path: Path, with_labels: list[str], without: list[str]) -> None:
    images = {f"{split}_images": IMAGES for split in (*with_labels, *without)}
    np.savez(tmp_path / "set.npz", **images, **{f"{split}_labels": CLASSES for split in with_labels})
    with pytest.raises(DataError, match=r" has labels, but .* has none") as caught:
        open_path(tmp_path / "set.npz")
    assert len(str(caught.value).splitlines()) == 2
    assert all(split in str(caught.value).splitlines()[1] for split in (*with_labels, *without))


def test_labels_of_some_idx_files_only_are_refused(tmp_path: Path) -> None:
    def write(name: str, values: np.ndarray) -> None:
        head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(head + values.astype(np.uint8).tobytes()))

    write("train-images-idx3-ubyte", IMAGES)
    write("t10k-images-idx3-ubyte", IMAGES)
    write("train-labels-idx1-ubyte", CLASSES)
    with pytest.raises(DataError, match="train has labels, but test has none"):
        open_path(tmp_path)
    write("t10k-labels-idx1-ubyte", CLASSES)
    assert open_path(tmp_path)["test"].classes == ("1", "3", "7")


def test_numbers_and_texts_are_not_mixed(tmp_path: Path) -> None:
    texts = np.array(["3", "1", "3", "7"])
    np.savez(tmp_path / "set.npz", x_train=IMAGES, y_train=CLASSES, x_test=IMAGES, y_test=texts)
    with pytest.raises(DataError, match="some splits have numbers as labels, others have texts"):
        open_path(tmp_path / "set.npz")
