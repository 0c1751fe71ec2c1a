"""Real datasets: the exact bytes of MNIST, a zip of 60,000 JPEG files, spoken digits, and a long text."""

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


def test_the_zip_of_spoken_digits_becomes_sounds(zoo_data: Path) -> None:
    splits = load(catalogue(), str(zoo_data / "fsdd.zip"))
    assert list(splits) == ["train"]
    samples = splits["train"]
    assert (samples.spec.modality, samples.spec.rate, samples.spec.shape) == ("audio", 8_000.0, (1, 8_192))
    assert len(samples) == 3_002, "two of the 3,000 recordings are longer than two samples"
    assert samples.classes == (), "names such as 0_george_0.wav are no classes"
    assert samples.resize == "cut or padded to 8192 samples"
    assert samples.notes == (
        "fsdd: left out 2.49 s at the ends of 17 recordings, after the last whole sample of 1.02 s (--data.seconds)",
    )
    batch = Pool(samples, "cpu").batch(0, 0, 64)
    assert batch["real"].shape == (64, 1, 8_192)
    assert 0.01 < float(batch["real"].std()) < 0.5


def test_shakespeare_becomes_lines_or_windows(zoo_data: Path) -> None:
    path = str(zoo_data / "tinyshakespeare.txt")
    lines = load(catalogue(), path)["train"]
    assert (len(lines), lines.spec.shape, len(lines.spec.symbols), lines.notes) == (32_777, (63,), 65, ())
    windows = load(catalogue(), path, options={"length": 64})["train"]
    assert (len(windows), windows.spec.shape, len(windows.spec.symbols)) == (17_428, (64,), 66)
    content = (zoo_data / "tinyshakespeare.txt").read_text().rstrip("\n")
    shown = "".join(windows.spec.symbols[i] for i in windows.fields["real"][:100].flatten().tolist())
    assert shown == content[: len(shown)]
    assert windows.notes == ("tinyshakespeare: left out 1 character after the last whole window of 64 (--data.length)",)
