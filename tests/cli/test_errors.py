"""Errors have at most three lines, which name the fix, and the documented exit code; they leave no files behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aigc_zoo.cli import main


def write_image(path: Path, side: int = 28) -> Path:
    """Write a PNG of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).integers(0, 255, (side, side), np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(12):
        write_image(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


def fail(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str]:
    """Run a command that fails; return its exit code and stderr."""
    code = main(args)
    out, err = capsys.readouterr()
    assert not out
    return code, err


def test_an_unknown_recipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, text = fail(capsys, "train", "dcgam", "--out", str(tmp_path / "run"))
    assert code == 3
    assert "dcgan" in text
    assert len(text.splitlines()) <= 3
    assert not (tmp_path / "run").exists()


def test_a_folder_without_images(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    code, text = fail(capsys, "train", "dcgan", "--data", str(empty), "--out", str(tmp_path / "run"))
    assert code == 65
    assert str(empty) in text
    assert len(text.splitlines()) <= 3
    assert not (tmp_path / "run").exists()


def test_a_truncated_image(capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path) -> None:
    bad = photos / "7.png"
    bad.write_bytes(bad.read_bytes()[:200])
    code, text = fail(capsys, "train", "dcgan", "--data", str(photos), "--out", str(tmp_path / "run"))
    assert code == 65
    assert "7.png" in text
    assert len(text.splitlines()) <= 3
    assert not (tmp_path / "run").exists()


def test_a_size_that_the_network_cannot_generate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for i in range(12):
        write_image(tmp_path / "odd" / f"{i}.png", side=27)
    code, text = fail(capsys, "train", "dcgan", "--data", str(tmp_path / "odd"), "--out", str(tmp_path / "run"))
    assert code == 3
    assert "27" in text
    assert "28" in text, "the nearest size that works"
    assert len(text.splitlines()) <= 3
    assert not (tmp_path / "run").exists()


def test_a_run_directory_that_cannot_be_created(
    capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    out = tmp_path / "file" / "run"
    code, text = fail(capsys, "train", "dcgan", "--data", str(photos), "--out", str(out))
    assert code == 74
    assert str(tmp_path / "file") in text
    assert "--out" in text
    assert len(text.splitlines()) <= 3


@pytest.mark.parametrize("target", ["fud<3", "fid", "fid<=few"])
def test_an_invalid_target(capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path, target: str) -> None:
    settings = ("--extractor", "zoo-grey28", "--eval-num", "192", "--out", str(tmp_path / "run"))
    for i in range(12, 200):
        write_image(photos / f"{i}.png")
    code, text = fail(capsys, "train", "dcgan", "--data", str(photos), "--until", target, *settings)
    assert code == 2
    assert "fid" in text
    assert len(text.splitlines()) <= 3
    assert not (tmp_path / "run").exists()


def test_an_option_that_does_not_exist(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, text = fail(capsys, "train", "dcgan", "--generator.widht", "8", "--out", str(tmp_path / "run"))
    assert code == 2
    assert "--generator.width" in text
    assert len(text.splitlines()) <= 3


def test_missing_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, text = fail(capsys, "train", "dcgan", "--data", "./nowhere.zip", "--out", str(tmp_path / "run"))
    assert code == 65
    assert "nowhere.zip" in text
    assert len(text.splitlines()) <= 3


def test_a_file_that_is_no_generator(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "g.safetensors").write_bytes(b"not a file of tensors at all")
    code, text = fail(capsys, "sample", str(tmp_path / "g.safetensors"))
    assert code == 65
    assert "g.safetensors" in text
    assert len(text.splitlines()) <= 3


@pytest.mark.parametrize(
    ("args", "code", "expected"),
    [
        (("wgan-gp", "--discriminator.norm", "batch"), 3, "--discriminator.norm none"),
        (("dcgan", "--penalty", "r1"), 3, "--discriminator.norm none"),
        (("dcgan", "--loss", "hinges"), 3, "hinge"),
        (("dcgan", "--penalty", "r1r"), 3, "r1r2"),
        (("dcgan-r1", "--penalty.r1.every", "0"), 2, "--penalty.r1.every 0"),
        (("dcgan-r1", "--penalty.gp.weight", "1"), 2, "--penalty.gp.weight"),
        (("rpgan-r1r2", "--penalty.r1r2.weight", "-1"), 2, "--penalty.r1r2.weight -1"),
        (("sngan", "--size", "30"), 3, "28x28"),
        (("vanilla", "--data", "ring", "--augmentation", "flip"), 3, "augmentations of images"),
        (("lsgan", "--generator.condition", "norms"), 2, "norm"),
    ],
)
def test_components_that_do_not_fit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, args: tuple[str, ...], code: int, expected: str
) -> None:
    exit_code, text = fail(capsys, "train", *args, "--steps", "1", "--out", str(tmp_path / "run"))
    assert exit_code == code
    assert expected in text
    assert len(text.splitlines()) <= 3


def test_conditional_without_labels(capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, text = fail(capsys, "train", "sngan", "--conditional", "--data", str(photos), "--out", str(run))
    assert code == 3
    assert "leave out --conditional" in text
    assert len(text.splitlines()) <= 3
    assert not run.exists()
