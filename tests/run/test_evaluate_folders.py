"""`zoo eval FOLDER`: grey and colour files, lossy files, few files, and own images for which no extractor fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.utils import save_image

from aigc_zoo.cli import main
from aigc_zoo_plugins.datasets.digits import draw

ADVICE = "--extractor inception-v3-compat (with --extractor-weights FILE where it cannot be downloaded)"


def write(folder: Path, images: np.ndarray, mode: str | None = None, **how: Any) -> Path:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).convert(mode).save(folder / f"{number:04d}.png", **how)
    return folder


def photos(count: int, height: int = 30, width: int = 44, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 5, 5, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((width, height))) for one in coarse])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folders")
    digits = draw(60, seed=5)[0][:, 0]
    write(root / "grey", digits)
    write(root / "rgb", digits, "RGB")
    write(root / "rgba", digits, "RGBA")
    (root / "torchvision").mkdir()
    for number, image in enumerate(digits):
        save_image(torch.from_numpy(image)[None] / 255, root / "torchvision" / f"{number:04d}.png")
    np.savez(root / "arrays.npz", images=np.repeat(digits[..., None], 3, 3))
    write(root / "photos", photos(80))
    write(root / "generated", photos(80, seed=1))
    for count in (1, 2, 3):
        write(root / f"photos{count}", photos(count, seed=2))
        write(root / f"digits{count}", digits[:count])
    return root


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["eval", *map(str, words)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert "LinAlgError" not in err
    return code, out, err


def records(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    code, out, err = run(capsys, *words, "--json")
    assert code == 0, err
    return {record["name"]: record for record in json.loads(out)["metrics"]}


# --- grey and colour --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rgb", "rgba", "torchvision", "arrays.npz"])
def test_grey_saved_as_color_has_the_values_of_grey(capsys: pytest.CaptureFixture[str], root: Path, kind: str) -> None:
    words = ("--against", "digits", "--metrics", "variance-ratio,duplicates,modes")
    assert records(capsys, root / kind, *words) == records(capsys, root / "grey", *words)
    against = ("--against", root / kind, "--metrics", "variance-ratio")
    assert records(capsys, root / "grey", *against)["variance-ratio-pixels"]["value"] == pytest.approx(1)


def test_colors_are_not_compared_with_grey(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    code, _, err = run(capsys, root / "photos", "--size", "28", "--against", "digits")
    assert code == 3
    note, *error = err.splitlines()
    assert note == "note: photos: cropped 80 images to squares of 28 pixels"
    assert error == [
        "zoo: samples of 3x28x28 cannot be compared with digits of 1x28x28",
        "save them in grey, or choose other data with --against",
    ]
    code, _, err = run(capsys, root / "photos", "--against", "digits")
    assert (code, "pass --size PIXELS" in err) == (3, True)


# --- lossy files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "how", "lossy"),
    [("JPEG", {}, True), ("WEBP", {}, True), ("TIFF", {"compression": "jpeg"}, True), ("BMP", {}, False)],
)
def test_lossy_content_in_png_files_is_refused(
    capsys: pytest.CaptureFixture[str], root: Path, tmp_path: Path, kind: str, how: dict[str, Any], lossy: bool
) -> None:
    folder = write(tmp_path / "samples", photos(20), format=kind, **how)
    words = (folder, "--against", root / "photos", "--metrics", "duplicates")
    code, _, err = run(capsys, *words)
    assert code == (65 if lossy else 0)
    assert (f"samples holds 0000.png ({kind}" in err.replace("JPEG in TIFF", "TIFF").replace("WebP", "WEBP")) is lossy
    found = records(capsys, *words, "--allow-lossy")["duplicates-pixels"]["protocol"]["weights"]
    assert found == ("lossy files" if lossy else "files")


# --- few files --------------------------------------------------------------------------------------------------------


@pytest.mark.promise("M3", 1, 1)
@pytest.mark.parametrize("few", [(), ("--allow-few",)])
@pytest.mark.parametrize("metrics", ["", "all", "fid", "kid", "isc", "prc", "dac", "variance-ratio", "duplicates"])
@pytest.mark.parametrize(("source", "against"), [("digits1", "digits"), ("digits2", "digits"), ("grey", "digits1")])
def test_few_images_are_a_sentence(
    capsys: pytest.CaptureFixture[str], root: Path, source: str, against: str, metrics: str, few: tuple[str, ...],
    promise: Any,
) -> None:  # fmt: skip
    reference = against if against == "digits" else root / against
    words = ("--against", reference, "--extractor", "zoo-grey28", *(("--metrics", metrics) if metrics else ()), *few)
    code, out, err = run(capsys, root / source, *words)
    if code:
        assert code == 65
        last = err.split("zoo: ")[1].splitlines()
        assert len(last) == 2
        assert "few" in last[0] or "none of these" in last[0]
        if "--allow-few" in last[1]:
            assert run(capsys, root / source, *words, "--allow-few")[0] == 0, "the advice works"
    else:
        values = [line.split()[1] for line in out.splitlines() if line.startswith("  ")]
        assert values
        assert not {"nan", "inf", "not"} & set(values)
    promise.kept(command_lines=1, tracebacks=0)


@pytest.mark.parametrize(("count", "word"), [(1, "1 sample is"), (2, "2 samples are"), (3, "3 samples are")])
def test_metrics_all_names_what_few_images_cannot_give(
    capsys: pytest.CaptureFixture[str], root: Path, count: int, word: str
) -> None:
    code, out, err = run(capsys, root / f"digits{count}", "--against", "digits", "--metrics", "all")
    assert code == 0, err
    assert f"left out fid: {word} too few for FID with 128 features: at least 129 are needed" in err
    assert f"left out kid: {word} too few for KID: at least 1,000 are needed" in err
    assert ("variance-ratio" in out) == (count > 1)
    assert "modes-zoo-grey28" in out
    assert "collapse" not in out or count > 1


# --- own images -------------------------------------------------------------------------------------------------------


def test_own_images_are_compared_by_their_pixels(
    capsys: pytest.CaptureFixture[str], root: Path, tmp_path: Path
) -> None:
    code, out, err = run(capsys, root / "generated", "--against", root / "photos")
    assert code == 0
    assert err.endswith(
        f"note: only pixels are compared, since photos of 3x30x44 has no extractor of its own: use {ADVICE}\n"
    )
    names = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert names == ["variance-ratio-pixels", "duplicates-pixels"]
    assert "collapse" not in out
    repeated = write(tmp_path / "repeated", np.repeat(photos(2, seed=1), 40, 0))
    assert "collapse: 100% of the samples are near-duplicates" in run(capsys, repeated, "--against", root / "photos")[1]


@pytest.mark.parametrize("shape", [(9, 5), (64, 64), (3, 200), (1, 1)])
def test_any_size_has_pixels(capsys: pytest.CaptureFixture[str], tmp_path: Path, shape: tuple[int, int]) -> None:
    folder = write(tmp_path / "own", photos(40, *shape))
    found = records(capsys, folder, "--against", folder)
    assert found["variance-ratio-pixels"]["value"] == pytest.approx(1)


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_any_number_of_channels_has_pixels(capsys: pytest.CaptureFixture[str], tmp_path: Path, channels: int) -> None:
    values = np.random.default_rng(channels).integers(0, 256, (40, channels, 16, 16), np.uint8)
    np.savez(tmp_path / "own.npz", images=values)
    found = records(capsys, tmp_path / "own.npz", "--against", tmp_path / "own.npz")
    assert found["variance-ratio-pixels"]["value"] == pytest.approx(1)


@pytest.mark.parametrize("metrics", ["fid", "kid,isc", "prc", "all"])
def test_other_metrics_of_own_images_name_an_extractor(
    capsys: pytest.CaptureFixture[str], root: Path, metrics: str
) -> None:
    code, _, err = run(capsys, root / "generated", "--against", root / "photos", "--metrics", metrics)
    assert code == (0 if metrics == "all" else 3)
    assert f"needs the features of a network, and photos of 3x30x44 has no extractor of its own: use {ADVICE}" in err


@pytest.mark.parametrize("extractor", ["zoo-grey28", "zoo-rgb32", "zoo-stacked28"])
def test_an_extractor_that_does_not_fit_names_one_that_does(
    capsys: pytest.CaptureFixture[str], root: Path, extractor: str
) -> None:
    code, _, err = run(capsys, root / "generated", "--against", root / "photos", "--extractor", extractor)
    assert code == 3
    assert "use --extractor inception-v3-compat, with --extractor-weights FILE" in err
    assert len(err.split("zoo: ")[1].splitlines()) <= 3
