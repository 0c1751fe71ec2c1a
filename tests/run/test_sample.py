"""`zoo sample` and `Run.sample`: classes by name and by number, with the same refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import aigc_zoo
from aigc_zoo.artefacts import checkpoint
from aigc_zoo.cli import main
from aigc_zoo.errors import UsageError
from aigc_zoo.run.generator import class_index

from .conftest import TINY

SETTINGS = {key: value for key, value in TINY.items() if not key.startswith(("eval", "extractor"))} | {"steps": 2}
ANIMALS = ("cat", "dog", "horse")


def trained(folder: Path, labels: list[str] | None) -> Path:
    """A generator file trained for two steps on images of these classes."""
    images = np.random.default_rng(0).integers(0, 256, (24, 28, 28, 1), dtype=np.uint8)
    more = {"labels": np.resize(np.arange(len(labels)), 24)} if labels else {}
    np.savez(folder / "data.npz", images=images, **more)
    run = aigc_zoo.train("dcgan", str(folder / "data.npz"), out=folder / "run", conditional=bool(labels), **SETTINGS)
    return called(run.path / "generator.safetensors", folder / "g.safetensors", labels or [])


def called(path: Path, new: Path, classes: list[str]) -> Path:
    """The generator with its classes renamed."""
    tensors, card = checkpoint.load(path)
    checkpoint.save(new, tensors, {**card, "classes": list(classes)})
    return new


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("animals"), list(ANIMALS))


@pytest.mark.parametrize(
    ("classes", "label", "index"),
    [
        (ANIMALS, "dog", 1),
        (ANIMALS, "2", 2),
        (ANIMALS, 2, 2),
        (("2", "0", "1"), "0", 1),
        (("2", "0", "1"), 2, 0),
        (("7", "other"), 7, 0),
        (("1980", "1990"), "1990", 1),
        (("-1", "1"), -1, 0),
        (("-1", "1"), "1", 1),
        (("0.5", "1.5"), 1.5, 1),
        (("cat",), "cat", 0),
        (("cat",), 0, 0),
        (("5",), "5", 0),
        (tuple(map(str, range(1000))), 999, 999),
    ],
)
def test_a_name_is_found_before_a_position(classes: tuple[str, ...], label: int | str, index: int) -> None:
    assert class_index(classes, label) == index


@pytest.mark.parametrize(
    ("classes", "label", "message"),
    [
        (("2", "5"), "0", "--class 0: not one of 2, 5"),
        (("2", "5"), 1, "--class 1: not one of 2, 5"),
        (("3", "other"), "0", "--class 0: not one of 3, other"),
        (("-1", "1"), 0, "--class 0: not one of -1, 1"),
        (("0.5", "1.5"), "1", "--class 1: not one of 0.5, 1.5"),
        (("5",), 0, "--class 0: not one of 5"),
        (ANIMALS, "3", "--class 3: not one of cat, dog, horse"),
        (ANIMALS, -1, "--class -1: not one of cat, dog, horse"),
        (ANIMALS, True, "--class True: not one of"),
        (ANIMALS, "", "--class : not one of"),
        (ANIMALS, "Horse", "did you mean 'horse'?"),
        (tuple(map(str, range(1000))), 1000, "18, 19 and 980 more"),
        ((), 0, "was trained without classes"),
    ],
)
def test_what_is_no_class_is_refused(classes: tuple[str, ...], label: int | str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        class_index(classes, label)
    assert message in str(caught.value)


@pytest.mark.parametrize("label", ["0", "1", "cat", "-1"])
def test_python_refuses_in_the_words_of_the_command(
    capsys: pytest.CaptureFixture[str], animals: Path, tmp_path: Path, label: str
) -> None:
    digits = called(animals, tmp_path / "g.safetensors", ["2", "5", "8"])
    assert main(["sample", str(digits), "--class", label]) == 2
    run = aigc_zoo.load_run(digits)
    for value in (label, int(label)) if label != "cat" else (label,):
        with pytest.raises(UsageError) as caught:
            run.sample(2, label=value)
        assert str(caught.value) in capsys.readouterr().err or value != label
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.safetensors"]


def test_a_class_is_the_same_by_name_and_by_number(animals: Path) -> None:
    run = aigc_zoo.load_run(animals)
    samples = [run.sample(4, label=label) for label in ("horse", 2, "2", np.int64(2))]
    assert all(one.equal(samples[0]) for one in samples)
    assert not samples[0].equal(run.sample(4, label="cat"))


def test_one_class_can_be_sampled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = called(trained(tmp_path, ["cat"]), tmp_path / "one.safetensors", ["cat"])
    assert main(["sample", str(one), "-n", "2", "--class", "cat", "--out", str(tmp_path / "g.png")]) == 0
    run = aigc_zoo.load_run(one)
    assert torch.equal(run.sample(3, label="cat"), run.sample(3))
    with pytest.raises(UsageError, match="not one of cat"):
        run.sample(1, label=1)
    capsys.readouterr()


def test_a_generator_without_classes_refuses_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = trained(tmp_path, None)
    assert main(["sample", str(path), "--class", "0"]) == 2
    assert "trained without classes" in capsys.readouterr().err
    with pytest.raises(UsageError, match="trained without classes"):
        aigc_zoo.load_run(path).sample(1, label=0)
