"""Folders and zips with several entries in each sample, in every layout, and what is refused."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from opened import zoo_kinds
from PIL import Image

from aigc_zoo.data.entries import Wanted, open_entries
from aigc_zoo.data.pool import Pool
from aigc_zoo.errors import DataError
from aigc_zoo.game import Samples

PAIRS = Wanted(("source", "real"))
DOMAINS = Wanted(("source", "real"), paired=False)


def write(folder: Path, files: Mapping[str, int], width: int = 8) -> Path:
    """Grey images of one level each."""
    for name, level in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, width), level, np.uint8)).save(path)
    return folder


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, f"{folder.name}/{file.relative_to(folder)}")
    return path


def levels(samples: Samples) -> list[tuple[int, int]]:
    """The grey level of source and real image of each sample."""
    return [
        (int(source.flatten()[0]), int(real.flatten()[0]))
        for source, real in zip(samples.fields["source"], samples.fields["real"], strict=True)
    ]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("source", "real"),
    [("source", "real"), ("Source", "REAL"), ("A", "B"), ("a", "b")],
)
def test_pairs_are_found_by_name(tmp_path: Path, source: str, real: str, packed: bool) -> None:
    files = {f"{source}/{n}.png": n for n in (2, 10, 9)} | {f"{real}/{n}.bmp": 100 + n for n in (9, 2, 10)}
    data = write(tmp_path / "data", files)
    found = open_entries(zipped(data) if packed else data, zoo_kinds(), PAIRS)
    assert list(found) == ["train"]
    assert levels(found["train"]) == [(2, 102), (9, 109), (10, 110)]
    assert found["train"].spec.entries["source"].shape == (1, 8, 8)
    assert found["train"].groups[0] == ("real", "source")


@pytest.mark.parametrize(
    "files",
    [
        {"train/source/1.png": 1, "train/real/1.png": 2, "test/source/2.png": 3, "test/real/2.png": 4},
        {"source/train/1.png": 1, "real/train/1.png": 2, "source/test/2.png": 3, "real/test/2.png": 4},
        {"trainA/1.png": 1, "trainB/1.png": 2, "testA/2.png": 3, "testB/2.png": 4},
        {"set/train_A/1.png": 1, "set/train_B/1.png": 2, "set/test_A/2.png": 3, "set/test_B/2.png": 4},
    ],
)
def test_every_split_has_its_entries(tmp_path: Path, files: dict[str, int]) -> None:
    found = open_entries(write(tmp_path / "data", files), zoo_kinds(), PAIRS)
    assert {split: levels(samples) for split, samples in found.items()} == {"train": [(1, 2)], "test": [(3, 4)]}


def test_folders_are_named_on_the_command_line(tmp_path: Path) -> None:
    data = write(tmp_path / "data", {"edges/1.png": 1, "photos/1.png": 2})
    found = open_entries(data, zoo_kinds(), Wanted(("source", "real"), True, {"source": "edges", "real": "photos"}))
    assert levels(found["train"]) == [(1, 2)]


@pytest.mark.parametrize(("folder", "expected"), [("AB", (10, 20)), ("BA", (20, 10)), ("train/ab", (10, 20))])
def test_both_sides_of_a_file_are_entries(tmp_path: Path, folder: str, expected: tuple[int, int]) -> None:
    pixels = np.concatenate([np.full((8, 8), 10, np.uint8), np.full((8, 8), 20, np.uint8)], 1)
    (tmp_path / "data" / folder).mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "data" / folder / "1.png")
    found = open_entries(tmp_path / "data", zoo_kinds(), PAIRS)["train"]
    assert (found.spec.shape, levels(found)) == ((1, 8, 8), [expected])
    small = open_entries(tmp_path / "data", zoo_kinds(size=4), PAIRS)["train"]
    assert (small.spec.shape, small.spec.entries["source"].shape) == ((1, 4, 4), (1, 4, 4))


def test_an_odd_width_cannot_be_halved(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its width of 9 pixels does not divide into 2 equal parts"):
        open_entries(write(tmp_path / "data", {"AB/1.png": 1}, width=9), zoo_kinds(), PAIRS)


def test_domains_have_no_pairs_and_may_differ_in_number(tmp_path: Path) -> None:
    data = write(tmp_path / "data", {f"A/{n}.png": n for n in range(5)} | {f"B/x{n}.png": 100 + n for n in range(3)})
    train = open_entries(data, zoo_kinds(), DOMAINS)["train"]
    assert (len(train.fields["source"]), len(train.fields["real"])) == (5, 3)
    batch = Pool(train, "cpu").batch(0, 0, 15)
    assert {round(float(v)) for v in (batch["source"].flatten(1)[:, 0] + 1) * 127.5} == set(range(5))
    assert torch.equal(batch["real"], Pool(train, "cpu").batch(0, 0, 15)["real"])


def test_files_without_a_counterpart_are_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "data", {"source/1.png": 1, "source/2.png": 1, "source/3.png": 1, "real/1.png": 2})
    with pytest.raises(DataError, match="data: 2 and 1 more is in source but not in real, and this recipe needs pairs"):
        open_entries(data, zoo_kinds(), PAIRS)
    domains = write(tmp_path / "unpaired", {"A/horse.png": 1, "B/zebra.png": 2})
    with pytest.raises(DataError, match="choose a recipe for unpaired data"):
        open_entries(domains, zoo_kinds(), PAIRS)


@pytest.mark.parametrize("files", [{"cats/1.png": 1, "dogs/1.png": 2}, {"1.png": 1}, {"source/1.png": 1}])
def test_missing_folders_are_named_with_the_fix(tmp_path: Path, files: dict[str, int]) -> None:
    with pytest.raises(DataError) as caught:
        open_entries(write(tmp_path / "data", files), zoo_kinds(), PAIRS)
    text = str(caught.value)
    assert "has no folders source/ and real/, A/ and B/, or AB/ with both side by side" in text
    assert "--entry source=FOLDER --entry real=FOLDER" in text
    assert len(text.splitlines()) <= 3


def test_a_split_that_lacks_an_entry_is_refused(tmp_path: Path) -> None:
    files = {"train/source/1.png": 1, "train/real/1.png": 2, "test/real/1.png": 4}
    with pytest.raises(DataError):
        open_entries(write(tmp_path / "data", files), zoo_kinds(), PAIRS)


def test_pairs_of_sound_are_read_as_images_are(tmp_path: Path) -> None:
    from aigc_zoo_plugins.modalities import wav

    for entry, level in (("source", 1_000), ("real", 2_000)):
        (tmp_path / "data" / entry).mkdir(parents=True)
        (tmp_path / "data" / entry / "1.wav").write_bytes(wav.written(np.full(64, level, np.int16), 8_000))
    train = open_entries(tmp_path / "data", zoo_kinds(), PAIRS)["train"]
    assert (train.spec.modality, train.spec.entries["source"].modality) == ("audio", "audio")
    assert levels(train) == [(1_000, 2_000)]
