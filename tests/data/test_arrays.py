"""Arrays on disk as images, points or general arrays, with splits and labels by name."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from opened import open_path

from aigc_zoo.data import arrays
from aigc_zoo.data.pool import example
from aigc_zoo.errors import DataError
from aigc_zoo.game import Samples

RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (6, 5, 7, 3), dtype=np.uint8)


def saved(path: Path, values: Any = None, **arrays_by_name: Any) -> dict[str, Samples]:
    if arrays_by_name:
        np.savez_compressed(path, **arrays_by_name)
    else:
        np.save(path, values)
    return open_path(path)


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        (BYTES, (3, 5, 7)),
        (BYTES.transpose(0, 3, 1, 2), (3, 5, 7)),
        (BYTES[..., :1], (1, 5, 7)),
        (BYTES[..., 0], (1, 5, 7)),
        (BYTES[:, :3], (3, 3, 7)),  # either axis could be channels: the last one is used
        (np.asfortranarray(BYTES), (3, 5, 7)),
        (BYTES[..., 0] > 99, (1, 5, 7)),
    ],
)
def test_bytes_are_images(tmp_path: Path, values: np.ndarray, shape: tuple[int, ...]) -> None:
    (train,) = saved(tmp_path / "set.npy", values).values()
    assert (train.name, train.spec.modality, train.spec.shape, train.spec.range) == ("set", "image", shape, (-1.0, 1.0))
    real = example(train, 6)["real"]
    stored = values.astype(np.uint8) * 255 if values.dtype == bool else values
    if values.ndim == 4 and values.shape[-1] == 3:
        stored = stored.transpose(0, 3, 1, 2)
    assert torch.equal(((real + 1) * 127.5).round().to(torch.uint8), torch.from_numpy(stored.reshape(6, *shape).copy()))


@pytest.mark.parametrize(
    ("values", "modality", "bounds", "shape"),
    [
        (RANDOM.random((6, 4, 4, 3)), "image", (0.0, 1.0), (3, 4, 4)),
        (RANDOM.random((6, 3, 4, 4), dtype=np.float32) * 2 - 1, "image", (-1.0, 1.0), (3, 4, 4)),
        (RANDOM.random((6, 4, 4)), "image", (0.0, 1.0), (1, 4, 4)),
        (RANDOM.random((6, 4, 4)) * 9, "array", None, (4, 4)),
        (RANDOM.random((6, 100)) * 2 - 1, "array", (-1.0, 1.0), (100,)),
        (RANDOM.random((6, 100)).astype(">f4"), "array", (0.0, 1.0), (100,)),
    ],
)
def test_numbers_keep_their_values_and_range(
    tmp_path: Path, values: np.ndarray, modality: str, bounds: tuple[float, float] | None, shape: tuple[int, ...]
) -> None:
    spec = saved(tmp_path / "set.npy", values)["train"].spec
    assert (spec.modality, spec.range, spec.shape) == (modality, bounds, shape)
    real = example(open_path(tmp_path / "set.npy")["train"], 6)["real"]
    assert real.dtype == torch.float32
    assert float(real.double().sum()) == pytest.approx(float(values.sum()), rel=1e-5)


def test_pairs_are_points(tmp_path: Path) -> None:
    spec = saved(tmp_path / "set.npy", np.array([[0.0, 1.0], [3.0, 4.0]]))["train"].spec
    assert (spec.modality, spec.shape, spec.range) == ("points", (2,), (-2.0, 6.0))


def test_integers_stay_integers(tmp_path: Path) -> None:
    train = saved(tmp_path / "set.npy", np.array([[1, 2, 70_000]], np.int32))["train"]
    assert (train.spec.modality, train.spec.dtype, train.spec.range) == ("array", "int64", None)
    assert example(train)["real"].tolist() == [[1, 2, 70_000]]


def test_npy_files_are_memory_mapped(tmp_path: Path) -> None:
    path = tmp_path / "set.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (1000, 1, 64, 64))[7] = 200
    train = open_path(path)["train"]
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x09")
    assert int(train.fields["real"][-1, 0, -1, -1]) == 9
    assert int(train.fields["real"][7].sum()) == 200 * 64 * 64


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("images", "labels"), {"train"}),
        (("x", "y"), {"train"}),
        (("train_images", "train_labels", "test_images", "test_labels"), {"train", "test"}),
        (("x_train", "y_train", "x_test", "y_test"), {"train", "test"}),
        (("train", "train_labels", "valid", "valid_y"), {"train", "val"}),
        (("faces", "labels"), {"train"}),
    ],
)
def test_names_of_arrays_give_splits_and_labels(tmp_path: Path, names: tuple[str, ...], splits: set[str]) -> None:
    given = {name: BYTES if position % 2 == 0 else np.array([3, 1, 3, 1, 1, 2]) for position, name in enumerate(names)}
    found = saved(tmp_path / "set.npz", **given)
    assert set(found) == splits
    for split, samples in found.items():
        assert samples.split == split
        assert samples.classes == ("1", "2", "3")
        assert samples.fields["label"].tolist() == [2, 0, 2, 0, 0, 1]


def test_all_splits_share_their_classes(tmp_path: Path) -> None:
    found = saved(
        tmp_path / "set.npz",
        x_train=BYTES[:2],
        y_train=np.array(["dog", "cat"]),
        x_test=BYTES[:1],
        y_test=np.array(["ox"]),
    )
    assert {split: samples.classes for split, samples in found.items()} == dict.fromkeys(found, ("cat", "dog", "ox"))
    assert found["test"].fields["label"].tolist() == [2]
    assert found["test"].frequencies == (0.0, 0.0, 1.0)


def test_a_single_array_needs_no_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", BYTES)
    assert open_path(tmp_path / "set.npz")["train"].spec.shape == (3, 5, 7)


def test_images_are_resized_to_a_given_size(tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", BYTES)
    assert open_path(tmp_path / "set.npy", size=4)["train"].spec.shape == (3, 4, 4)
    np.save(tmp_path / "numbers.npy", RANDOM.random((6, 4, 4)))
    with pytest.raises(DataError, match="--size 2: numbers: only uint8 images can be resized, not float64: leave"):
        open_path(tmp_path / "numbers.npy", size=2)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"labels": np.zeros(3)}, "has no array of samples: name it images"),
        (
            {"x": BYTES, "y": np.zeros(5, int)},
            r"labels must be .*, one for each of 6 samples, not int64 of shape .5,.",
        ),
        ({"x": BYTES, "y": np.full(6, 0.5)}, "not float64 of shape"),
        ({"x_train": BYTES, "x_test": BYTES[:, 1:]}, r"test is uint8 of shape \(6, 4, 7, 3\), but train is uint8 of"),
        ({"x_train": BYTES, "x_test": BYTES / 255}, "test is float64 .*: all splits need one shape and dtype"),
        ({"ids": BYTES, "faces": BYTES}, "has several arrays of samples: ids, faces\nname the one to use images"),
        ({"x": BYTES, "y_test": np.zeros(6, int)}, "has labels of test, but no samples: name them test_images"),
        ({"x_test": BYTES}, "has no training samples, only test"),
        ({"x": np.array([[0.0, np.nan]])}, "train has NaN or infinite values"),
        ({"x": np.zeros((0, 3, 4, 4))}, r"samples must be numbers \(N, ...\)"),
        ({"x": np.zeros(9)}, r"float64 of shape \(9,\)"),
        ({"x": np.array([["a", "b"]])}, "<U1 of shape"),
        ({"x": np.zeros((2, 2), complex)}, "complex128 of shape"),
    ],
)
def test_invalid_arrays_are_refused(tmp_path: Path, given: dict[str, np.ndarray], reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        saved(tmp_path / "set.npz", **given)
    assert len(str(caught.value).splitlines()) <= 3
    assert "set.npz" in str(caught.value)


class Canary:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("canary"),)


@pytest.mark.parametrize("name", ["set.npy", "set.npz"])
def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = np.array([Canary()], dtype=object)
    np.save(name, hostile, allow_pickle=True) if name.endswith("npy") else np.savez(name, x=hostile)
    with pytest.raises(DataError, match=r"cannot be read as arrays: .*[Oo]bject"):
        open_path(tmp_path / name)
    assert not Path("canary").exists()


def test_damaged_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "set.npy", BYTES)
    np.savez(tmp_path / "set.npz", BYTES)
    for name in ("set.npy", "set.npz"):
        content = (tmp_path / name).read_bytes()
        for cut in (0, 4, 100, len(content) - 9):
            (tmp_path / name).write_bytes(content[:cut])
            with pytest.raises(DataError, match=f"{name} cannot be read as arrays"):
                open_path(tmp_path / name)
        (tmp_path / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "set.npz") as zipped:
        total = sum(member.file_size for member in zipped.filelist)
    monkeypatch.setattr(arrays, "MOST_BYTES", total - 1)
    with pytest.raises(DataError, match=f"unpacks to {total:,} bytes"):
        open_path(tmp_path / "set.npz")
