"""`zoo eval` of images and runs against each split of a dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aigc_zoo import plugins
from aigc_zoo.run.evaluate import evaluate

RNG = np.random.default_rng(5)
SPLITS = {"train": 90, "val": 40, "test": 50}


def images(count: int) -> np.ndarray:
    """Blobs at random places, uint8 (count, 28, 28)."""
    y, x = np.mgrid[0:28, 0:28]
    centres = RNG.uniform(6, 22, (count, 2, 1, 1))
    return (255 * np.exp(-((y - centres[:, 0]) ** 2 + (x - centres[:, 1]) ** 2) / 18)).astype(np.uint8)


def write(folder: Path, arrays: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("eval")
    arrays = {split: images(count) for split, count in SPLITS.items()}
    for split, array in arrays.items():
        write(root / "data" / split, array)
    return {"root": root, **arrays}


def gap(data: dict[str, Any], source: Path, split: str, metrics: str) -> dict[str, Any]:
    records = evaluate(
        plugins.catalogue(), source, str(data["root"] / "data"), split=split, metrics=(metrics,),
        extractor="zoo-grey28", allow_few=True,
    )  # fmt: skip
    (record,) = [record for record in records if record["name"] == "gap-zoo-grey28"]
    if metrics == "all":
        others = [other for other in records if other is not record and not other["name"].startswith("is-")]
        assert {other["protocol"]["split"] for other in others if other["protocol"]["split"]} == {split}
    else:
        assert records == [record]
    return record


@pytest.mark.parametrize("metrics", ["all", "memorization"])
@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize(
    ("samples", "low", "high"),
    [
        (lambda data: data["train"][:40], 0.0, 0.01),  # memorized
        (lambda data: images(40), 0.5, 2.0),  # as new as held-out ones
        (lambda data: data["test"][:40], 0.5, 2.0),
        (lambda data: 255 - images(40), 2.0, 1e4),
    ],
)
def test_memorization_compares_with_the_training_split_whatever_the_split(
    data: dict[str, Any], tmp_path: Path, samples: Callable[[dict[str, Any]], np.ndarray], low: float, high: float,
    split: str, metrics: str,
) -> None:  # fmt: skip
    record = gap(data, write(tmp_path / "samples", samples(data)), split, metrics)
    assert low <= record["value"] <= high
    assert record["protocol"]["split"] == "train"
    assert record["protocol"]["settings"]["held_out"] == ("test" if split == "train" else split)


def test_a_held_out_split_is_as_new_as_itself(data: dict[str, Any], tmp_path: Path) -> None:
    for split in ("val", "test"):
        record = gap(data, write(tmp_path / split, data[split]), split, "all")
        assert record["value"] == pytest.approx(1.0, abs=1e-5)


def test_the_default_metrics_of_a_held_out_split_are_those_of_the_split(data: dict[str, Any], tmp_path: Path) -> None:
    source = write(tmp_path / "samples", data["test"])
    records = evaluate(
        plugins.catalogue(), source, str(data["root"] / "data"), split="test", extractor="zoo-grey28", allow_few=True
    )
    assert [record["name"] for record in records] == ["fid-zoo-grey28"]
    assert records[0]["protocol"]["split"] == "test"
    assert records[0]["value"] < 1e-3
