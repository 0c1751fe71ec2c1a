"""Arguments of the Python functions: one of the wrong type, or one that no memory can hold, is refused in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aigc_zoo
from aigc_zoo.api import Run
from aigc_zoo.artefacts import atomic
from aigc_zoo.cli import main
from aigc_zoo.errors import ConfigError, DataError, StorageError, UsageError, ZooError
from aigc_zoo.run import free_memory


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "points"
    return aigc_zoo.train("vanilla", "ring", out=folder, steps=1, batch_size=8, eval_every=9, eval_num=64)


Call = Callable[[Run], Any]

WRONG: list[tuple[Call, str]] = [
    (lambda run: aigc_zoo.list_models(3), "pattern=3: not text"),
    (lambda run: aigc_zoo.list_models(kind="nope"), "--kind nope: not one of recipe, generator"),
    (lambda run: aigc_zoo.create(["dcgan"]), "name=dcgan: not text"),
    (lambda run: aigc_zoo.load_run(None), "path=none: not a path"),
    (lambda run: aigc_zoo.load_run("a\0b"), "path=a?b: not a path"),
    (lambda run: Run(3), "path=3: not a path"),
    (lambda run: aigc_zoo.train([], "ring"), "recipe=: not text"),
    (lambda run: aigc_zoo.train("vanilla", "ring", out=[1, 2]), "out=1,2: not a path"),
    (lambda run: aigc_zoo.train("vanilla", "ring", fresh="yes"), "fresh=yes: not True or False"),
    (lambda run: aigc_zoo.train("vanilla", "ring", extend=1), "extend=1: not True or False"),
    (lambda run: aigc_zoo.train("vanilla", "ring", progress="no"), "progress=no: not a Progress or True or False"),
    (lambda run: aigc_zoo.train("vanilla", "ring", init="a\0b"), "--init a?b: not a path"),
    (lambda run: run.sample(inputs=[1]), "inputs=1: not a dict with names as keys"),
    (lambda run: run.grid(inputs={3: "a.png"}), "not a dict with names as keys"),
    (lambda run: run.sample(label=np.zeros(2)), "--class [0. 0.]: not the name or index of a class"),
    (lambda run: run.grid(label=torch.zeros(4, 4)), "not the name or index of a class"),
    (lambda run: run.evaluate(split=[]), "split=: not text"),
    (lambda run: run.evaluate(metrics=3), "metrics=3: not text or a list of texts"),
    (lambda run: run.evaluate(metrics=("fid", 3)), "metrics=fid,3: not text or a list of texts"),
    (lambda run: run.evaluate(extractor_weights=b"x"), "not a path"),
    (lambda run: run.evaluate(best=None), "best=none: not True or False"),
    (lambda run: run.report(("a", "b")), "out=a,b: not a path"),
    (lambda run: run.report(title=3), "title=3: not text"),
    (lambda run: run.export(onnx=1), "onnx=1: not True or False"),
    (lambda run: run.export(licence=b"CC0"), "not text"),
]


@pytest.mark.promise("U7", 1, 1)
@pytest.mark.parametrize(("call", "words"), WRONG, ids=[words.partition(":")[0] for _, words in WRONG])
def test_an_argument_of_the_wrong_type(call: Call, words: str, points: Run, tmp_path: Path, promise: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        with pytest.raises(UsageError) as caught:
            call(points)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())
    promise.kept(calls=1, refused=1)


def test_the_calling_convention_is_that_of_python(points: Run) -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        points.report(nope=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="missing 1 required"):
        aigc_zoo.load_run()  # type: ignore[call-arg]


def test_arguments_that_a_component_cannot_be_built_from() -> None:
    with pytest.raises(ConfigError, match=r"generator zoo/dcgan of aigc-zoo .* failed: AttributeError") as error:
        aigc_zoo.create("dcgan", 3, 100, kind="generator")
    assert isinstance(error.value.__cause__, AttributeError)
    with pytest.raises(ConfigError, match=r"loss zoo/hinge of aigc-zoo .* failed: TypeError"):
        aigc_zoo.create("hinge", 1, 2, 3, kind="loss")


@pytest.mark.parametrize("name", ["gp", "r1", "lp"])
def test_a_penalty_is_created_with_its_options(name: str) -> None:
    assert aigc_zoo.create(name, kind="penalty", weight=3.0).weight == 3.0
    with pytest.raises(UsageError, match=f"penalty {name} takes no positional arguments"):
        aigc_zoo.create(name, 3, kind="penalty")


@pytest.mark.parametrize(
    "call",
    [
        lambda run: run.sample(10**12),
        lambda run: run.grid(10**20),
        lambda run: run.evaluate(num=10**13),
        lambda run: aigc_zoo.train("vanilla", "ring", out="run", steps=1, batch_size=8, eval_num=10**13),
    ],
    ids=["sample", "grid", "evaluate", "train"],
)
def test_more_samples_than_memory_holds(
    call: Call, points: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="use at most") as caught:
        call(points)
    assert "of memory" in str(caught.value)


@pytest.mark.parametrize("words", [["--out", "samples/"], ["--out", "samples.npy"], []])
def test_the_command_names_how_many_samples_fit(
    words: list[str], points: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(free_memory, "free_memory", lambda device: 8_000)
    assert main(["sample", str(points.path), "-n", "1000000", *words]) == 65
    what, most = (
        ("the names of these files need 954 MiB", 8) if "samples/" in words else ("these samples need 15 MiB", 500)
    )
    assert capsys.readouterr().err == f"zoo: -n 1,000,000: {what} of memory, and 0 MiB are free\nuse at most {most}\n"
    assert not list(tmp_path.iterdir())
    assert main(["sample", str(points.path), "-n", str(most), *words]) == 0


def test_a_class_of_five_thousand_digits() -> None:
    from aigc_zoo.run.generator import class_index

    with pytest.raises(UsageError, match="not one of cat, dog"):
        class_index(("cat", "dog"), "1" * 5_000)
    assert class_index(("cat", "dog"), np.int64(1)) == 1


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_file_without_a_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match="Is a directory"):
        atomic.write_text(Path(name), "text")
    assert issubclass(StorageError, ZooError)
    assert not list(tmp_path.iterdir())


@pytest.mark.promise("U7", 1, 1)
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda path: aigc_zoo.load_run(path), ["sample"]),
        (lambda path: Run(path).card, ["sample"]),
        (lambda path: Run(path).generator, ["sample"]),
        (lambda path: Run(path).report(), ["report"]),
        (lambda path: aigc_zoo.train("vanilla", "ring", out=path, steps=1), ["train", "vanilla", "--steps=1", "--out"]),
    ],
    ids=["load_run", "card", "generator", "report", "train"],
)
def test_errors_of_the_system_are_those_of_the_command(
    call: Callable[[str], Any], words: list[str], capsys: pytest.CaptureFixture[str], promise: Any
) -> None:
    path = "a" * 300
    with pytest.raises(ZooError, match="File name too long") as caught:
        call(path)
    assert main([*words, path]) == caught.value.exit_code == StorageError.exit_code
    assert len(capsys.readouterr().err.splitlines()) <= 3
    promise.kept(calls=1, refused=1)
