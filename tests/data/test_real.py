"""Real datasets: the exact bytes of MNIST, and a zip of 60,000 JPEG files."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from opened import open_path

from aigc_zoo.data.pool import Pool
from aigc_zoo.data.resolve import load
from aigc_zoo.game import Samples
from aigc_zoo.plugins import catalogue

pytestmark = pytest.mark.real_data


def test_mnist_has_the_published_content(zoo_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_DATA", str(zoo_data))
    splits = load(catalogue(), "mnist")
    assert {split: len(samples) for split, samples in splits.items()} == {"train": 60_000, "test": 10_000}
    train = splits["train"].fields["real"]
    assert train.shape == (60_000, 1, 28, 28)
    head = b"".join(number.to_bytes(4) for number in (2051, 60_000, 28, 28))
    assert hashlib.md5(head + train.numpy().tobytes()).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"
    assert float(train.float().mean()) / 255 == pytest.approx(0.1307, abs=5e-5)
    assert float(train.float().std()) / 255 == pytest.approx(0.3081, abs=5e-5)
    assert splits["train"].fields["label"][:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert splits["train"].extractor == "zoo/zoo-grey28"
    by_path = open_path(zoo_data / "mnist")
    assert {split: samples.digest for split, samples in by_path.items()} == {
        split: samples.digest for split, samples in splits.items()
    }


def test_the_zip_of_60000_files_becomes_a_pool(
    zoo_data: Path, cifar10: Mapping[str, Samples], cifar10_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = cifar10
    assert {split: len(samples) for split, samples in splits.items()} == {"train": 50_000, "test": 10_000}
    for samples in splits.values():
        assert samples.spec.shape == (3, 32, 32)
        assert samples.fields["real"].dtype == torch.uint8
        assert len(samples.classes) == 10
        assert samples.frequencies == (0.1,) * 10
        assert samples.resize == "none"
    assert splits["train"].classes[:3] == ("airplane", "automobile", "bird")
    monkeypatch.setenv("ZOO_CACHE", str(cifar10_cache))
    started = time.perf_counter()
    again = open_path(zoo_data / "cifar10-jpeg.zip")
    assert time.perf_counter() - started < 1
    assert {split: samples.digest for split, samples in again.items()} == {
        split: samples.digest for split, samples in splits.items()
    }
    batch = Pool(again["train"], "cpu").batch(0, 0, 64)
    assert batch["real"].shape == (64, 3, 32, 32)
    assert 0.3 < float(batch["real"].std()) < 0.7
