"""Folders and zips of images as samples, and the errors for files that cannot be read."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from opened import open_path, resized
from PIL import Image

from aigc_zoo.data import files, pixels, reading
from aigc_zoo.data.pool import example
from aigc_zoo.data.samples import image_samples, point_samples
from aigc_zoo.errors import DataError


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path


@pytest.fixture
def animals(tmp_path: Path, write_image) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder with splits and classes, and the pixels in it."""
    names = ["train/cat/1.png", "train/cat/2.png", "train/cat/10.png", "train/dog/1.png", "test/dog/7.png"]
    return tmp_path / "animals", {
        name: write_image(f"animals/{name}", seed=number) for number, name in enumerate(names)
    }


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_pixels_splits_and_labels_are_read(animals, tmp_path: Path, kind: str) -> None:
    folder, pixels = animals
    splits = open_path(folder if kind == "folder" else zipped(folder, tmp_path / "animals.zip"))
    assert list(splits) == ["train", "test"]
    train, test = splits["train"], splits["test"]
    assert (train.name, train.split, train.classes, train.resize) == ("animals", "train", ("cat", "dog"), "none")
    assert train.spec.shape == (3, 8, 8)
    assert train.frequencies == (0.75, 0.25)
    assert train.fields["label"].tolist() == [0, 0, 0, 1]
    assert test.fields["label"].tolist() == [1]
    for samples, names in ((train, list(pixels)[:4]), (test, list(pixels)[4:])):
        for row, name in zip(samples.fields["real"], names, strict=True):
            assert np.array_equal(row.numpy(), pixels[name].transpose(2, 0, 1))
    assert example(train)["label"].tolist() == [[1.0, 0.0]]


def test_folder_and_zip_have_equal_digests(animals, tmp_path: Path) -> None:
    digests = [
        {split: samples.digest for split, samples in open_path(path).items()}
        for path in (animals[0], zipped(animals[0], tmp_path / "animals.zip"))
    ]
    assert digests[0] == digests[1]


def test_images_without_folders_have_no_labels(tmp_path: Path, write_image) -> None:
    write_image("flat/a.png")
    write_image("flat/b.png")
    splits = open_path(tmp_path / "flat")
    assert list(splits) == ["train"]
    assert (splits["train"].classes, set(splits["train"].fields)) == ((), {"real"})


def test_grey_images_have_one_channel_and_any_color_image_gives_three(tmp_path: Path, write_image) -> None:
    grey = write_image("data/a.png", mode="L")
    write_image("data/b.png", mode="L")
    assert open_path(tmp_path / "data")["train"].spec.shape == (1, 8, 8)
    write_image("data/c.png", mode="RGB")
    rows = open_path(tmp_path / "data")["train"].fields["real"]
    assert rows.shape == (3, 3, 8, 8)
    assert np.array_equal(rows[0].numpy(), np.stack([grey] * 3))


def test_a_common_size_is_kept(tmp_path: Path, write_image) -> None:
    write_image("data/a.png", size=(12, 5))
    write_image("data/b.png", size=(12, 5))
    assert open_path(tmp_path / "data")["train"].spec.shape == (3, 5, 12)


def test_several_sizes_become_squares_of_64(tmp_path: Path, write_image) -> None:
    write_image("data/a.png", size=(100, 70))
    write_image("data/b.png", size=(30, 90))
    train = open_path(tmp_path / "data")["train"]
    assert train.spec.shape == (3, 64, 64)
    assert train.resize == "centre crop, Lanczos to 64x64"


def test_a_given_size_is_applied_and_recorded(tmp_path: Path, write_image) -> None:
    pixels = write_image("data/a.png", size=(20, 16))
    train = open_path(tmp_path / "data", size=8)["train"]
    expected = Image.fromarray(pixels[:, 2:18]).resize((8, 8), Image.Resampling.LANCZOS)
    assert np.array_equal(train.fields["real"][0].numpy(), np.asarray(expected).transpose(2, 0, 1))
    assert train.resize == "centre crop, Lanczos to 8x8"
    write_image("same/a.png", size=(8, 8))
    assert open_path(tmp_path / "same", size=8)["train"].resize == "none"


def test_the_size_of_rotated_photos_is_that_of_the_upright_image(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 16), "red").save(tmp_path / "data" / "a.jpg")
    Image.new("RGB", (16, 8), "red").save(tmp_path / "data" / "b.jpg", exif=exif)
    train = open_path(tmp_path / "data")["train"]
    assert (train.spec.shape, train.resize) == ((3, 16, 8), "none")


# --- damaged files ----------------------------------------------------------------------------------------------------


def test_a_truncated_png_is_reported(tmp_path: Path, write_image, cache: Path) -> None:
    for name in ("a", "b", "c"):
        write_image(f"data/{name}.png", size=(32, 32))
    path = tmp_path / "data" / "b.png"
    path.write_bytes(path.read_bytes()[:500])
    for source in (tmp_path / "data", zipped(tmp_path / "data", tmp_path / "data.zip")):
        with pytest.raises(
            DataError, match=r"b\.png cannot be read as an image: .*truncated.*\nreplace or remove"
        ) as caught:
            open_path(source)
        assert caught.value.exit_code == 65
        assert len(str(caught.value).splitlines()) <= 3
    assert not list(cache.rglob("*.safetensors"))
    assert not list(cache.rglob("*.tmp"))


def test_many_damaged_files_are_counted_and_some_are_named(tmp_path: Path, write_image) -> None:
    write_image("data/good.png")
    for number in range(7):
        (tmp_path / "data" / f"bad{number}.png").write_bytes(b"not an image")
    (tmp_path / "data" / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    with pytest.raises(DataError) as caught:
        open_path(tmp_path / "data")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{tmp_path / 'data'}: bad0.png cannot be read as an image: cannot identify")
    assert lines[1:] == [
        "7 of its other files cannot be read either: bad1.png, bad2.png, bad3.png, ...",
        "replace or remove the damaged files, or leave them out with --skip-bad 8",
    ]


def test_reading_stops_after_many_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FAILURES", 3)
    monkeypatch.setattr(reading, "CHUNK", 1)
    (tmp_path / "data").mkdir()
    for number in range(40):
        (tmp_path / "data" / f"{number}.png").touch()
    with pytest.raises(DataError, match=r"\d+ or more of its other files cannot be read either"):
        open_path(tmp_path / "data")


def test_a_damaged_member_is_reported(tmp_path: Path, write_image) -> None:
    write_image("data/a.png", size=(32, 32))
    path = zipped(tmp_path / "data", tmp_path / "data.zip")
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.zip: a\.png cannot be read as an image"):
        open_path(path)


def test_no_images_is_an_error_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.md").touch()
    with pytest.raises(DataError, match="data has no images"):
        open_path(tmp_path / "data")
    with pytest.raises(DataError, match="has no images"):
        open_path(zipped(tmp_path / "data", tmp_path / "data.zip"))


# --- the cached pool --------------------------------------------------------------------------------------------------


def test_files_are_decoded_once(animals, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_path(animals[0])
    monkeypatch.setattr(pixels, "decode", None)
    monkeypatch.setattr(pixels, "read_header", None)
    second = open_path(animals[0])
    for split, samples in first.items():
        again = second[split]
        assert again.digest == samples.digest
        assert all(torch.equal(again.fields[name], samples.fields[name]) for name in samples.fields)
        same = {**vars(samples), "fields": 0, "decode": 0, "quantize": 0}
        assert {**vars(again), "fields": 0, "decode": 0, "quantize": 0} == same
    assert [path.name.rsplit("-", 2)[0] for path in cache.rglob("*.safetensors")] == ["animals"]


def test_a_changed_file_is_decoded_again_and_the_old_pool_is_deleted(animals, write_image, cache: Path) -> None:
    before = open_path(animals[0])
    other = open_path(animals[0], size=4)
    write_image("animals/train/cat/1.png", seed=99)
    after = open_path(animals[0])
    assert after["train"].digest != before["train"].digest
    assert after["test"].digest == before["test"].digest
    assert len(list(cache.rglob("*.safetensors"))) == 2  # one for each size
    assert other["train"].spec.shape == (3, 4, 4)
    # A memory-mapped pool stays readable after its file is deleted.
    assert int(before["train"].fields["real"].sum()) > 0


def test_a_replaced_archive_is_decoded_again(animals, tmp_path: Path, write_image) -> None:
    path = zipped(animals[0], tmp_path / "animals.zip")
    before = open_path(path)["train"].digest
    about = path.stat()
    write_image("animals/train/cat/1.png", seed=99)
    zipped(animals[0], path)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    assert open_path(path)["train"].digest != before


def test_names_need_not_be_utf8(tmp_path: Path, write_image) -> None:
    write_image("data/a/1.png")
    os.rename(tmp_path / "data" / "a", os.fsencode(tmp_path / "data") + b"/\xff")
    os.rename(tmp_path / "data", os.fsencode(tmp_path) + b"/\xfe")
    folder = tmp_path / os.fsdecode(b"\xfe")
    (folder / "b").mkdir()
    write_image("b.png")
    (tmp_path / "b.png").rename(folder / "b" / "1.png")
    assert open_path(folder)["train"].classes == open_path(folder)["train"].classes == ("b", "?")


def test_progress_counts_up_to_the_end(animals) -> None:
    reported: list[tuple[int, int]] = []
    open_path(animals[0], progress=lambda done, total: reported.append((done, total)))
    assert reported == sorted(reported)
    assert reported[-1] == (5, 5)
    again: list[tuple[int, int]] = []
    open_path(animals[0], progress=lambda done, total: again.append((done, total)))
    assert again == []


def test_an_interruption_leaves_nothing_half_written(animals, cache: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > 2:  # during decoding
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_path(animals[0], progress=stop)
    assert [path.suffix for path in (cache / "pools").iterdir()] == [".lock"]
    assert len(open_path(animals[0])["train"]) == 4


# --- images in memory -------------------------------------------------------------------------------------------------


def test_images_in_memory_are_resized_like_files(tmp_path: Path, write_image) -> None:
    pixels = write_image("data/a.png", size=(20, 16))
    labels = torch.tensor([0])
    in_memory = image_samples(
        "in-memory", "train", torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None], labels, extractor="eye"
    )
    small, read = resized(in_memory, 8), open_path(tmp_path / "data", size=8)["train"]
    assert torch.equal(small.fields["real"], read.fields["real"])
    assert (small.spec.shape, small.spec.classes, small.resize) == ((3, 8, 8), 1, read.resize)
    assert small.extractor == ""  # it may only accept images of the former size
    assert small.digest != in_memory.digest
    assert resized(small, 8) is small


def test_points_in_memory_cannot_be_resized() -> None:
    with pytest.raises(DataError, match="--size 8: dots: points have no size"):
        resized(point_samples("dots", "train", torch.zeros(3, 2)), 8)


def test_threads_do_not_change_the_pool(
    tmp_path: Path, write_image, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    for number in range(200):
        write_image(f"data/{number}.png", size=(4, 4), seed=number)
    digests = set()
    for threads in (1, 7):
        monkeypatch.setattr(os, "cpu_count", lambda threads=threads: threads)
        monkeypatch.setenv("ZOO_CACHE", str(cache / str(threads)))
        digests.add(open_path(tmp_path / "data")["train"].digest)
    assert len(digests) == 1
    assert hashlib.sha256().digest_size * 2 == len(digests.pop())
