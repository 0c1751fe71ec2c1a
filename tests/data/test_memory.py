"""Tensors, arrays and datasets as data: read as files are, with the same digests, classes and refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from opened import open_data, open_path
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from aigc_zoo.data import resolve
from aigc_zoo.data.pool import example
from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.game import Samples
from aigc_zoo.plugins import catalogue

RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (12, 3, 9, 8), dtype=np.uint8)
BYTES[0, 0, 0, 0] = 255
LABELS = np.array([3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 1])
TEXTS = np.array(["ant", "bee", "cow", "dog"])[LABELS]


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.copy())


class Items(Dataset[Any]):
    """A map-style dataset of a function of the index, with attributes such as the class names of torchvision."""

    def __init__(self, item: Callable[[int], Any], count: int = 12, **attributes: Any) -> None:
        self.item, self.count = item, count
        vars(self).update(attributes)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return self.item(index)


def picture(index: int, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(BYTES[index].transpose(1, 2, 0)).convert(mode)


HOLDERS = {
    "arrays": (BYTES, LABELS),
    "tensors": (tensor(BYTES), tensor(LABELS)),
    "a list of labels": (BYTES, LABELS.tolist()),
    "labels (N, 1)": (tensor(BYTES), tensor(LABELS)[:, None]),
    "names": {"images": tensor(BYTES), "labels": LABELS},
    "names of a split": {"x_train": BYTES, "y_train": tensor(LABELS)},
    "channels last": {"x": BYTES.transpose(0, 2, 3, 1), "y": LABELS},
    "TensorDataset": TensorDataset(tensor(BYTES), tensor(LABELS)),
    "arrays by item": Items(lambda n: (BYTES[n], int(LABELS[n]))),
    "Pillow images": Items(lambda n: (picture(n), LABELS[n])),
    "dicts": Items(lambda n: {"label": tensor(LABELS)[n], "image": tensor(BYTES)[n]}),
    "dicts of Pillow images": Items(lambda n: {"img": picture(n), "label": int(LABELS[n]), "file": None}),
    "a list": [(BYTES[n], int(LABELS[n])) for n in range(12)],
    "Subset": Subset(TensorDataset(tensor(BYTES), tensor(LABELS)), list(range(12))),
    "ConcatDataset": ConcatDataset(
        [TensorDataset(tensor(BYTES[part]), tensor(LABELS[part])) for part in (slice(6), slice(6, 12))]
    ),
    "splits": {"train": TensorDataset(tensor(BYTES), tensor(LABELS))},
    "pairs by split": {"train": (BYTES, LABELS)},
    "int64 pixels": (tensor(BYTES).long(), LABELS),
    "read only": (np.broadcast_to(BYTES, BYTES.shape), LABELS),
    "reversed": (BYTES[::-1].copy()[::-1], LABELS),
}


@pytest.mark.promise("U8", 1, 1)
@pytest.mark.parametrize("data", HOLDERS.values(), ids=HOLDERS)
def test_the_content_identifies_the_data(tmp_path: Path, data: Any, promise: Any) -> None:
    np.savez(tmp_path / "set.npz", images=BYTES, labels=LABELS)
    file, memory = open_path(tmp_path / "set.npz")["train"], open_data(data)["train"]
    assert memory.name == "in-memory data"
    for key in ("digest", "spec", "classes", "frequencies", "split", "resize"):
        assert getattr(memory, key) == getattr(file, key), key
    for key, value in example(file, 12).items():
        assert value.equal(example(memory, 12)[key])
    promise.kept(holders=1, equal=1)


@pytest.mark.parametrize(
    ("values", "modality", "shape", "bounds"),
    [
        (torch.rand(6, 1, 8, 8), "image", (1, 8, 8), (0.0, 1.0)),
        (torch.rand(6, 3, 8, 8, dtype=torch.float64, requires_grad=True) * 2 - 1, "image", (3, 8, 8), (-1.0, 1.0)),
        (torch.rand(6, 3, 8, 8).bfloat16(), "image", (3, 8, 8), (0.0, 1.0)),
        (torch.rand(6, 3, 8, 8).half(), "image", (3, 8, 8), (0.0, 1.0)),
        (torch.tensor([[0.0, 1.0], [3.0, 4.0]]), "points", (2,), (-2.0, 6.0)),
        (torch.tensor([[5, 9, 2]]), "array", (3,), None),
        (torch.eye(6).to_sparse(), "array", (6,), (0.0, 1.0)),
        ([[0.5, 0.25, 3.0], [1, 2, 3]], "array", (3,), None),
    ],
)
def test_tensors_are_read_as_what_they_are(
    values: Any, modality: str, shape: tuple[int, ...], bounds: tuple[float, float] | None
) -> None:
    spec = open_data(values)["train"].spec
    assert (spec.modality, spec.shape, spec.range) == (modality, shape, bounds)


def test_nothing_is_copied_that_can_be_shared() -> None:
    values = tensor(BYTES)
    assert open_data(values)["train"].fields["real"].data_ptr() == values.data_ptr()


@pytest.mark.parametrize("key", ["val", "valid", "validation", "test"])
def test_splits_are_read_by_name(key: str) -> None:
    part = Subset(TensorDataset(tensor(BYTES), tensor(LABELS)), [0, 3])
    for data in (
        {"train": (BYTES, LABELS), key: part},
        {key: part, "train": TensorDataset(tensor(BYTES), tensor(LABELS))},
        {f"{key}_x": BYTES[[0, 3]], f"{key}_y": LABELS[[0, 3]], "x_train": BYTES, "y_train": LABELS},
    ):
        found = open_data(data)
        assert list(found) == ["train", key if key == "test" else "val"]
        other = found[list(found)[1]]
        assert other.classes == ("1", "2", "3")
        assert other.fields["label"].tolist() == [2, 2]


# --- class names ------------------------------------------------------------------------------------------------------


class Features(dict[str, Any]):
    """The features of a Hugging Face dataset: columns, of which some have the names of classes."""


def items(**attributes: Any) -> Items:
    return Items(lambda n: (BYTES[n], int(LABELS[n])), **attributes)


NAMES = ["ant", "bee", "cow", "dog"]


@pytest.mark.parametrize(
    ("data", "classes"),
    [
        (items(classes=NAMES), ("bee", "cow", "dog")),
        (Subset(items(classes=NAMES), [0, 1]), ("bee", "dog")),
        (Subset(Subset(items(classes=tuple(NAMES)), [0, 1]), [1]), ("bee",)),
        (items(classes=NAMES[:3]), ("1", "2", "3")),
        (items(classes=["x"] * 4), ("1", "2", "3")),
        (items(classes={"x": 1}), ("1", "2", "3")),
        (items(classes=4), ("1", "2", "3")),
        (
            Items(
                lambda n: {"image": tensor(BYTES)[n], "label": int(LABELS[n])},
                features=Features(image=SimpleNamespace(), label=SimpleNamespace(names=NAMES)),
            ),
            ("bee", "cow", "dog"),
        ),
        (Items(lambda n: (BYTES[n], str(TEXTS[n]))), ("bee", "cow", "dog")),
    ],
)
def test_class_names_are_those_of_the_dataset(data: Any, classes: tuple[str, ...]) -> None:
    assert open_data(data)["train"].classes == classes


@pytest.mark.slow  # importing torchvision.datasets takes seconds
def test_datasets_of_torchvision_are_data(tmp_path: Path) -> None:
    from torchvision.datasets import FakeData, ImageFolder
    from torchvision.transforms import ToTensor

    found = open_data(FakeData(5, (3, 8, 9), 4))["train"]
    assert (found.spec.shape, found.spec.range, found.notes) == ((3, 8, 9), (-1.0, 1.0), ())
    assert open_data(FakeData(5, (3, 8, 9), 4, transform=ToTensor()))["train"].spec.range == (0.0, 1.0)
    for number, name in enumerate(["cat", "dog"]):
        (tmp_path / name).mkdir()
        picture(number).save(tmp_path / name / "0.png")
    folder = open_data(ImageFolder(str(tmp_path)))["train"]
    assert folder.classes == ("cat", "dog")
    assert folder.digest == open_path(tmp_path)["train"].digest


# --- items ------------------------------------------------------------------------------------------------------------


def test_values_that_are_not_read_are_named() -> None:
    data = Items(lambda n: {"image": BYTES[n], "fine_label": n, "caption": "x", "boxes": {"a": 1}, "mask": None})
    train = open_data(data)["train"]
    assert train.classes == ()
    assert train.notes == ("not read: boxes, mask, fine_label, caption; labels are read from the name label",)
    (note,) = open_data(Items(lambda n: (BYTES[n], n % 2, {"a": 1}, "x")))["train"].notes
    assert note.startswith("not read: value 2, value 3;")


def test_a_color_image_among_grey_ones_makes_all_color() -> None:
    train = open_data(Items(lambda n: picture(n, "RGB" if n == 7 else "L")))["train"]
    assert train.spec.shape == (3, 9, 8)
    real = train.fields["real"]
    assert real[3, 0].equal(real[3, 1])
    assert real[7].equal(tensor(BYTES)[7])
    assert open_data(Items(lambda n: picture(n, "L")))["train"].spec.shape == (1, 9, 8)


def test_images_of_several_sizes_need_a_size() -> None:
    data = Items(lambda n: picture(n).resize((8 + n % 2, 9)))
    with pytest.raises(DataError, match=r"item 1 of train: images has the shape \(3, 9, 9\).*give size to crop"):
        open_data(data)
    train = open_data(data, size=6)["train"]
    assert (train.spec.shape, train.resize) == ((3, 6, 6), "centre crop, Lanczos to 6x6")
    assert open_data((BYTES, LABELS), size=6)["train"].resize == train.resize
    assert open_data(Items(picture), size=6)["train"].digest == open_data(BYTES, size=6)["train"].digest


def test_random_transforms_are_noted_and_the_same_in_every_call() -> None:
    data = Items(lambda n: torch.rand(3, 8, 8))
    first, again = open_data(data)["train"], open_data(data)["train"]
    assert first.digest == again.digest
    assert "each was read once" in first.notes[0]
    state = torch.random.get_rng_state()
    open_data(data)
    assert torch.random.get_rng_state().equal(state)


def test_items_that_raise_are_skipped_up_to_a_limit() -> None:
    def item(n: int) -> Any:
        if n in (0, 5):
            raise OSError(f"cannot identify image file {n}")
        return BYTES[n], int(LABELS[n])

    with pytest.raises(DataError, match="train cannot be read at item 0: OSError: cannot identify image file 0"):
        open_data(Items(item))
    with pytest.raises(DataError, match="at item 5"):
        open_data(Items(item), skip_bad=1)
    train = open_data(Items(item), skip_bad=2)["train"]
    assert len(train) == len(train.fields["label"]) == 10
    assert [text.split(":")[0] for text in train.skipped] == ["item 0", "item 5"]


def test_reading_reports_its_progress() -> None:
    calls: list[tuple[int, int]] = []
    open_data(Items(lambda n: BYTES[n % 12], 130), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(64, 130), (128, 130), (130, 130)]


def test_numbers_of_other_types_widen_the_column() -> None:
    values = [np.float32(0.25), np.float64(1 / 3), 1]
    found = open_data(Items(lambda n: np.array([values[n], 0, 0]), 3))["train"].fields["real"]
    assert found[:, 0].tolist() == [0.25, 1 / 3, 1.0]


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.promise("U8", 1, 1)
@pytest.mark.parametrize(
    "given",
    [
        {"x": BYTES / 16},
        {"x": BYTES // 16 % 2},
        {"x": (BYTES - 120.0) / 58},
        {"x": BYTES.astype(np.int32) * 9},
        {"x": RANDOM.random((6, 1, 8, 8)) * 1.1},
        {"x": RANDOM.integers(128, 256, (6, 784))},
        {"x": np.array([[0.0, np.nan]])},
        {"x": np.zeros((0, 3, 8, 8))},
        {"x": np.zeros(9)},
        {"x": np.zeros((2, 2), complex)},
        {"x": BYTES, "y": np.zeros(5, int)},
        {"x": BYTES, "y": np.full(12, 0.5)},
        {"x": BYTES, "y": BYTES},
        {"x_train": BYTES, "x_test": BYTES[:, 1:]},
        {"x_train": BYTES, "x_test": BYTES, "y_train": LABELS},
        {"x": BYTES, "y_test": LABELS},
        {"ids": BYTES, "faces": BYTES},
        {"labels": LABELS},
    ],
)
def test_refusals_are_those_of_files(tmp_path: Path, given: dict[str, np.ndarray], promise: Any) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, **given)
    with pytest.raises(DataError) as file:
        open_path(path)
    message = str(file.value).replace(str(path), "in-memory data")
    holders: list[Any] = [given, {key: tensor(value) for key, value in given.items()}]
    if set(given) == {"x"}:
        holders += [given["x"], tensor(given["x"])]
        holders += [[*given["x"]]] if given["x"].ndim > 1 and len(given["x"]) else []
    if set(given) == {"x", "y"}:
        holders += [(given["x"], given["y"])]
    for data in holders:
        with pytest.raises(DataError) as memory:
            open_data(data)
        assert str(memory.value) == message
        assert len(message.splitlines()) <= 3
    promise.kept(refusals=len(holders), alike=len(holders))


def test_the_advice_for_arrays_that_are_no_images_works() -> None:
    values = BYTES / 16
    with pytest.raises(DataError, match=r"in Python \{'arrays': values\}"):
        open_data(values)
    assert open_data({"arrays": values})["train"].spec.modality == "array"


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([BYTES[0]] * 3)

    def __len__(self) -> int:
        return 3


PAIRS = TensorDataset(tensor(BYTES), tensor(LABELS))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (5, "train of type int cannot be used\npass a tensor, an array"),
        ((number for number in range(3)), "train of type generator cannot be used"),
        ({1, 2}, "train of type set cannot be used"),
        ((BYTES, LABELS, LABELS), "train of type tuple cannot be used"),
        (((BYTES, LABELS), (BYTES, LABELS)), "train of type tuple cannot be used"),
        (Stream(), "train is a Stream, a stream without indices: pass list"),
        (DataLoader(PAIRS), "train is a DataLoader, which draws batches itself: pass its dataset"),
        ({"train": DataLoader(PAIRS)}, "train is a DataLoader"),
        ({"train": PAIRS, "test": 3}, "test of type int cannot be used"),
        ({"test": PAIRS}, "has no training samples, only test: name a split train"),
        ({"train": PAIRS, "unsupervised": PAIRS}, "unsupervised is no split: leave it out, or name it train, test"),
        ({}, "has no array of samples"),
        (Items(lambda n: BYTES[n], 0), "train has no samples"),
        ([], "train has no samples"),
        (Items(lambda n: None), "train has no samples that can be read"),
        (Items(lambda n: {"image": BYTES[n]} if n < 3 else {}), "item 3 of train has no image, which the first"),
        (Items(lambda n: (BYTES[n], n if n < 3 else "x")), "item 3 of train: labels is a text in some items"),
        (Items(lambda n: (BYTES[n], "x" if n < 3 else n)), "item 3 of train: labels is a text in some items"),
        (Items(lambda n: BYTES[n, : 1 + n % 2]), r"item 1 of train: x has the shape \(2, 9, 8\).*in its transform"),
        (Items(lambda n: {"a": BYTES[n], "b": BYTES[n]}), "several arrays of samples: a, b"),
        (torch.zeros(3, 4, device="meta"), "train cannot be read as an array"),
        ((BYTES, [1, [2]] * 6), "labels of train"),
    ],
)
def test_other_objects_are_refused_with_the_fix(data: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        open_data(data)
    assert str(caught.value).startswith("in-memory data")
    assert len(str(caught.value).splitlines()) <= 3


def test_what_is_advised_for_streams_and_loaders_works() -> None:
    assert len(open_data(list(Stream()))["train"]) == 3
    assert len(open_data(DataLoader(PAIRS).dataset)["train"]) == 12


def test_splits_that_were_opened_are_taken_as_they_are() -> None:
    splits = open_data((BYTES, LABELS))
    assert all(isinstance(one, Samples) for one in splits.values())
    assert resolve.load(catalogue(), splits) == splits
    with pytest.raises(
        DataError, match=r"^in-memory data was passed to aigc_zoo.train in Python, and no run stores it"
    ):
        resolve.load(catalogue(), "in-memory data")
    with pytest.raises(ConfigError):
        catalogue().find("dataset", "in-memory data")
