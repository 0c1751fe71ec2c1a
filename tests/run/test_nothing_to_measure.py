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
    np.save("rgba.npy", random.integers(0, 256, (8, 4, 16, 16), dtype=np.uint8))
    np.save("one.npy", random.integers(0, 256, (1, 28, 28), dtype=np.uint8))
    np.save("arrays.npy", random.normal(size=(8, 5)))


@pytest.mark.parametrize(
    ("recipe", "data", "words", "message"),
    [
        ("dcgan", "images.npy", "--metrics fid", "use --extractor zoo-grey28 or inception-v3-compat (with"),
        ("dcgan", "color.npy", "--metrics kid,prc", "use --extractor inception-v3-compat (with"),
        ("dcgan", "rgba.npy", "--metrics fid", "rgba of 4x16x16 has no extractor of its own, and no installed one"),
        ("vanilla", "arrays.npy", "--metrics fid", "no installed one accepts such samples (array): leave fid out"),
        ("vanilla", "arrays.npy", "--until fid<=5", "--until fid<=5: arrays has no extractor, so nothing can be"),
        ("vanilla", "arrays.npy", "--eval-every 1", "--eval-every 1: arrays has no extractor, so nothing can be"),
        ("vanilla", "arrays.npy", "--eval-num 8", "--eval-num 8: arrays has no extractor, so nothing can be measured"),
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


@pytest.mark.parametrize(
    ("words", "code"), [("--eval-every 1", 65), ("--until duplicates<=1", 65), ("--eval-num 8", 65), ("", 0)]
)
def test_a_request_to_measure_one_image_is_refused(words: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "dcgan", "--data", "one.npy", *words.split(), *SMALL]) == code
    reason = "1 image of one is too few for variance ratio: at least 2 are needed"
    assert (f"{words}: {reason}\nuse more of these images" if code else f"note: {reason}") in capsys.readouterr().err
    assert Path("run").exists() == (code == 0)


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("fid<=5", "8 images of images are too few for FID with 128 features: at least 129 are needed"),
        ("kid<0.1", "8 images of images are too few for KID: at least 1,000 are needed"),
        ("precision>0.9", ""),
    ],
)
def test_a_target_that_is_not_measured_says_why(target: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "dcgan", "--data", "images.npy", "--extractor", "zoo-grey28", "--until", target, *SMALL]
    assert main(words) == 2
    message = capsys.readouterr().err.partition("zoo: ")[2]
    assert 'is not measured; for example --until "variance-ratio<=5"' in message
    assert message.partition("\n")[2].strip() == hint
    assert not Path("run").exists()


@pytest.mark.parametrize(("recipe", "data"), [("dcgan", "images.npy"), ("dcgan", "color.npy"), ("dcgan", "ring")])
@pytest.mark.parametrize("command", ["train", "eval"])
def test_weights_without_their_extractor_are_refused(
    recipe: str, data: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("weights.pth").write_bytes(b"")
    words = ["train", "vanilla" if data == "ring" else recipe, "--data", data, *SMALL]
    if command == "eval":
        assert main([*words, "--generator.width", "4"]) == 0
        words = ["eval", "run"]
    capsys.readouterr()
    assert main([*words, "--extractor-weights", "weights.pth"]) == 2
    message = capsys.readouterr().err.splitlines()
    assert message[-2] == "zoo: --extractor-weights weights.pth: name the extractor that they are of"
    assert ("use --extractor" in message[-1]) == (data != "ring")


@pytest.mark.parametrize(("recipe", "data"), [("dcgan", "images.npy"), ("vanilla", "arrays.npy")])
def test_training_needs_no_metric(recipe: str, data: str) -> None:
    assert main(["train", recipe, "--data", data, *SMALL]) == 0
