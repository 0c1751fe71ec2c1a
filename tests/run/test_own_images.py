"""Training on own images, for which no packaged extractor fits, is monitored by their pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aigc_zoo import options, plugins
from aigc_zoo.errors import ConfigError, DataError, UsageError
from aigc_zoo.run.loop import train
from aigc_zoo.run.prepare import prepare
from aigc_zoo.run.progress import Progress, Result

from .conftest import TINY


class Notes(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def say(self, text: str) -> None:
        self.texts.append(text)


def icons(path: Path, *, count: int = 10, repeats: int = 24, test: int = 0) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)
    arrays = {"train_images": images.repeat(repeats, 0)} | ({"test_images": images.repeat(test, 0)} if test else {})
    np.savez(path / "icons.npz", **arrays)
    return path / "icons.npz"


def run(data: Path, out: Path, **more: Any) -> tuple[Result, list[str]]:
    given = {**TINY, "extractor": None, "eval_num": None, "steps": 6, **more}
    catalogue = plugins.catalogue()
    chosen = options.resolve(
        catalogue, "dcgan", data=str(data), given={k: v for k, v in given.items() if v is not None}, origin="python"
    )
    notes = Notes()
    return train(prepare(catalogue, chosen), out, progress=notes), notes.texts


def test_own_images_are_measured_by_default(tmp_path: Path) -> None:
    result, notes = run(icons(tmp_path, test=2), tmp_path / "run")
    assert list(result.final) == ["variance-ratio-pixels", "duplicates-pixels"]
    assert any("only pixels are compared, since icons of 3x16x16 has no extractor" in text for text in notes)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {line["protocol"]["num"] for line in lines} == {240}
    assert all(line["data"]["value"] >= 0.9 for line in lines)
    held_out = {record["name"] for record in result.held_out}
    assert held_out == {"variance-ratio-pixels", "gap-pixels"}
    assert result.warnings, "six steps collapse"
    assert (tmp_path / "run" / "nearest.png").exists()
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["extractor"] == ""


@pytest.mark.parametrize(("count", "measured"), [(1, 0), (2, 2), (12, 2)])
def test_few_images_train_without_metrics_that_need_more(tmp_path: Path, count: int, measured: int) -> None:
    result, notes = run(icons(tmp_path, count=count, repeats=1), tmp_path / "run", steps=2, eval_every=None)
    assert len(result.final) == measured
    assert any("1 image of icons is too few" in text for text in notes) == (count == 1)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"metrics": "fid"}, ConfigError, "--extractor inception-v3-compat (with --extractor-weights FILE"),
        ({"metrics": "variance-ratio,modes"}, ConfigError, "--extractor inception-v3-compat"),
        ({"until": "fid<=5"}, UsageError, "--extractor inception-v3-compat"),
        ({"until": "kid<=0.1"}, UsageError, "--extractor inception-v3-compat"),
        ({"metrics": "duplicates", "eval_num": 2}, None, ""),
    ],
)
def test_other_metrics_name_an_extractor_or_the_option(
    tmp_path: Path, settings: dict[str, Any], error: type[Exception] | None, words: str
) -> None:
    data = icons(tmp_path)
    if error is None:
        assert list(run(data, tmp_path / "run", **settings)[0].final) == ["duplicates-pixels"]
        return
    with pytest.raises(error) as caught:
        run(data, tmp_path / "run", **settings)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


def test_arrays_without_an_extractor_are_not_measured_in_silence(tmp_path: Path) -> None:
    np.save(tmp_path / "waves.npy", np.random.default_rng(0).normal(0, 3, (40, 7)).astype(np.float32))
    more = {"generator": "vanilla", "discriminator": "vanilla", "generator.width": 8, "discriminator.width": 8}
    more["eval_every"] = None
    assert not run(tmp_path / "waves.npy", tmp_path / "run", steps=2, **more)[0].final
    with pytest.raises(ConfigError, match="--metrics fid: waves has no extractor"):
        run(tmp_path / "waves.npy", tmp_path / "again", steps=2, metrics="fid", **more)


def test_too_few_images_for_a_requested_metric_name_no_option_of_another_command(tmp_path: Path, blobs: Path) -> None:
    with pytest.raises(DataError) as caught:
        run(blobs, tmp_path / "run", extractor="zoo-grey28", metrics="kid", eval_num=50)
    assert str(caught.value).splitlines() == [
        "50 samples are too few for KID: at least 1,000 are needed",
        "use a larger --eval-num, or --metrics variance-ratio,duplicates",
    ]
