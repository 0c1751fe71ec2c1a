"""Labels in tables beside the images: dataset.json, metadata.csv, metadata.jsonl, labels.csv."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from opened import open_path, verify

from aigc_zoo.cli import main
from aigc_zoo.game import Samples

from .test_images import zipped

SHARDS = ["00000/img00000000.png", "00000/img00000001.png", "00001/img00001000.png", "00001/img00001001.png"]
PLAIN = ["1.png", "2.png", "3.png", "4.png"]


def stylegan(labels: Any) -> str:
    return json.dumps({"labels": labels})


def lines(*rows: dict[str, Any]) -> str:
    return "\n".join(map(json.dumps, rows))


@pytest.fixture(params=["folder", "zip"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, write_image: Any) -> Any:
    """A function that writes images and other files and opens them as a folder, or as a zip."""

    def write(images: list[str], **tables: str) -> dict[str, Samples]:
        for number, name in enumerate(images):
            write_image(f"data/{name}", seed=number)
        for name, text in tables.items():
            (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / name).write_text(text, encoding="utf-8")
        folder = tmp_path / "data"
        return open_path(folder if request.param == "folder" else zipped(folder, tmp_path / "data.zip"))

    return write


def named(samples: Samples) -> list[str]:
    """The class name of each sample in order."""
    return [samples.classes[label] for label in samples.fields["label"].tolist()]


STYLEGAN = [
    ([[name, number % 2] for number, name in enumerate(SHARDS)], ["0", "1", "0", "1"]),
    ({name: f"c{number}" for number, name in enumerate(SHARDS)}, ["c0", "c1", "c2", "c3"]),
    ([[name, [0, 0, 1] if number else [1, 0, 0]] for number, name in enumerate(SHARDS)], ["0", "2", "2", "2"]),
    ([[name, [number // 2]] for number, name in enumerate(SHARDS)], ["0", "0", "1", "1"]),
    ([[name.replace("/", "\\"), float(number > 1)] for number, name in enumerate(SHARDS)], ["0", "0", "1", "1"]),
]


@pytest.mark.parametrize(("labels", "classes"), STYLEGAN)
@pytest.mark.promise("D1", 1, 1)
def test_labels_of_stylegan_are_read(opened: Any, labels: Any, classes: list[str], promise: Any) -> None:
    train = opened(SHARDS, **{"dataset.json": stylegan(labels)})["train"]
    assert named(train) == classes
    (note,) = train.notes
    count = len(set(classes))
    assert note == f"data: labels are read from dataset.json: {count} classes"
    promise.kept(read=1)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (None, "its labels are null"),
        ([[name, [0.1, 0.7]] for name in SHARDS], "it has up to 2 values for each file"),
        ([[name, [1, 1, 0]] for name in SHARDS], "it has up to 3 values for each file"),
        ([[name, 0.5] for name in SHARDS], "its labels are numbers such as 0.5, not classes"),
        ([[name, {"a": 1}] for name in SHARDS], "its labels are objects"),
    ],
)
@pytest.mark.promise("D1", 1, 1)
def test_shards_are_no_classes_and_one_line_says_why(opened: Any, labels: Any, reason: str, promise: Any) -> None:
    train = opened(SHARDS, **{"dataset.json": stylegan(labels)})["train"]
    assert train.classes == ()
    first, second = train.notes
    assert first.startswith(f"data: labels are not read from dataset.json: {reason}")
    assert second.startswith("data: no labels: the folders 00000, 00001 are shards")
    promise.kept(told=1)


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (SHARDS, ()),
        (["00000/00000.png", "00000/00999.png", "01000/01000.png"], ()),
        (["000/1.png", "001/2.png"], ("000", "001")),
        (["00000/00000_00029.png", "00001/00000_00029.png"], ("00000", "00001")),
        (["0000045/001.png", "0000099/001.png"], ("0000045", "0000099")),
    ],
)
@pytest.mark.promise("D1", 1, 1)
def test_numbered_folders_are_shards_where_the_numbers_of_files_continue(
    opened: Any, names: list[str], classes: tuple[str, ...], promise: Any
) -> None:
    assert opened(names)["train"].classes == classes
    promise.kept(shards=1)


def test_null_labels_leave_class_folders_as_they_are(opened: Any) -> None:
    assert opened(["cat/1.png", "dog/2.png"], **{"dataset.json": stylegan(None)})["train"].classes == ("cat", "dog")


TABLES = [
    ("metadata.csv", "file_name,label\n1.png,cat\n2.png,dog\n3.png,cat\n4.png,dog\n"),
    ("metadata.csv", 'file_name,text,Class\n1.png,"a, b",cat\n2.png,x,dog\n3.png,y,cat\n4.png,z,dog\n'),
    ("metadata.tsv", "category\tfile_name\ncat\t1.png\ndog\t2.png\ncat\t3.png\ndog\t4.png\n"),
    (
        "metadata.jsonl",
        lines(*({"file_name": f"{n}.png", "text": "a", "label": "dog" if n % 2 == 0 else "cat"} for n in (1, 2, 3, 4))),
    ),
    ("labels.csv", "id,breed\n1,cat\n2,dog\n3,cat\n4,dog\n"),
    ("Labels.CSV", "\ufefffilename;label\r\n./1.png;cat\r\nimages/2.png;dog\r\n/home/x/3.png;cat\r\n4.png;dog\r\n"),
    ("labels.csv", "1.png,cat\n2.png,dog\n3.png,cat\n4.png,dog\n"),
    ("labels.csv", ",label,file\n1,cat,1.png\n4,dog,2.png\n3,cat,3.png\n2,dog,4.png\n"),
    ("metadata.csv", "Unnamed: 0,file_name,class\n4,1.png,cat\n3,2.png,dog\n2,3.png,cat\n1,4.png,dog\n"),
    ("trainLabels.csv", "id,label\n1,cat\n2,dog\n3,cat\n4,dog\n"),
]


@pytest.mark.parametrize(("name", "text"), TABLES)
@pytest.mark.promise("D1", 1, 1)
def test_tables_of_labels_are_read(opened: Any, name: str, text: str, promise: Any) -> None:
    train = opened(PLAIN, **{name: text})["train"]
    assert named(train) == ["cat", "dog", "cat", "dog"]
    assert "labels are read from" in train.notes[0]
    assert name in train.notes[0]
    promise.kept(read=1)


def test_class_numbers_are_not_taken_for_names_of_images(opened: Any) -> None:
    table = "label,id\n1,1\n2,2\n1,3\n2,4\n"
    assert named(opened(PLAIN, **{"labels.csv": table})["train"]) == ["1", "2", "1", "2"]


def test_a_table_counts_before_folders_and_numbers_keep_their_names(opened: Any) -> None:
    table = "file,label\n" + "".join(f"{folder}/{n}.png,{n}.0\n" for folder in "ab" for n in (2, 10))
    train = opened([f"{folder}/{n}.png" for folder in "ab" for n in (2, 10)], **{"labels.csv": table})["train"]
    assert train.classes == ("2", "10")
    assert named(train) == ["2", "10", "2", "10"]


def test_each_split_has_its_own_table_at_any_depth(opened: Any) -> None:
    tables = {f"x/{split}/metadata.csv": f"file_name,label\n1.png,{split[0]}\n2.png,z\n" for split in ("train", "test")}
    splits = opened([f"x/{split}/{n}.png" for split in ("train", "test") for n in (1, 2)], **tables)
    assert named(splits["train"]) == ["t", "z"]
    assert named(splits["test"]) == ["t", "z"]
    assert splits["test"].classes == ("t", "z")


def test_one_table_names_the_images_of_all_splits(opened: Any) -> None:
    table = "path,label\ntrain/1.png,a\ntrain/2.png,b\nval/1.png,b\n"
    splits = opened(["train/1.png", "train/2.png", "val/1.png"], **{"labels.csv": table})
    assert (named(splits["train"]), named(splits["val"])) == (["a", "b"], ["b"])


def test_a_split_without_labels_leaves_those_of_training(opened: Any) -> None:
    splits = opened(["train/a1.png", "train/a2.png", "test/b1.png"], **{"labels.csv": "id,breed\na1,cat\na2,dog\n"})
    assert named(splits["train"]) == ["cat", "dog"]
    assert splits["test"].classes == ()
    assert "data: the split test has no labels: 1 of its 1 files have none" in splits["train"].notes


@pytest.mark.parametrize(
    ("name", "text", "note"),
    [
        (
            "labels.csv",
            "id,breed\n1,cat\n2,dog\n3,cat\n",
            "no labels: the tables have labels of 3 of 4 training files",
        ),
        ("metadata.csv", "file_name,text\n1.png,hello\n", "of its columns (file_name, text) none is called label"),
        ("metadata.csv", "file_name,label\nx.png,a\n", "none of its columns names a file here"),
        ("labels.csv", "id,age\n1,0.5\n2,0.7\n3,1.5\n4,3.0\n", "its labels are numbers such as 0.5, not classes"),
        ("metadata.jsonl", "{no such thing", "it is damaged"),
        ("dataset.json", "[1, 2]", 'it has no list "labels"'),
        ("dataset.json", "[" * 100_000, "it is damaged"),
        ("labels.csv", "", "none of its columns names a file here"),
    ],
)
@pytest.mark.promise("D1", 1, 1)
def test_one_line_says_why_labels_are_not_read(opened: Any, name: str, text: str, note: str, promise: Any) -> None:
    train = opened(PLAIN, **{name: text})["train"]
    assert train.classes == ()
    assert any(note in line and "\n" not in line for line in train.notes)
    promise.kept(told=1)


def test_names_that_mean_several_images_are_told(opened: Any) -> None:
    table = "id,label\n1,a\na/2,b\nb/2,c\n"
    train = opened(["a/1.png", "b/1.png", "a/2.png", "b/2.png"], **{"labels.csv": table})["train"]
    assert "1 of its rows name no file here, or several: 1" in train.notes[0]
    assert train.notes[1].startswith("data: no labels: the tables have labels of 2 of 4")


def test_training_on_classes_is_refused_with_the_reason(
    tmp_path: Path, write_image: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in SHARDS:
        write_image(f"data/{name}", size=(16, 16))
    (tmp_path / "data" / "dataset.json").write_text(stylegan(None))
    words = ["train", "dcgan", "--data", str(tmp_path / "data"), "--conditional", "--out", str(tmp_path / "run")]
    assert main(words) == 3
    err = capsys.readouterr().err
    assert "note: data: labels are not read from dataset.json: its labels are null" in err
    assert "leave out --conditional" in err


def test_a_column_of_splits_is_read(opened: Any) -> None:
    table = "filepaths,labels,data set\n" + "".join(
        f"birds/{n}.png,{name},{split}\n"
        for n, name, split in ((1, "owl", "train"), (2, "tit", "train"), (3, "owl", "valid"), (4, "tit", "test"))
    )
    splits = opened([f"birds/{n}.png" for n in (1, 2, 3, 4)], **{"labels.csv": table})
    assert {split: named(samples) for split, samples in splits.items()} == {
        "train": ["owl", "tit"],
        "val": ["owl"],
        "test": ["tit"],
    }


def test_an_unclear_split_of_a_table_is_refused(
    tmp_path: Path, write_image: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in PLAIN[:2]:
        write_image(f"data/{name}")
    (tmp_path / "data" / "labels.csv").write_text("id,label,split\n1,a,train\n2,b,fold3\n")
    assert main(["data", "prepare", str(tmp_path / "data")]) == 65
    assert "2.png is in no split" in capsys.readouterr().err.replace("is in the split 'fold3'", "is in no split")


def test_a_changed_table_is_read_again_and_verified(tmp_path: Path, write_image: Any) -> None:
    for name in PLAIN:
        write_image(f"data/{name}")
    table = tmp_path / "data" / "labels.csv"
    table.write_text("id,label\n1,a\n2,b\n3,a\n4,b\n")
    status = table.stat()
    assert named(open_path(tmp_path / "data")["train"]) == ["a", "b", "a", "b"]
    assert not verify(tmp_path / "data")
    table.write_text("id,label\n1,b\n2,a\n3,a\n4,b\n")
    os.utime(table, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert verify(tmp_path / "data").changed == ["labels.csv"]
    assert named(open_path(tmp_path / "data")["train"]) == ["b", "a", "a", "b"]
    assert not verify(tmp_path / "data")


@pytest.mark.parametrize("names", [["cats/1.png"] * 1, ["x/cats/1.png"], ["train/cats/1.png", "test/cats/2.png"]])
def test_a_folder_of_one_class_trains_conditionally(tmp_path: Path, write_image: Any, names: list[str]) -> None:
    for number, name in enumerate([*names, names[0].replace("1.png", "3.png")]):
        write_image(f"data/{name}", size=(16, 16), seed=number)
    words = ["train", "dcgan", "--data", str(tmp_path / "data"), "--conditional", "--steps", "1", "--batch-size", "4"]
    words += ["--generator.width", "4", "--discriminator.width", "4", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["data"]["classes"] == ["cats"]
    out = str(tmp_path / "x.png")
    assert main(["sample", str(tmp_path / "run"), "--class", "cats", "-n", "4", "--out", out]) == 0
