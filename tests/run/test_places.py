"""Resumed runs whose data a dataset reads by their suffix or with options, or which Python code passed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aigc_zoo
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.data.resolve import load

from .conftest import digests_of
from .packages import ALL, Packages, command, interrupted

Capsys = pytest.CaptureFixture[str]
Words = tuple[object, ...]

SIGNS = (*ALL, ("dataset", "signs"))
SETTINGS: Words = (
    *("--extractor", "acme/tiny", "--device", "cpu", "--precision", "fp32", "--eval-num", 40, "--save-every", 2),
    *("--sample-every", 2, "--eval-every", 4, "--metrics", "variance-ratio"),
)
EVAL: Words = ("--num", 40, "--metrics", "variance-ratio", "--json")


@pytest.fixture(autouse=True)
def installed(packages: Packages) -> None:
    packages.install("aigc-zoo-acme", components=SIGNS)
    Path("a.pts").write_text("1")


def train(capsys: Capsys, *words: object, out: str = "run") -> str:
    code, _, err = command(capsys, "train", "acme/mine", *words, "--out", out, *SETTINGS)
    assert code == 0, err
    return err


def stopped(capsys: Capsys, *words: object) -> dict[str, str]:
    """Trains a run and turns it into an unfinished one; returns the digests of the files that it had."""
    train(capsys, *words)
    whole = digests_of(Path("run"))
    interrupted(Path("run"))
    return whole | {"generator.safetensors": ""}  # the card in it names the place


def same_as(whole: dict[str, str]) -> bool:
    return digests_of(Path("run")) | {"generator.safetensors": ""} == whole


def evaluated(capsys: Capsys) -> bool:
    """Whether the run is evaluated on its own data."""
    code, out, err = command(capsys, "eval", "run", *EVAL)
    assert code == 0, err
    digest = json.loads(out)["metrics"][0]["protocol"]["reference_digest"]
    return bool(digest == RunDirectory("run").read_card()["data"]["digest"])


@pytest.mark.promise("N1", 1, 1)
@pytest.mark.parametrize("words", [("--data", "a.pts"), ("--data", "./a.pts", "--data.count", 44)])
def test_a_run_keeps_the_dataset_that_reads_its_file(
    words: Words, packages: Packages, capsys: Capsys, promise: Any
) -> None:
    whole = stopped(capsys, *words)
    packages.install("aigc-zoo-bee", components=(("dataset", "signs"),))
    assert "resuming at step 2" in train(capsys, *words)
    assert same_as(whole)
    assert evaluated(capsys)
    code, _, err = command(capsys, "train", "acme/mine", *words, "--out", "new", *SETTINGS)
    assert (code, "can be read by several datasets: acme/signs, bee/signs" in err) == (3, True)
    promise.kept(resumed=1)


@pytest.mark.promise("N3", 1, 1)
@pytest.mark.parametrize("words", [("--data", "a.pts"), ("--data", "a.pts", "--data.count", 44), ("--data", "signs")])
def test_a_missing_dataset_that_reads_the_file_names_its_package(
    words: Words, packages: Packages, capsys: Capsys, promise: Any
) -> None:
    packages.install("aigc-zoo-bee", components=(("dataset", "signs"),))
    words = tuple("bee/signs" if word == "signs" else word for word in words)
    packages.remove("aigc-zoo-acme")
    packages.install("aigc-zoo-acme")
    train(capsys, *words)
    packages.remove("aigc-zoo-bee")
    for one in (("train", "acme/mine", *words, "--out", "run", *SETTINGS), ("eval", "run", *EVAL)):
        code, _, err = command(capsys, *one)
        assert (code, "needs aigc-zoo-bee>=0.2: python -m pip install aigc-zoo-bee" in err) == (3, True), err
        assert len(err.splitlines()) <= 3
    assert command(capsys, "sample", "run", "-n", 2)[0] == 0
    promise.kept(pieces=1, commands=2)


@pytest.mark.promise("N2", 1, 1)
@pytest.mark.parametrize(
    ("words", "then"),
    [
        (("--data", "a.pts"), ("--data", "deep/b.pts")),
        (("--data", "a.pts", "--data.count", 44), ("--data", "deep/b.pts", "--data.count", 44)),
        (("--data", "signs", "--data.count", 44), ("--data", "copy.npz")),
        (("--data", "a.pts", "--data.table", "one.txt"), ("--data", "deep/b.pts", "--data.table", "deep/two.txt")),
    ],
)
def test_data_of_a_dataset_with_options_resume_at_another_place(
    words: Words, then: Words, packages: Packages, capsys: Capsys, promise: Any
) -> None:
    Path("one.txt").write_text("3")
    whole = stopped(capsys, *words)
    images = load(packages.catalogue(), "acme/signs", options={"count": 44})["train"].fields["real"].numpy()
    np.savez("copy.npz", images=images)
    Path("deep").mkdir()
    Path("a.pts").rename("deep/b.pts")
    Path("one.txt").rename("deep/two.txt")
    note = train(capsys, *then)
    assert "note: equal content at another place: data " in note
    assert same_as(whole)
    assert "another place" not in train(capsys, *then)
    assert evaluated(capsys)
    card = RunDirectory("run").read_card()
    assert card["data"]["options"].get("count") == (44 if 44 in then else None if "copy.npz" in then else 40)
    code, _, err = command(capsys, "train", "acme/mine", *then, "--seed", 3, "--out", "run", *SETTINGS)
    assert (code, "was started with seed 0, now 3:" in err) == (3, True)
    promise.kept(resumed_elsewhere=1)


def test_a_file_of_a_dataset_is_compared_by_its_content(capsys: Capsys) -> None:
    Path("one.txt").write_text("3")
    train(capsys, "--data", "signs", "--data.table", "one.txt")
    shutil.copy("one.txt", "two.txt")
    text = train(capsys, "--data", "signs", "--data.table", "two.txt")
    assert f"data.table {Path('two.txt').absolute()} (was {Path('one.txt').absolute()})" in text
    Path("two.txt").write_text("4")
    code, _, err = command(
        capsys, "train", "acme/mine", "--data", "signs", "--data.table", "two.txt", "--out", "run", *SETTINGS
    )
    assert code == 3
    assert "was started with data.table two.txt, now two.txt (SHA-256 " in err


def test_other_options_are_named_before_other_data(capsys: Capsys) -> None:
    train(capsys, "--data", "a.pts", "--data.count", 44)
    Path("a.pts").rename("b.pts")
    code, _, err = command(
        capsys, "train", "acme/mine", "--data", "b.pts", "--data.count", 48, "--out", "run", *SETTINGS
    )
    assert (code, "was started with data.count 44, now 48; data." in err) == (3, True), err


def test_the_advice_for_other_data_states_their_options(capsys: Capsys) -> None:
    train(capsys, "--data", "a.pts", "--data.count", 44)
    Path("a.pts").write_text("2")
    code, _, err = command(capsys, "eval", "run", *EVAL)
    assert (code, "--against.count 44" in err) == (65, True), err
    advised = err.splitlines()[-1].partition(": zoo ")[2].split()
    assert command(capsys, *advised, *EVAL)[0] == 0


def test_data_in_memory_take_no_place(packages: Packages, capsys: Capsys) -> None:
    given = {"device": "cpu", "precision": "fp32", "eval_num": 40, "extractor": "acme/tiny", "save_every": 2}
    images = load(packages.catalogue(), "acme/signs")["train"].fields["real"].numpy()
    np.savez("copy.npz", images=images)
    more = {"metrics": "variance-ratio", "eval_every": 4, "out": "run", **given}
    aigc_zoo.train("acme/mine", images, **more)
    assert RunDirectory("run").read_card()["data"]["reference"] == "in-memory data"
    assert command(capsys, "eval", "run", *EVAL)[0] == 65
    aigc_zoo.train("acme/mine", "copy.npz", **more)
    assert RunDirectory("run").read_card()["data"]["reference"] == str(Path("copy.npz").absolute())
    assert evaluated(capsys)
    before = Path("run/card.json").read_bytes()
    interrupted(Path("run"))
    aigc_zoo.train("acme/mine", images, **more)  # the place that is known remains
    assert Path("run/card.json").read_bytes() == before
    assert evaluated(capsys)


def test_options_of_the_dataset_to_compare_with_are_those_of_the_run_s_package(
    packages: Packages, capsys: Capsys
) -> None:
    train(capsys, "--data", "signs")
    packages.install("aigc-zoo-bee", components=(("dataset", "signs"),))
    code, out, err = command(capsys, "eval", "run", "--against", "signs", "--against.count", 44, *EVAL)
    assert code == 0, err
    protocol = json.loads(out)["metrics"][0]["protocol"]
    assert protocol["reference_digest"] != RunDirectory("run").read_card()["data"]["digest"]
