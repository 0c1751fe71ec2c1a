"""`zoo sample` and `Run.sample`: classes, with the same refusals, and files that are never mixed with older ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import aigc_zoo
from aigc_zoo.artefacts import checkpoint
from aigc_zoo.cli import main
from aigc_zoo.data import writers
from aigc_zoo.errors import StorageError, UsageError
from aigc_zoo.plugins import catalogue
from aigc_zoo.run.generator import class_index
from aigc_zoo.run.sample import save_samples

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


def sampled(path: Path, *words: object) -> int:
    return main(["sample", str(path), *map(str, words)])


@pytest.mark.parametrize("name", ["000000.png", "000007.png", "1000000.png", "000000-000063.npy", "grid.PNG", "a.jpg"])
def test_a_folder_with_samples_is_refused_as_it_is(
    capsys: pytest.CaptureFixture[str], animals: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(b"old")
    assert sampled(animals, "-n", 2, "--out", tmp_path) == 2
    error = capsys.readouterr().err
    assert f"has samples already: {name}" in error
    assert "choose another --out" in error
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, b"old")]


def test_a_second_call_is_not_mixed_with_the_first(
    capsys: pytest.CaptureFixture[str], animals: Path, tmp_path: Path
) -> None:
    out = tmp_path / "each"
    assert sampled(animals, "-n", 70, "--out", out) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for words in (("-n", 3), ("-n", 70, "--class", "cat"), ("-n", 80, "--seed", 1)):
        assert sampled(animals, *words, "--out", f"{out}/") == 2
        assert "has samples already: 70 files such as 000000.png" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_other_files_of_a_folder_are_kept(animals: Path, tmp_path: Path) -> None:
    (tmp_path / "README.txt").write_text("notes")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "more.d").mkdir()
    assert sampled(animals, "-n", 2, "--out", tmp_path) == 0
    names = [".hidden.png", "000000.png", "000001.png", "README.txt", "more.d"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("error", [StorageError("full"), KeyboardInterrupt()])
def test_a_call_that_fails_leaves_no_samples(
    monkeypatch: pytest.MonkeyPatch, animals: Path, tmp_path: Path, error: BaseException, new: bool
) -> None:
    out = tmp_path / "each"
    if not new:
        out.mkdir()
        (out / "notes.txt").write_text("notes")
    write, calls = writers.write_bytes, []

    def fail(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) == 66:
            raise error
        write(path, data)

    monkeypatch.setattr(writers, "write_bytes", fail)
    with pytest.raises(type(error)):
        save_samples(catalogue(), animals, 70, out=out)
    assert len(calls) == 66
    assert not out.exists() if new else [path.name for path in out.iterdir()] == ["notes.txt"]
    monkeypatch.undo()
    assert len(save_samples(catalogue(), animals, 3, out=out).paths) == 3


def test_each_class_has_a_default_file_of_its_own(tmp_path: Path, animals: Path) -> None:
    classes = ["cat", "a b", "a/b"]
    path = called(animals, tmp_path / "g.safetensors", classes)
    found = [save_samples(catalogue(), path, 2, label=label).paths for label in (None, *classes, "0")]
    names = [one.name for (one,) in found]
    assert names[:2] == ["g-seed0.png", "g-seed0-class-cat.png"]
    assert names[4] == names[1], "the position of a class names the same file"
    assert names[2].startswith("g-seed0-class-a-b-")
    assert len(set(names)) == 4
    assert len({one.read_bytes() for (one,) in found[1:]}) == 3
    assert all(one.parent == tmp_path for (one,) in found)


def test_long_and_hostile_class_names_make_short_file_names(tmp_path: Path, animals: Path) -> None:
    classes = ["x" * 300, "x" * 299 + "y", "../../up"]
    path = called(animals, tmp_path / "g.safetensors", classes)
    files = [save_samples(catalogue(), path, 1, label=label).paths[0] for label in classes]
    assert len(set(files)) == 3
    assert all(one.resolve().parent == tmp_path.resolve() and len(one.name) < 100 for one in files)


@pytest.mark.parametrize(
    ("out", "files"),
    [
        ("v1.0/", ["v1.0/000000.png", "v1.0/000001.png"]),
        ("v1.0", ["v1.0/000000.png", "v1.0/000001.png"]),
        ("grid.png/", ["grid.png/000000.png", "grid.png/000001.png"]),
        ("2.1.x/each", ["2.1.x/each/000000.png", "2.1.x/each/000001.png"]),
        ("my samples.d/", ["my samples.d/000000.png", "my samples.d/000001.png"]),
        ("grid.PNG", ["grid.PNG"]),
        ("v1.0.Png", ["v1.0.Png"]),
        ("v1.0/grid.png", ["v1.0/grid.png"]),
        ("values.NPY", ["values.NPY"]),
    ],
)
def test_out_is_a_file_or_a_folder_as_written(
    monkeypatch: pytest.MonkeyPatch, animals: Path, tmp_path: Path, out: str, files: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sampled(animals, "-n", 2, "--out", out) == 0
    found = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert [str(path.relative_to(tmp_path)) for path in found] == files
    assert all(path.read_bytes()[:4] == (b"\x93NUM" if path.suffix == ".NPY" else b"\x89PNG") for path in found)


def test_an_existing_folder_with_a_suffix_is_a_folder(animals: Path, tmp_path: Path) -> None:
    (tmp_path / "samples.of-today").mkdir()
    assert sampled(animals, "-n", 1, "--out", tmp_path / "samples.of-today") == 0
    assert (tmp_path / "samples.of-today" / "000000.png").exists()


@pytest.mark.parametrize("out", ["grid.jpg", "grid.gif", "grid.of-today", "v1.0.x"])
def test_another_suffix_is_refused_before_anything_is_written(
    capsys: pytest.CaptureFixture[str], animals: Path, tmp_path: Path, out: str
) -> None:
    assert sampled(animals, "--out", tmp_path / "new" / out) == 2
    assert ".png or .npy\nend the name of a folder with a slash" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
