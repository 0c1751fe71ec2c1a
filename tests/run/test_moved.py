"""Runs whose data, files, plugin or directory have another name or place and the same content."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aigc_zoo.artefacts.runs import RunDirectory, read_lines

from .conftest import digests_of
from .packages import Packages, command, interrupted, plugin_file

Capsys = pytest.CaptureFixture[str]
Words = tuple[object, ...]

SETTINGS: Words = (
    *("--steps", 4, "--device", "cpu", "--precision", "fp32", "--eval-num", 40, "--save-every", 2),
    *("--sample-every", 2, "--eval-every", 4, "--metrics", "variance-ratio,duplicates"),
)
SMALL: Words = ("--batch-size", 8, "--generator.width", 4, "--discriminator.width", 4, *SETTINGS)


def folder(name: str, seed: int = 0) -> Path:
    """A folder of 48 grey images in two classes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 28, 28), np.uint8)
    for number, image in enumerate(pixels):
        path = Path(name) / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return Path(name)


def resumed(capsys: Capsys, train: Words, *moves: str) -> str:
    """Resumes the run in `--out` after step 2, and compares it with the uninterrupted one in `whole`."""
    out = Path(str(train[train.index("--out") + 1]))
    code, _, err = command(capsys, *train)
    assert code == 0, err
    assert "resuming at step 2" in err
    notes = [line for line in err.splitlines() if line.startswith("note: equal content at another place: ")]
    assert len(notes) == 1, err
    assert all(move in notes[0] for move in moves), notes
    one, two = digests_of(out), digests_of(Path("whole"))
    assert one | {"generator.safetensors": ""} == two | {"generator.safetensors": ""}  # the card in it names the place
    assert "another place" not in command(capsys, *train)[2]  # it is said once
    return notes[0]


# --- data -------------------------------------------------------------------------------------------------------------


def renamed() -> tuple[str, str]:
    Path("digits").rename("pictures")
    return "pictures", "pictures"


def moved() -> tuple[str, str]:
    Path("elsewhere").mkdir()
    Path("digits").rename("elsewhere/digits")
    return "elsewhere/digits", "elsewhere/digits"


def zipped() -> tuple[str, str]:
    shutil.make_archive("archive", "zip", "digits")
    return "archive.zip", "archive.zip"


@pytest.mark.promise("N2", 1, 1)
@pytest.mark.parametrize("move", [renamed, moved, zipped])
def test_data_of_equal_content_resume(
    move: Callable[[], tuple[str, str]], packages: Packages, capsys: Capsys, promise: Any
) -> None:
    folder("digits")  # so that the preset of this name applies, and is kept
    more = ("--extractor", "zoo-grey28", *SMALL)
    assert command(capsys, "train", "dcgan", "--data", "./digits", "--out", "whole", *more)[0] == 0
    shutil.copytree("whole", "part")
    interrupted(Path("part"))
    place, ends = move()
    before = Path("digits").absolute()
    note = resumed(capsys, ("train", "dcgan", "--data", f"./{place}", "--out", "part", *more), f"{ends} (was {before})")
    assert "run directory" in note
    card = RunDirectory("part").read_card()
    assert (card["recipe"], card["data"]["name"]) == ("zoo/dcgan.digits", "digits")
    assert card["data"]["reference"] == str(Path(place).absolute())
    lines = read_lines(Path("part/metrics.jsonl"))
    assert {line["protocol"]["reference"] for line in lines} == {"digits"}
    code, out, _ = command(capsys, "eval", "part", "--num", 40, "--metrics", "variance-ratio", "--json")
    assert (code, json.loads(out)["metrics"][0]["protocol"]["reference"]) == (0, "digits")
    promise.kept(resumed_elsewhere=1)


@pytest.mark.promise("N2", 1, 1)
def test_a_named_dataset_resumes_from_a_file_of_equal_content(packages: Packages, capsys: Capsys, promise: Any) -> None:
    packages.install("aigc-zoo-acme")
    assert command(capsys, "train", "acme/mine", "--out", "whole", *SETTINGS)[0] == 0
    shutil.copytree("whole", "part")
    interrupted(Path("part"))
    from aigc_zoo.data.resolve import load

    images = load(packages.catalogue(), "acme/shared")["train"].fields["real"].numpy()
    np.savez("copy.npz", images=images)
    note = resumed(
        capsys, ("train", "acme/mine", "--data", "copy.npz", "--out", "part", *SETTINGS), "(was acme/shared)"
    )
    assert f"data {Path('copy.npz').absolute()}" in note
    assert RunDirectory("part").read_card()["extractor"] == "acme/tiny"  # a file has none of its own
    promise.kept(resumed_elsewhere=1)


def test_other_content_is_refused_under_any_name(packages: Packages, capsys: Capsys) -> None:
    folder("digits")
    train = ("train", "dcgan", "--out", "run", "--extractor", "zoo-grey28", *SMALL)
    assert command(capsys, *train, "--data", "./digits")[0] == 0
    shutil.rmtree("digits")
    folder("digits", seed=1)
    folder("others", seed=2)
    for name, said in (("./digits", "data.digest "), ("others", "data.name digits, now others")):
        code, _, err = command(capsys, *train, "--data", name)
        assert (code, said in err) == (3, True)
    code, _, err = command(capsys, "eval", "run", "--num", 40, "--metrics", "variance-ratio")
    assert (code, len(err.splitlines())) == (65, 2)
    assert "is not what it was trained on" in err
    advised = err.splitlines()[-1].partition(": zoo ")[2].split()
    assert command(capsys, *advised, "--num", 40, "--metrics", "variance-ratio")[0] == 0


def test_data_that_are_gone_name_the_option(packages: Packages, capsys: Capsys) -> None:
    folder("digits")
    words = ("--extractor", "zoo-grey28", *SMALL)
    assert command(capsys, "train", "dcgan", "--data", "./digits", "--out", "run", *words)[0] == 0
    Path("digits").rename("there")
    code, _, err = command(capsys, "eval", "run", "--num", 40, "--metrics", "variance-ratio")
    assert (code, "if they have moved, use zoo eval run --against PATH" in err) == (65, True)
    assert command(capsys, "eval", "run", "--num", 40, "--metrics", "variance-ratio", "--against", "there")[0] == 0
    # A finished run is not trained on, and learns the new place from the same command.
    assert "(was " in command(capsys, "train", "dcgan", "--data", "there", "--out", "run", *words)[2]
    assert command(capsys, "eval", "run", "--num", 40, "--metrics", "variance-ratio")[0] == 0


# --- plugin files -----------------------------------------------------------------------------------------------------


@pytest.mark.promise("N2", 1, 1)
@pytest.mark.parametrize("place", ["other.py", "deep/plug.py", "deep/other.py"])
def test_a_plugin_file_of_equal_content_resumes(place: str, packages: Packages, capsys: Capsys, promise: Any) -> None:
    path = plugin_file(Path("plug.py")).absolute()
    assert command(capsys, "--plugin", path, "train", "mine", "--out", "whole", *SETTINGS)[0] == 0
    shutil.copytree("whole", "part")
    interrupted(Path("part"))
    new = Path(place).absolute()
    new.parent.mkdir(exist_ok=True)
    path.rename(new)
    train = ("--plugin", place, "train", "mine", "--out", "part", *SETTINGS)
    resumed(capsys, train, f"plugin file {new} (was {path})")
    assert command(capsys, "--plugin", place, "sample", "part", "-n", 2)[0] == 0
    code, _, err = command(capsys, "sample", "part", "-n", 2)
    assert (code, f"needs the plugin file {new}" in err) == (3, True)
    promise.kept(resumed_elsewhere=1)


def test_an_edited_plugin_file_is_refused(packages: Packages, capsys: Capsys) -> None:
    train = ("train", "mine", "--out", "run", *SETTINGS)
    assert command(capsys, "--plugin", plugin_file(Path("plug.py")), *train)[0] == 0
    packages.forget()
    for name in ("plug.py", "other.py"):
        edited = plugin_file(Path(name), more="# edited\n")
        code, _, err = command(capsys, "--plugin", edited, *train)
        assert (code, f"plugins.{name}.version" in err) == (3, True), err
        packages.forget()


# --- files that options name ------------------------------------------------------------------------------------------


@pytest.mark.promise("N2", 1, 1)
@pytest.mark.parametrize("option", ["init", "table"])
def test_a_file_of_equal_content_resumes(option: str, packages: Packages, capsys: Capsys, promise: Any) -> None:
    packages.install("aigc-zoo-acme")
    assert command(capsys, "train", "mine", "--seed", 5, "--out", "first", *SETTINGS)[0] == 0
    shutil.copy("first/generator.safetensors", "old.safetensors")
    train = ("train", "mine", f"--{option}")
    assert command(capsys, *train, "old.safetensors", "--out", "whole", *SETTINGS)[0] == 0
    shutil.copytree("whole", "part")
    interrupted(Path("part"))
    Path("new").mkdir()
    Path("old.safetensors").rename("new/name.safetensors")
    resumed(capsys, (*train, "new/name.safetensors", "--out", "part", *SETTINGS), f"{option} ", "/new/name.safetensors")
    shutil.copy("first/generator-best.safetensors", "new/other.safetensors")
    with open("new/other.safetensors", "ab") as file:
        file.write(b" ")
    code, _, err = command(capsys, *train, "new/other.safetensors", "--out", "part", *SETTINGS)
    assert (code, f"{option} " in err) == (3, True)
    promise.kept(resumed_elsewhere=1)


def test_a_file_that_was_read_at_the_start_may_be_gone(packages: Packages, capsys: Capsys) -> None:
    packages.install("aigc-zoo-acme")
    assert command(capsys, "train", "mine", "--out", "first", *SETTINGS)[0] == 0
    train = ("train", "mine", "--init", "first", "--out", "run", *SETTINGS)
    assert command(capsys, *train)[0] == 0
    digest = RunDirectory("run").read_card()["files"]["run.init"][0]["sha256"]
    assert len(digest) == 64
    interrupted(Path("run"))
    shutil.rmtree("first")
    assert command(capsys, *train)[0] == 0
    assert RunDirectory("run").read_card()["files"]["run.init"][0]["sha256"] == digest


def test_another_content_under_the_same_path_is_refused(packages: Packages, capsys: Capsys) -> None:
    packages.install("aigc-zoo-acme")
    Path("table.txt").write_text("1")
    train = ("train", "mine", "--table", "table.txt", "--out", "run", *SETTINGS)
    assert command(capsys, *train)[0] == 0
    Path("table.txt").write_text("2")
    code, _, err = command(capsys, *train)
    assert (code, "table table.txt, now table.txt (SHA-256 d4735e3a265e16ee)" in err) == (3, True), err


# --- the run directory ------------------------------------------------------------------------------------------------


@pytest.mark.promise("N2", 1, 1)
def test_a_run_directory_that_moved_resumes(packages: Packages, capsys: Capsys, promise: Any) -> None:
    packages.install("aigc-zoo-acme")
    assert command(capsys, "train", "mine", "--out", "whole", *SETTINGS)[0] == 0
    shutil.copytree("whole", "deep/er/part")
    interrupted(Path("deep/er/part"))
    where = f"run directory {Path('deep/er/part').absolute()} (was {Path('whole').absolute()})"
    resumed(capsys, ("train", "mine", "--out", "deep/er/part", *SETTINGS), where)
    promise.kept(resumed_elsewhere=1)


def test_nothing_is_said_where_nothing_moved(packages: Packages, capsys: Capsys) -> None:
    packages.install("aigc-zoo-acme")
    train = ("train", "mine", "--out", "run", *SETTINGS)
    assert command(capsys, *train)[0] == 0
    before = Path("run/card.json").read_bytes()
    interrupted(Path("run"))
    assert "another place" not in command(capsys, *train)[2]
    assert Path("run/card.json").read_bytes() == before
    Path("link").symlink_to("run")
    assert "another place" not in command(capsys, "train", "mine", "--out", "link", *SETTINGS)[2]
