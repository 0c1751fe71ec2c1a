"""`zoo sample`: the recipe's sampling options in help, on the command line and in Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aigc_zoo.cli import main
from aigc_zoo.errors import UsageError
from aigc_zoo.plugins import catalogue
from aigc_zoo.run.generator import load_generator

PLUGIN = """
import dataclasses
from typing import Annotated, Literal
import torch
import aigc_zoo
from aigc_zoo.spec import Component, Range, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components():
    yield Component(kind="recipe", name="cut", target=f"{__name__}:cut", summary="DCGAN with sampling options")
    yield Component(kind="recipe", name="odd", target=f"{__name__}:odd", summary="DCGAN with an option without a type")


def cut():
    base = aigc_zoo.create("dcgan", **{"generator.width": 4, "discriminator.width": 4, "latent": 8})

    def generate(
        nets, batch, *, noise_scale: Annotated[float, Range(0, 2)] = 1.0, mirror: bool = False,
        order: Literal["rows", "columns"] = "rows", parts: tuple[int, ...] = (1, 2),
    ):
        \"\"\"Generates samples.

        noise_scale: factor of the noise, which trades variety for quality
        \"\"\"
        fake = base.generate(nets, batch)["fake"] + noise_scale * batch["z"].mean(1)[:, None, None, None]
        fake = fake + torch.linspace(0, 1, 28)
        return {"fake": fake.flip(-1) if mirror else fake}

    return dataclasses.replace(base, generate=generate)


def odd():
    base = cut()
    return dataclasses.replace(base, generate=lambda nets, batch, *, psi=1.0: base.generate(nets, batch))
"""


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plugin and runs of its recipes."""
    folder = tmp_path_factory.mktemp("cut run")
    (folder / "cutter.py").write_text(PLUGIN)
    np.save(folder / "data.npy", np.random.default_rng(0).integers(0, 256, (16, 28, 28, 1), dtype=np.uint8))
    for name in ("cut", "odd", "dcgan"):
        words = ["--batch-size", 8, "--steps", 1, "--device", "cpu", "--out", folder / name]
        words = ["train", name, "--plugin", folder / "cutter.py", "--data", folder / "data.npy", *words]
        assert main([str(word) for word in words]) == 0
    return folder


def help_of(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["sample", *map(str, words)]) == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("source", ["cut", "cut/generator.safetensors", "cut/checkpoints/000000001.safetensors"])
@pytest.mark.parametrize("words", [("--help",), ("-n", 4, "-h"), ("--noise-scale", 0.5, "--mirror", "--help")])
def test_help_of_a_run_lists_its_sampling_options(
    capsys: pytest.CaptureFixture[str], cut: Path, source: str, words: tuple[object, ...]
) -> None:
    text = help_of(capsys, cut / source, *words, "--plugin", cut / "cutter.py")
    assert "Sampling options of local/cut" in text
    assert "--noise-scale FLOAT Factor of the noise, which trades variety for quality [0 to 2; default: 1.0]" in text
    assert "--mirror / --no-mirror" in text
    assert "--order [rows|columns]" in text
    assert "--parts INTEGER,..." in text


def test_help_says_what_cannot_be_listed(capsys: pytest.CaptureFixture[str], cut: Path, tmp_path: Path) -> None:
    assert "dcgan has no sampling options of its own." in help_of(capsys, cut / "dcgan", "--help")
    assert "no such run or file" in help_of(capsys, tmp_path / "nowhere", "--help")
    assert "cannot be listed: options cannot be taken: parameter psi: its type is missing" in help_of(
        capsys, cut / "odd", "--plugin", cut / "cutter.py", "--help"
    )
    (tmp_path / "notes.txt").write_text("no run")
    assert "cannot be listed" in help_of(capsys, tmp_path / "notes.txt", "--help")
    assert "Sampling options of" not in help_of(capsys, "--help")


def test_help_of_published_weights_downloads_nothing(capsys: pytest.CaptureFixture[str], cut: Path) -> None:
    text = help_of(capsys, "cut@mnist", "--help", "--plugin", cut / "cutter.py")
    assert "Sampling options of local/cut" in text


@pytest.mark.parametrize(
    ("words", "keywords", "message"),
    [
        (("--noise", "1"), {"noise": 1}, "no option --noise"),
        (("--noise-scale", "3"), {"noise_scale": 3}, "--noise-scale 3: not in the range 0 to 2"),
        (("--order", "depth"), {"order": "depth"}, "--order depth: not one of rows, columns"),
        (("--parts", "1,x"), {"parts": "1,x"}, "--parts 1,x: not a whole number"),
    ],
)
def test_a_wrong_sampling_option_is_refused_alike_in_python(
    capsys: pytest.CaptureFixture[str], cut: Path, words: tuple[str, ...], keywords: dict[str, object], message: str
) -> None:
    assert main(["sample", str(cut / "cut"), "--plugin", str(cut / "cutter.py"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert f"zoo --plugin '{cut / 'cutter.py'}' sample '{cut / 'cut'}' --help shows all" in error
    generator = load_generator(catalogue([cut / "cutter.py"]), cut / "cut")
    with pytest.raises(UsageError) as caught:
        generator.sample(1, **keywords)
    assert message in str(caught.value)


def test_sampling_options_change_samples_and_default_files(capsys: pytest.CaptureFixture[str], cut: Path) -> None:
    for words in ((), ("--mirror",), ("--noise-scale", "0"), ("--noise-scale=0.5", "--mirror")):
        assert main(["sample", str(cut / "cut"), "-n", "4", "--plugin", str(cut / "cutter.py"), *words]) == 0
    names = ["", "-mirror-True", "-mirror-True-noise_scale-0.5", "-noise_scale-0.0"]
    found = sorted((cut / "cut").glob("sample-*"))
    assert [path.name for path in found] == sorted(f"sample-seed0{name}.png" for name in names)
    assert len({path.read_bytes() for path in found}) == 4
    capsys.readouterr()
