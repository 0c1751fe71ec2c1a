"""Values equal those of `torch_fidelity.calculate_metrics`, from PNG folders on, for every extractor."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from aigc_zoo.cli import main
from aigc_zoo.metrics.features import Extractor, concatenate, load_extractor
from aigc_zoo.plugins import catalogue
from aigc_zoo.random import generator
from aigc_zoo_plugins.metrics import fidelity

NAMES = {
    "fid": "frechet_inception_distance",
    "kid": "kernel_inception_distance_mean",
    "isc": "inception_score_mean",
    "precision": "precision",
    "recall": "recall",
}


class Images(Dataset[Tensor]):
    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Tensor:
        return self.images[row]


@contextmanager
def registered(extractor: Extractor) -> Iterator[str]:
    """Register one of our extractors with torch-fidelity; yields its name."""
    from torch_fidelity import register_feature_extractor
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    class Registered(FeatureExtractorBase):  # type: ignore[misc]
        def __init__(self, name: str, features_list: list[str], **_: object) -> None:
            super().__init__(name, features_list)
            self.network = extractor.module

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            output = self.network(images)
            return tuple(output[name] for name in self.features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("features", "logits")

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "logits" if metric == "isc" else "features"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

    name = f"{extractor.name}-{extractor.digest}"
    register_feature_extractor(name, Registered)
    try:
        yield name
    finally:
        del FEATURE_EXTRACTORS_REGISTRY[name]


def theirs(fake: Any, real: Any, count: int, **more: Any) -> dict[str, float]:
    from torch_fidelity import calculate_metrics

    found = calculate_metrics(
        input1=fake, input2=real, fid=True, kid=True, isc=True, prc=True, kid_subset_size=min(1000, count // 2),
        cuda=False, cache=False, save_cpu_ram=True, rng_seed=2020, verbose=False, **more,
    )  # fmt: skip
    return {short: float(found[long]) for short, long in NAMES.items()}


def ours(extractor: Extractor, fake: Tensor, real: Tensor, batch: int = 64) -> dict[str, float]:
    a, b = (concatenate([*extractor.stream([images], batch)]) for images in (fake, real))
    assert a.logits is not None
    precision, recall = fidelity.precision_recall(a.values, b.values)
    return {
        "fid": fidelity.frechet(*(fidelity.statistics(one.values) for one in (a, b))),
        "kid": fidelity.kid_of(a.values, b.values).value,
        "isc": fidelity.inception_score(a.logits).value,
        "precision": precision.value,
        "recall": recall.value,
    }


def fake_and_real(name: str, digits: Tensor) -> tuple[Tensor, Tensor]:
    """300 images that an extractor accepts with a little noise, and 300 without."""
    real, fake = digits[:300], digits[300:600]
    if name == "zoo-rgb32":
        real, fake = (torch.nn.functional.pad(part, [2] * 4).repeat(1, 3, 1, 1) for part in (real, fake))
    noise = 30 * torch.randn(fake.shape, generator=generator("parity"))
    return (fake + noise).round().clamp(0, 255).byte(), real


@pytest.mark.parametrize("name", ["zoo-grey28", "zoo-rgb32"])
def test_our_extractors_have_the_same_values_in_torch_fidelity(name: str, digits: tuple[Tensor, Tensor]) -> None:
    """M8. Both use batches of 64 images, so features and values are the same."""
    extractor = load_extractor(catalogue(), name)
    fake, real = fake_and_real(name, digits[0])
    with registered(extractor) as registered_name:
        wanted = theirs(Images(fake), Images(real), 300, feature_extractor=registered_name, batch_size=64)
    assert ours(extractor, fake, real) == pytest.approx(wanted, rel=1e-9)
    assert wanted["fid"] > 1


@pytest.mark.parametrize("name", ["zoo-grey28", "zoo-rgb32"])
def test_the_batch_size_changes_no_printed_digit(name: str, digits: tuple[Tensor, Tensor]) -> None:
    extractor = load_extractor(catalogue(), name)
    few, many = (ours(extractor, *fake_and_real(name, digits[0]), batch=batch) for batch in (7, 64))
    assert {key: f"{value:.4g}" for key, value in few.items()} == {key: f"{value:.4g}" for key, value in many.items()}


def folder(path: Path, images: Tensor) -> Path:
    path.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path / f"{number:04d}.png")
    return path


def evaluated(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, dict[str, Any]]:
    code = main(["eval", *map(str, words), "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return {record["protocol"]["metric"]: record for record in json.loads(out)["metrics"]}


def compare(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, weights: Path, fake: Tensor, real: Tensor
) -> dict[str, Any]:
    """Compare `zoo eval` with torch-fidelity on the same folders and weights; returns our records."""
    fakes, reals = folder(tmp_path / "fakes", fake), folder(tmp_path / "reals", real)
    found = evaluated(
        capsys, fakes, "--against", reals, "--metrics", "fid,kid,isc,prc", "--extractor", "inception-v3-compat",
        "--extractor-weights", weights, "--allow-few", "--num", len(fake),
    )  # fmt: skip
    wanted = theirs(
        str(fakes), str(reals), len(fake), feature_extractor="inception-v3-compat", batch_size=16,
        feature_extractor_weights_path=str(weights),
    )  # fmt: skip
    for name in ("fid", "isc"):
        assert found[name]["value"] == pytest.approx(wanted[name], rel=1e-6), name
    assert found["kid"]["value"] == pytest.approx(wanted["kid"], abs=1e-7)
    for name in ("precision", "recall"):
        assert found[name]["value"] == pytest.approx(wanted[name], abs=1 / len(fake)), name
    return found


@pytest.mark.nightly
@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore::UserWarning")  # from the data loader of torch-fidelity
def test_inception_has_the_same_values_on_folders_of_photographs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, inception_file: Path, zoo_data: Path
) -> None:
    from opened import open_path

    test = open_path(zoo_data / "cifar10-jpeg.zip")["test"].fields["real"]
    rows = torch.randperm(len(test), generator=generator("photographs"))
    real, fake = test[rows[:150]], test[rows[150:300]]
    noisy = (fake + 20 * torch.randn(fake.shape, generator=generator("n"))).round().clamp(0, 255).byte()
    found = compare(capsys, tmp_path, inception_file, noisy, real)
    assert found["fid"]["protocol"]["few"] is True
    assert found["kid"]["protocol"]["settings"]["subset_size"] == 75


@pytest.mark.nightly
def test_the_fast_inception_is_faster(inception_file: Path) -> None:
    """At least 1.7 times as fast as torch-fidelity's network at its own batch size, measured in alternation."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    fast = load_extractor(catalogue(), "inception-v3-compat", weights=inception_file)
    with torch.random.fork_rng():
        plain = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(inception_file))
    images = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, generator=generator("speed"))
    ratios = []
    for number in range(6):
        seconds = {}
        for which in ("fast", "plain") if number % 2 else ("plain", "fast"):
            start = time.perf_counter()
            if which == "fast":
                fast.extract_features(images)
            else:
                with torch.no_grad():
                    plain(images)
            seconds[which] = time.perf_counter() - start
        ratios.append(seconds["plain"] / seconds["fast"])
    assert statistics.median(ratios) >= 1.7, ratios
