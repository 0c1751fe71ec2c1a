"""Splits and classes by the names of the folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from aigc_zoo.data import splits
from aigc_zoo.errors import DataError

HERE = Path("data")


@pytest.mark.parametrize(
    ("names", "counts", "classes"),
    [
        (["a.png", "b.png"], {"train": 2}, ()),
        (["cat/a.png", "dog/b.png", "dog/deep/c.png"], {"train": 3}, ("cat", "dog")),
        (["around/cat/a.png", "around/dog/b.png"], {"train": 2}, ("cat", "dog")),
        # one class, and folders that are none
        (["only/a.png", "only/b.png"], {"train": 2}, ("only",)),
        (["around/cats/1.png", "around/cats/2.png"], {"train": 2}, ("cats",)),
        (["x/images/1.png", "x/images/2.png"], {"train": 2}, ()),
        (["Data/1.png"], {"train": 1}, ()),
        (["00000/img00000000.png"], {"train": 1}, ()),
        (["train/cat/1.png", "train/dog/1.png", "test/1.png"], {"train": 2, "test": 1}, ("cat", "dog")),
        (["a.png", "cat/b.png"], {"train": 2}, ()),
        (["train/a.png", "test/b.png"], {"train": 1, "test": 1}, ()),
        (["test/1/a.png", "train/1/a.png", "train/2/b.png"], {"train": 2, "test": 1}, ("1", "2")),
        (["set/Train/9/a.png", "set/Valid/10/a.png"], {"train": 1, "val": 1}, ("9", "10")),
        (["train/cat/a.png"], {"train": 1}, ("cat",)),
        (["test/cat/a.png", "test/dog/a.png"], {"train": 2}, ("cat", "dog")),
        (["train/cat/a.png", "train/b.png"], {"train": 2}, ()),
        (["training/a/1.png", "testing/b/1.png"], {"train": 1, "test": 1}, ("a", "b")),
        # folders around everything, one after another
        (["a/b/c/d/cat/1.png", "a/b/c/d/dog/1.png"], {"train": 2}, ("cat", "dog")),
        (["a/b/c/TRAIN/1/1.png", "a/b/c/Test/1/1.png"], {"train": 1, "test": 1}, ("1",)),
        (["x/training/training/a/1.png", "x/test/test/a/1.png"], {"train": 1, "test": 1}, ("a",)),
        (["x/train/images/a/1.png", "x/val/images/a/1.png"], {"train": 1, "val": 1}, ("a",)),
        (["train/images/1.png", "test/2.png"], {"train": 1, "test": 1}, ()),
        # other words beside the split
        (["training_set/a/1.png", "test_set/a/1.png"], {"train": 1, "test": 1}, ("a",)),
        (["train_images/1.png", "Validation Images/1.png"], {"train": 1, "val": 1}, ()),
        (["set-train/1.png", "set-test/1.png"], {"train": 1, "test": 1}, ()),
        (["trainset/1.png", "TestSet/1.png"], {"train": 1, "test": 1}, ()),
        (["train2017/1.png", "val2017/1.png"], {"train": 1, "val": 1}, ()),
        (["seg_train/seg_train/sea/1.png", "seg_test/seg_test/sea/1.png"], {"train": 1, "test": 1}, ("sea",)),
        (["DIV2K_train_HR/1.png", "DIV2K_valid_HR/1.png"], {"train": 1, "val": 1}, ()),
        # two domains
        (["trainA/1.png", "trainB/1.png", "testA/1.png", "testB/1.png"], {"train": 2, "test": 2}, ("A", "B")),
        (["h2z/TRAINA/1.png", "h2z/TRAINB/1.png", "h2z/TESTA/1.png"], {"train": 2, "test": 1}, ("A", "B")),
        (["traina/1.png", "trainb/1.png", "vala/1.png"], {"train": 2, "val": 1}, ("A", "B")),
        (["A/1.png", "B/1.png"], {"train": 2}, ("A", "B")),
        # classes first
        (["cat/train/1.png", "cat/test/1.png", "dog/train/1.png"], {"train": 2, "test": 1}, ("cat", "dog")),
        # backslashes
        (["set\\train\\a\\1.png", "set\\test\\b\\1.png"], {"train": 1, "test": 1}, ("a", "b")),
        (["train\\1.png", "val/1.png"], {"train": 1, "val": 1}, ()),
        # words that only begin like that of a split, and classes with the word train
        (["trained/1.png", "valley/1.png", "testament/1.png"], {"train": 3}, ("testament", "trained", "valley")),
        (["bullet train/1.png", "bus/1.png"], {"train": 2}, ("bullet train", "bus")),
    ],
)
def test_folders_are_splits_and_classes(names: list[str], counts: dict[str, int], classes: tuple[str, ...]) -> None:
    found = splits.arrange(HERE, names)
    assert {split: len(members) for split, members in found.members.items()} == counts
    assert next(iter(found.members)) == "train"
    assert found.classes == classes
    assert ("train" in found.labels) == bool(classes)
    for split, labels in found.labels.items():
        assert [classes[label] for label in labels] == [_class(name, classes) for name in found.members[split]]


def _class(name: str, classes: tuple[str, ...]) -> str:
    parts = name.replace("\\", "/").split("/")[:-1]
    return next(c for c in classes for part in parts if c == part or (len(c) == 1 and part.upper().endswith(c)))


def test_hostile_class_names_are_printable() -> None:
    names = ["a\x1b[2Jb/1.png", "\udcff/1.png", "<script>/1.png", "x" * 999 + "/1.png"]
    assert splits.arrange(HERE, names).classes == ("<script>", "a?[2Jb", "x" * 120, "?")


def test_images_outside_the_splits_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"data has a folder train, but 2 files are in none of .*: more/b\.png, \.\.\.\n"
    ):
        splits.arrange(HERE, ["train/a.png", "more/b.png", "c.png"])


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (["train/a/1.png", "test1/1.png"], ["train", "test1"]),
        (["train_images/1.png", "train_masks/1.png"], ["train_images", "train_masks"]),
        (["x/train/1.png", "x/test/1.png", "x/extra/1.png"], ["train", "test", "extra"]),
        (["train/1.png", "holdout/1.png"], ["train", "holdout"]),
        (["photos/1.png", "photos_test/1.png"], ["photos", "photos_test"]),
        (["my_train_v2/1.png", "my_test_v3/1.png"], ["my_train_v2", "my_test_v3"]),
        (["images/1.png", "test/1.png"], ["images", "test"]),
        (["a/trainval/1.png", "a/test/1.png"], ["trainval", "test"]),
        (["cat/final_test/1.png", "cat/rest/1.png", "dog/rest/1.png"], ["final_test", "rest"]),
        (["cat/train/1.png", "dog/1.png"], ["train"]),
        (["train/train/1.png", "train/val/1.png", "test/2.png"], ["val"]),
    ],
)
def test_what_looks_like_a_split_but_is_not_clear_is_refused(names: list[str], folders: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        splits.arrange(HERE, names)
    text = str(caught.value)
    assert len(text.splitlines()) <= 3
    assert all(folder in text for folder in folders)
    assert "rename" in text


def test_many_folders_are_not_all_listed() -> None:
    names = ["train/1.png", *(f"{number}/1.png" for number in range(99))]
    with pytest.raises(DataError, match=r"\nbeside each other are 0, 1, 2, 3, 4, 5, \.\.\.\n"):
        splits.arrange(HERE, names)


def test_one_image_outside_the_classes_is_named() -> None:
    found = splits.arrange(HERE, ["cat/1.png", "dog/1.png", "x\x1b.png"])
    assert found.notes == (
        "no labels: 1 of 3 files is outside the class folders (x?.png); remove it or move it into a class folder",
    )
    assert splits.arrange(HERE, ["1.png", "2.png"]).notes == ()


def test_splits_without_a_training_split_are_refused() -> None:
    with pytest.raises(DataError, match="data has test and val but no folder train"):
        splits.arrange(HERE, ["test/a.png", "val/b.png"])


def test_no_images_is_an_error_with_the_fix() -> None:
    with pytest.raises(DataError, match=r"data has no images \(\.png, .*\)\nuse --data with a folder"):
        splits.arrange(HERE, [], suffixes=(".png", ".jpg"), units="images")
