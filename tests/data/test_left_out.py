"""Files that are not read: those of runs, and the sentences that name what was left out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from opened import open_path

from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.data import left_out
from aigc_zoo.data.left_out import LeftOut
from aigc_zoo.errors import DataError

from .test_images import zipped


@pytest.fixture
def run(tmp_path: Path, write_image: Any) -> Any:
    """A function that writes a run directory below the data, with images, as training and sampling do."""

    def write(name: str) -> None:
        with RunDirectory(tmp_path / name) as directory:
            directory.begin({"recipe": "zoo/gan"})
        for image in ("samples/000000006.png", "nearest.png", "sample-seed0.png", "generator-best-seed1.png"):
            write_image(f"{name}/{image}", size=(90, 30))

    return write


def read(path: Path, as_zip: bool) -> Any:
    return open_path(zipped(path, path.parent / "zipped.zip") if as_zip else path)["train"]


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize(
    ("runs", "named"),
    [
        (["data/run"], "1 run directory, whose samples are not data: run"),
        (["data/run", "data/run-1"], "2 run directories, whose samples are not data: run, run-1"),
        (["data/a/run", "data/bench/cells/x"], "2 run directories, whose samples are not data: a/run, bench/cells/x"),
        (["data"], "entries that the run in this directory wrote: "),
    ],
)
def test_run_directories_are_not_data(
    tmp_path: Path, write_image: Any, run: Any, runs: list[str], named: str, as_zip: bool
) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        write_image(f"data/{name}")
    before = read(tmp_path / "data", as_zip)
    assert before.notes == ()
    for name in runs:
        run(name)
    after = read(tmp_path / "data", as_zip)
    assert (after.digest, after.classes) == (before.digest, ("a", "b"))
    (note,) = (note for note in after.notes if "run" in note)
    assert note.endswith(f": left out {named}") if runs != ["data"] else named in note


def test_a_run_is_found_by_its_files_alone() -> None:
    assert left_out.is_run(["card.json", "checkpoints", "samples"])
    assert left_out.is_run(["card.json", "log.jsonl"])
    assert left_out.is_run(["log.jsonl", "checkpoints"])  # the card was deleted
    for names in (["card.json"], ["samples", "checkpoints"], ["card.json.png", "log.jsonl"], []):
        assert not left_out.is_run(names)


def test_a_link_to_a_run_is_not_data(tmp_path: Path, write_image: Any, run: Any) -> None:
    write_image("data/a.png")
    run("elsewhere/run")
    (tmp_path / "data" / "last").symlink_to(tmp_path / "elsewhere" / "run")
    samples = open_path(tmp_path / "data")["train"]
    assert len(samples) == 1
    assert samples.notes == ("data: left out 1 run directory, whose samples are not data: last",)


def test_a_folder_with_nothing_but_a_run_is_refused_with_the_reason(tmp_path: Path, run: Any) -> None:
    run("data/run")
    with pytest.raises(DataError, match=r"has no images .*\nleft out 1 run directory, .*: run\nuse --data"):
        open_path(tmp_path / "data")


def test_classes_called_samples_are_data(tmp_path: Path, write_image: Any) -> None:
    for name in ("samples/1.png", "checkpoints/2.png", "nearest.png"):
        write_image(f"data/{name}")
    assert len(open_path(tmp_path / "data")["train"]) == 3


def test_sentences_are_short_and_printable() -> None:
    left = LeftOut()
    for name in ("10", "9", "x\x1b[2J\n", "y", "9"):
        left.add(left_out.RUN, name)
    assert left.notes() == ("left out 4 run directories, whose samples are not data: 9, 10, x?[2J?, ...",)


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize(
    ("more", "notes"),
    [
        (["a/x.heic"], ["left out 1 file without the suffix of an image: a/x.heic"]),
        (
            ["a/1.avif", "a/2.AVIF", "b/labels.txt", "LICENSE"],
            [
                "left out 4 files without the suffix of an image (2 .avif, 1 without a suffix, 1 .txt): "
                "LICENSE, a/1.avif, a/2.AVIF, ..."
            ],
        ),
        (["a/.1.png", ".DS_Store", "a/._2.png", "Thumbs.db", ".git/3.png"], ["left out 1 hidden file: a/.1.png"]),
        (["metadata.parquet"], [f"left out 1 {left_out.TABLE[0]}: metadata.parquet"]),
        ([], []),
    ],
)
def test_files_that_are_not_read_are_named(
    tmp_path: Path, write_image: Any, more: list[str], notes: list[str], as_zip: bool
) -> None:
    for name in ("a/1.png", "b/1.png"):
        write_image(f"data/{name}")
    for name in more:
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_bytes(b"x")
    for _ in range(2):  # decoded, then from the cache
        assert [note.partition(": ")[2] for note in read(tmp_path / "data", as_zip).notes] == notes


def test_notes_on_a_folder_are_renewed_without_decoding_it_again(tmp_path: Path, write_image: Any, cache: Path) -> None:
    write_image("data/a.png")
    assert open_path(tmp_path / "data")["train"].notes == ()
    pools = {path: path.stat().st_ino for path in cache.rglob("*.safetensors")}
    (tmp_path / "data" / "b.jxl").touch()
    assert "b.jxl" in open_path(tmp_path / "data")["train"].notes[0]
    assert {path: path.stat().st_ino for path in cache.rglob("*.safetensors")} == pools


def test_broken_links_and_pipes_are_named(tmp_path: Path, write_image: Any) -> None:
    write_image("data/a.png")
    for name in ("b.png", "class", "c.jpg"):
        (tmp_path / "data" / name).symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "data" / "d.png")
    found = open_path(tmp_path / "data")["train"]
    assert len(found) == 1
    assert sorted(found.notes) == [
        "data: left out 1 entry that is not a regular file: d.png",
        "data: left out 3 broken links: b.png, c.jpg, class",
    ]


def test_files_that_skip_bad_leaves_out_are_named(tmp_path: Path, write_image: Any) -> None:
    write_image("data/a.png")
    (tmp_path / "data" / "b.png").touch()
    assert open_path(tmp_path / "data", skip_bad=1)["train"].notes == (
        "data: left out 1 file that cannot be read (--skip-bad): b.png",
    )


def test_one_image_outside_the_classes_is_named_for_folder_and_archive(tmp_path: Path, write_image: Any) -> None:
    for name in ("a/1.png", "b/1.png", "stray.png"):
        write_image(f"data/{name}")
    for as_zip in (False, True):
        found = read(tmp_path / "data", as_zip)
        assert found.classes == ()
        assert "no labels: 1 of 3 files is outside the class folders (stray.png)" in found.notes[0]
