"""A request to measure where nothing can be measured is an error; without a request, training goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aigc_zoo.cli import main

SMALL = ["--steps", "1", "--batch-size", "4", "--generator.width", "4", "--discriminator.width", "4", "--out", "run"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    np.save("images.npy", random.integers(0, 256, (8, 28, 28), dtype=np.uint8))
    np.save("color.npy", random.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8))
    np.save("arrays.npy", random.normal(size=(8, 5)))


@pytest.mark.parametrize(
    ("recipe", "data", "words", "message"),
    [
        ("dcgan", "images.npy", "--metrics fid", "--extractor (zoo-grey28, inception-v3-compat)"),
        ("dcgan", "color.npy", "--metrics kid,prc", "--extractor (inception-v3-compat)"),
        ("vanilla", "arrays.npy", "--metrics fid", "no installed extractor reads such samples (array)"),
        ("dcgan", "images.npy", "--eval-every 1", "--eval-every 1: images has no feature extractor"),
        ("dcgan", "images.npy", "--eval-num 8", "--eval-num 8: images has no feature extractor"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(
    recipe: str, data: str, words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", recipe, "--data", data, *words.split(), *SMALL]) == 3
    err = capsys.readouterr().err
    assert message in err
    assert words.split()[0] in err
    assert not Path("run").exists()


@pytest.mark.parametrize(("recipe", "data"), [("dcgan", "images.npy"), ("vanilla", "arrays.npy")])
def test_training_needs_no_metric(recipe: str, data: str) -> None:
    assert main(["train", recipe, "--data", data, *SMALL]) == 0
