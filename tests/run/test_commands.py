"""The commands `zoo sample`, `zoo eval` and `zoo train` on a finished run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import aigc_zoo
from aigc_zoo.api import Run
from aigc_zoo.cli import main
from aigc_zoo.game import Recipe, Spec

from .conftest import TINY


@pytest.fixture(scope="module")
def done(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return aigc_zoo.train("dcgan", str(blobs), out=tmp_path_factory.mktemp("runs") / "done", **TINY)


def output_of(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def refused(capsys: pytest.CaptureFixture[str], code: int, *words: object) -> str:
    assert main([str(word) for word in words]) == code
    out, err = capsys.readouterr()
    assert not out
    assert len(err.splitlines()) <= 3
    return err


def test_a_grid_and_single_files_show_the_same_samples(
    capsys: pytest.CaptureFixture[str], done: Run, tmp_path: Path
) -> None:
    output_of(capsys, "sample", done.path, "-n", 70, "--seed", 5, "--out", tmp_path / "each")
    output_of(capsys, "sample", done.path / "generator.safetensors", "-n", 3, "--seed", 5, "--out", tmp_path / "few")
    many, few = sorted((tmp_path / "each").iterdir()), sorted((tmp_path / "few").iterdir())
    assert (len(many), len(few)) == (70, 3)
    for one, other in zip(many, few, strict=False):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes()
    with Image.open(many[0]) as image:
        assert image.size == (28, 28)


def test_a_grid_is_written_beside_the_generator(capsys: pytest.CaptureFixture[str], done: Run) -> None:
    out = output_of(capsys, "sample", done.path, "-n", 9)
    assert str(done.path / "sample-seed0.png") in out
    assert (done.path / "sample-seed0.png").exists()


def test_classes_are_refused_where_samples_do_not_depend_on_them(capsys: pytest.CaptureFixture[str], done: Run) -> None:
    assert "do not depend on the class" in refused(capsys, 2, "sample", done.path, "--class", "1")
    assert "not one of" in refused(capsys, 2, "sample", done.path, "--class", "cat")


def test_an_option_that_generate_does_not_have_is_refused(capsys: pytest.CaptureFixture[str], done: Run) -> None:
    assert "--truncation" in refused(capsys, 2, "sample", done.path, "--truncation", "0.7")


def test_eval_reproduces_the_monitor_values(capsys: pytest.CaptureFixture[str], done: Run) -> None:
    found = json.loads(output_of(capsys, "eval", done.path, "--num", 192, "--extractor", "zoo-grey28", "--json"))
    last = next(line for line in reversed(done.metrics) if line["name"] == "fid-zoo-grey28")
    assert found["schema"] == 1
    (record,) = found["metrics"]
    assert record["name"] == last["name"]
    assert record["value"] == last["value"]
    assert record["protocol"] == last["protocol"]


def test_eval_measures_a_folder_of_images(
    capsys: pytest.CaptureFixture[str], done: Run, blobs: Path, tmp_path: Path
) -> None:
    output_of(capsys, "sample", done.path, "-n", 192, "--out", tmp_path / "fakes")
    for i, image in enumerate(np.load(blobs)["images"]):
        (tmp_path / "reals").mkdir(exist_ok=True)
        Image.fromarray(image[..., 0]).save(tmp_path / "reals" / f"{i}.png")
    words = ("--against", blobs, "--extractor", "zoo-grey28", "--json")
    fakes = json.loads(output_of(capsys, "eval", tmp_path / "fakes", "--num", 192, *words))["metrics"][0]
    reals = json.loads(output_of(capsys, "eval", tmp_path / "reals", "--num", 200, *words))["metrics"][0]
    assert reals["value"] == pytest.approx(0, abs=1e-3), "the same images have the same statistics"
    assert fakes["value"] > 10
    assert fakes["protocol"]["weights"] == "files"


def test_eval_refuses_what_it_cannot_measure(capsys: pytest.CaptureFixture[str], done: Run, tmp_path: Path) -> None:
    assert "none-such" in refused(capsys, 3, "eval", done.path, "--extractor", "none-such")
    assert "too few" in refused(capsys, 65, "eval", done.path, "--num", 20, "--extractor", "zoo-grey28")
    assert "kidd" in refused(capsys, 2, "eval", done.path, "--metrics", "kidd")
    assert "nowhere" in refused(capsys, 65, "eval", tmp_path / "nowhere")
    assert "split" in refused(capsys, 65, "eval", done.path, "--split", "val")


def images_in(folder: Path, images: Iterable[np.ndarray], suffix: str = ".png") -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:04d}{suffix}")
    return folder


def test_folders_that_cannot_be_measured_are_refused(
    capsys: pytest.CaptureFixture[str], blobs: Path, tmp_path: Path
) -> None:
    images = np.load(blobs)["images"][..., 0]
    words = ("--against", blobs, "--extractor", "zoo-grey28")
    three = images_in(tmp_path / "three", images[:3])
    error = refused(capsys, 65, "eval", three, *words)
    assert "3 samples are too few" in error
    assert "--allow-few" in error
    found = json.loads(output_of(capsys, "eval", three, *words, "--allow-few", "--json"))["metrics"][0]
    assert found["protocol"]["few"] is True
    mixed = images_in(tmp_path / "mixed", [images[0], images[1][:20, :20]])
    assert "several sizes: use --size" in refused(capsys, 65, "eval", mixed, *words)
    lossy = images_in(tmp_path / "lossy", images[:150], ".jpg")
    error = refused(capsys, 65, "eval", lossy, *words)
    assert "0000.jpg" in error
    assert "--allow-lossy" in error
    found = json.loads(output_of(capsys, "eval", lossy, *words, "--allow-lossy", "--json"))["metrics"][0]
    assert found["protocol"]["weights"] == "lossy files"


def test_metrics_all_measures_all_that_can_be_measured(
    capsys: pytest.CaptureFixture[str], blobs: Path, tmp_path: Path
) -> None:
    folder = images_in(tmp_path / "reals", np.load(blobs)["images"][..., 0])
    words = ("eval", folder, "--against", blobs, "--extractor", "zoo-grey28", "--allow-few", "--metrics", "all")
    assert main([str(word) for word in words]) == 0
    out, err = capsys.readouterr()
    assert "left out modes: zoo/zoo-grey28 does not classify the 2 classes" in err
    assert "left out memorization" in err
    names = [line.split()[0] for line in out.splitlines() if "-zoo-grey28" in line.split()[0]]
    assert names == [
        f"{name}-zoo-grey28"
        for name in ("kid", "fid", "variance-ratio", "duplicates", "density", "coverage", "isc", "precision", "recall")
    ], "KID comes first with few samples"


def test_the_best_generator_can_be_measured(capsys: pytest.CaptureFixture[str], done: Run, tmp_path: Path) -> None:
    words = ("--num", 192, "--extractor", "zoo-grey28", "--json")
    best = min(line["value"] for line in done.metrics if line["name"].startswith("fid"))
    assert json.loads(output_of(capsys, "eval", done.path, "--best", *words))["metrics"][0]["value"] == best
    (tmp_path / "run").mkdir()
    assert "no best generator" in refused(capsys, 65, "eval", tmp_path / "run", "--best")


def test_a_card_starts_the_same_run_again(capsys: pytest.CaptureFixture[str], done: Run, tmp_path: Path) -> None:
    output_of(capsys, "train", "--config", done.path / "card.json", "--out", tmp_path / "again")
    first, again = done.path / "generator.safetensors", tmp_path / "again" / "generator.safetensors"
    assert aigc_zoo.load_run(first).sample(8).equal(aigc_zoo.load_run(again).sample(8))
    assert (done.path / "metrics.jsonl").read_bytes() == (tmp_path / "again" / "metrics.jsonl").read_bytes()


def test_a_dry_run_writes_nothing(
    capsys: pytest.CaptureFixture[str], done: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = output_of(capsys, "train", "--config", done.path / "card.json", "--dry-run")
    assert "parameters" in out
    assert "images/s" in out
    assert not list(tmp_path.iterdir())


def test_the_python_api_lists_and_creates_components() -> None:
    assert "dcgan" in aigc_zoo.list_models("dc*")
    assert isinstance(aigc_zoo.create("dcgan", **{"generator.width": 8}), Recipe)
    spec = Spec(shape=(1, 28, 28))
    network = aigc_zoo.create("dcgan", spec, 16, kind="generator", width=4)
    assert sum(weight.numel() for weight in network.parameters()) > 0
