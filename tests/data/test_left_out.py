"""Files that are not read: those of runs, and the sentences that name what was left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.data import left_out
from aigc_zoo.data.left_out import LeftOut
from aigc_zoo.data.open import open_path
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
        (["data/run"], "1 run directory, whose images are not data: run"),
        (["data/run", "data/run-1"], "2 run directories, whose images are not data: run, run-1"),
        (["data/a/run", "data/bench/cells/x"], "2 run directories, whose images are not data: a/run, bench/cells/x"),
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
    assert samples.notes == ("data: left out 1 run directory, whose images are not data: last",)


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
    assert left.notes() == ("left out 4 run directories, whose images are not data: 9, 10, x?[2J?, ...",)
