"""The synthetic digits: equal on every machine, varied and legible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aigc_zoo.data.resolve import load
from aigc_zoo.game import Samples
from aigc_zoo.plugins import catalogue
from aigc_zoo_plugins.datasets import digits as module
from aigc_zoo_plugins.datasets.digits import COUNTS, SEEDS, draw
from aigc_zoo_plugins.datasets.glyphs import GLYPHS


@pytest.fixture(scope="module")
def digits() -> dict[str, Samples]:
    return load(catalogue(), "digits")


def test_all_digits_are_equally_frequent(digits: dict[str, Samples]) -> None:
    assert {split: len(samples) for split, samples in digits.items()} == {"train": 12_000, "test": 2_000}
    for samples in digits.values():
        assert samples.spec.shape == (1, 28, 28)
        assert samples.fields["real"].dtype == torch.uint8
        assert samples.classes == tuple("0123456789")
        assert samples.frequencies == (0.1,) * 10
        assert samples.extractor == "zoo/zoo-grey28"


def test_they_are_the_same_on_every_machine(digits: dict[str, Samples]) -> None:
    # Change these digests only together with the drawing: metrics on other digits cannot be compared.
    assert {split: samples.digest[:16] for split, samples in digits.items()} == {
        "train": "a5564b5d8b72099c",
        "test": "45d9c62c00518186",
    }


def test_threads_and_global_seeds_do_not_change_them(digits: dict[str, Samples]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(1)
    np.random.seed(1)
    try:
        again, labels = draw(COUNTS["test"], SEEDS["test"])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.from_numpy(again), digits["test"].fields["real"])
    assert torch.equal(torch.from_numpy(labels), digits["test"].fields["label"])


def test_they_are_drawn_once(digits: dict[str, Samples], monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("drawn a second time")

    load(catalogue(), "digits")  # each test has a separate cache
    monkeypatch.setattr(module, "draw", never)
    again = load(catalogue(), "digits")
    assert {name: one.digest for name, one in again.items()} == {name: one.digest for name, one in digits.items()}


def test_without_a_writable_cache_they_are_drawn_every_time(
    digits: dict[str, Samples], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
    again = load(catalogue(), "digits")
    for split, samples in digits.items():
        assert again[split].digest == samples.digest
        assert torch.equal(again[split].fields["real"], samples.fields["real"])


def test_no_two_images_are_equal(digits: dict[str, Samples]) -> None:
    rows = torch.cat([samples.fields["real"].flatten(1) for samples in digits.values()]).numpy()
    assert len({row.tobytes() for row in rows}) == 14_000


def test_they_are_white_strokes_on_black_away_from_the_edge(digits: dict[str, Samples]) -> None:
    images = digits["train"].fields["real"][:, 0].float() / 255
    ink = images.mean((1, 2))
    assert 0.02 < float(ink.min()) < 0.06 < 0.25 < float(ink.max()) < 0.45
    assert 0.12 < float(images.mean()) < 0.17  # MNIST: 0.1307
    assert bool((images.amax((1, 2)) > 0.75).all())
    edge = torch.cat((images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]), 1)
    assert float((edge.amax(1) > 0).float().mean()) < 0.05
    assert float(images[:, :, :14].mean() - images[:, :, 14:].mean()) < 0.02  # they are not all on one side


def test_a_linear_classifier_reads_them(digits: dict[str, Samples]) -> None:
    """Ridge regression on the pixels, which reaches 85 % on MNIST, shows that digits are legible and varied."""

    def features(samples: Samples) -> torch.Tensor:
        pixels = samples.fields["real"].flatten(1).double() / 255
        return torch.cat((pixels, torch.ones(len(pixels), 1)), 1)

    x, labels = features(digits["train"]), digits["train"].fields["label"]
    weights = torch.linalg.solve(x.T @ x + 10 * torch.eye(785), x.T @ torch.nn.functional.one_hot(labels, 10).double())
    found = (features(digits["test"]) @ weights).argmax(1)
    accuracy = float((found == digits["test"].fields["label"]).float().mean())
    assert 0.75 < accuracy < 0.99
    per_class = [float((found[digits["test"].fields["label"] == digit] == digit).float().mean()) for digit in range(10)]
    assert min(per_class) > 0.6


def test_each_digit_has_several_glyphs() -> None:
    assert len(GLYPHS) == 10
    assert all(len(glyphs) >= 3 for glyphs in GLYPHS)
