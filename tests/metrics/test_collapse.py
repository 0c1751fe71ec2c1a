"""Worse samples read worse by every metric, a planted collapse and planted copies are found, real samples are not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from aigc_zoo.data.samples import image_samples
from aigc_zoo.game import Samples
from aigc_zoo.metrics.coverage import density_coverage, duplicate_rate, nearest, training_gap
from aigc_zoo.metrics.evaluate import Evaluator
from aigc_zoo.metrics.features import coordinates, load_extractor
from aigc_zoo.metrics.kinds import KINDS, groups_of, warnings
from aigc_zoo.plugins import catalogue
from aigc_zoo.random import generator
from aigc_zoo.run.monitor import TrainingWarnings
from aigc_zoo_plugins.datasets.points import ring
from aigc_zoo_plugins.datasets.stacked import stacked

pytestmark = pytest.mark.usefixtures("cache")

EXTRACTORS = ["zoo-grey28", pytest.param("zoo-rgb32", marks=pytest.mark.real_data)]
GROUPS = ("fid", "kid", "isc", "prc", "dac", "variance-ratio", "duplicates")


@pytest.fixture
def pictures(name: str, digits: tuple[Tensor, Tensor], request: pytest.FixtureRequest) -> Tensor:
    """1,200 pictures of the kind that an extractor was trained for: drawn digits, or photographs."""
    if name == "zoo-grey28":
        return digits[0]
    test: Tensor = request.getfixturevalue("cifar10")["test"].fields["real"]
    return test[torch.randperm(len(test), generator=generator("photographs"))[:1_200]]


def judge_of(name: str, reference: Tensor, held_out: Tensor | None = None, **more: object) -> Evaluator:
    extractor = load_extractor(catalogue(), name)
    samples = image_samples("digits", "train", reference)
    other = None if held_out is None else image_samples("digits", "test", held_out)
    return Evaluator(extractor, samples, num=400, held_out=other, allow_few=True, **more)  # type: ignore[arg-type]


def read(evaluator: Evaluator, images: Tensor) -> dict[str, float]:
    records = evaluator.measure([images], weights="files", seed=None, num=len(images))
    return {record["protocol"]["metric"]: float(record["value"]) for record in records}


NOISES = {"zoo-grey28": (40, 60), "zoo-rgb32": (25, 40)}
"""Grey levels: on black, half of the noise is cut off."""


@pytest.mark.parametrize("name", EXTRACTORS)
def test_worse_samples_read_worse_by_every_metric(name: str, pictures: Tensor) -> None:
    """M10 and M7: real < slightly noised < heavily noised < collapsed, by each metric. The generator has collapsed onto
    one picture, the even grey of a tanh that is given nothing."""
    evaluator = judge_of(name, pictures[:400], metrics=GROUPS)
    real = pictures[400:800]
    noise = torch.randn(real.shape, generator=generator("noise"))
    noised = [(real + strength * noise).round().clamp(0, 255).byte() for strength in NOISES[name]]
    found = [read(evaluator, images) for images in (real, *noised, torch.full_like(real, 128))]
    assert set(found[0]) <= set(KINDS)
    assert found[3]["isc"] == pytest.approx(1)
    for metric, kind in KINDS.items():
        if metric not in found[0] or metric == "duplicates":
            continue
        values = [one[metric] for one in found]
        if kind.better == "near":
            values = [abs(value - 1) for value in values]
        assert values == sorted(values, reverse=kind.better == "higher"), (metric, values)
        assert len(set(values)) == 4, (metric, values)
    # Noise makes no copies of anything.
    assert [one["duplicates"] < 0.1 for one in found] == [True, True, True, False]
    assert not warnings(found[0])
    assert {"duplicates", "variance-ratio"} <= set(warnings(found[3]))


@pytest.mark.parametrize("name", EXTRACTORS)
def test_ten_good_pictures_or_one_again_and_again_are_found(name: str, pictures: Tensor) -> None:
    """Precision and density evaluator each sample by itself and cannot see it, and the kernel distance reads the moments of
    ten pictures as nearly the right ones; hence the count of near copies."""
    evaluator = judge_of(name, pictures[:400], metrics=GROUPS)
    real = pictures[400:800]
    noise = torch.randn(real.shape, generator=generator("noise"))
    heavy = (real + NOISES[name][1] * noise).round().clamp(0, 255).byte()
    ten, one = (real[:count].repeat(400 // count, 1, 1, 1) for count in (10, 1))
    good, heavy, ten, one = (read(evaluator, images) for images in (real, heavy, ten, one))
    for metric in ("fid", "kid"):
        assert max(heavy[metric], ten[metric]) < one[metric], metric
    for metric in ("recall", "coverage"):
        assert good[metric] > ten[metric] >= one[metric], metric
    assert heavy["isc"] > one["isc"] == pytest.approx(1)
    assert {"duplicates", "variance-ratio"} <= set(warnings(one))
    assert ten["fid"] > 10 * good["fid"]
    assert ten["kid"] > good["kid"]
    assert ten["recall"] < 0.1 < good["recall"]
    assert ten["coverage"] < 0.3 < good["coverage"]
    assert ten["duplicates"] == 1
    assert "duplicates" in warnings(ten)


def test_a_generator_of_one_digit_lacks_variance(digits: tuple[Tensor, Tensor]) -> None:
    images, labels = digits
    evaluator = judge_of("zoo-grey28", images[:400], metrics=("variance-ratio",))
    for digit in range(10):
        assert "variance-ratio" in warnings(read(evaluator, images[labels == digit][:100])), digit


@pytest.mark.parametrize("name", EXTRACTORS)
def test_a_memoriser_is_found_and_a_generator_of_new_pictures_is_not(name: str, pictures: Tensor) -> None:
    images = pictures
    train, held_out, new = images[:500], images[500:800], images[800:]
    evaluator = judge_of(name, train, held_out, metrics=("memorisation",))
    honest = read(evaluator, new)
    assert honest["gap"] == pytest.approx(1, abs=0.25)
    assert not warnings(honest)
    copied = train[torch.randperm(500, generator=generator("copies"))[:400]]
    hiss = torch.randint(-2, 3, copied.shape, generator=generator("hiss"))
    for copies in (copied, (copied + hiss).clamp(0, 255).byte()):
        assert "gap" in warnings(read(evaluator, copies))


def test_the_nearest_training_picture_of_a_copy_is_its_original(digits: tuple[Tensor, Tensor]) -> None:
    evaluator = judge_of("zoo-grey28", digits[0][:500])
    rows = torch.tensor([7, 123, 400])
    distance, found = nearest(evaluator.extractor.features(digits[0][rows]), evaluator.data.features(), 2)
    assert found[:, 0].tolist() == rows.tolist()
    assert float(distance[:, 0].max()) < 1e-3 < float(distance[:, 1].min())


def test_neighbours_have_their_closed_forms() -> None:
    line = torch.arange(10.0)[:, None]
    # Each of the ten balls reaches the second neighbour; a sample on a point lies in those of its neighbours as well.
    density, covered = density_coverage(line, line, neighbours=1)
    assert covered == 1
    assert density == pytest.approx(1, abs=0.2)
    assert density_coverage(line + 100, line, neighbours=1) == (0, 0)
    assert duplicate_rate(line[[0, 0, 5]], line) == pytest.approx(2 / 3)
    assert training_gap(line[:5], line, line + 0.25) == 0


# --- modes ------------------------------------------------------------------------------------------------------------


def test_points_are_their_own_features() -> None:
    data = ring(Path())["train"]
    evaluator = Evaluator(coordinates(), data, metrics=("modes", "variance-ratio", "duplicates", "dac"))
    assert evaluator.num == 2_500
    assert evaluator.names[:2] == ("modes-points", "kl-points")
    good = read(evaluator, data.fields["real"][:2_500])
    assert good["modes"] == 8
    assert good["kl"] < 0.01
    assert not warnings(good, 8)
    one = data.fields["real"][data.fields["label"] == 0][:2_500]
    stuck = read(evaluator, one)
    assert (stuck["modes"], round(stuck["kl"], 2)) == (1, 2.08)
    assert {"modes", "variance-ratio"} <= set(warnings(stuck, 8))


def digits_as_samples(digits: tuple[Tensor, Tensor]) -> dict[str, Samples]:
    names = [str(digit) for digit in range(10)]
    made = image_samples("digits", "train", *digits, names)
    return {"train": made, "test": made}


def test_stacked_digits_have_a_thousand_modes(digits: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aigc_zoo_plugins.datasets.stacked.COUNTS", {"train": 2_000, "test": 1_000})
    splits = stacked("stacked-digits", digits_as_samples(digits))
    again = stacked("stacked-digits", digits_as_samples(digits))
    assert splits["train"].digest == again["train"].digest != splits["test"].digest
    train = splits["train"]
    assert train.spec.shape == (3, 28, 28)
    assert train.spec.classes == 1_000
    evaluator = Evaluator(load_extractor(catalogue(), "zoo-stacked28"), train, metrics=("modes",), num=1_000)
    good = read(evaluator, splits["test"].fields["real"])
    assert good["modes"] > 970, "the classifier reads nearly all stacks of real digits"
    assert good["kl"] < 0.1
    only_ones = splits["test"].fields["real"][splits["test"].fields["label"] < 100]
    stuck = read(evaluator, only_ones)
    assert stuck["modes"] <= 110
    assert stuck["kl"] > 2


def test_a_group_that_cannot_be_measured_says_why(digits: tuple[Tensor, Tensor]) -> None:
    evaluator = judge_of("zoo-grey28", digits[0][:300])
    assert "no labels" in evaluator.can("modes")
    assert "no held-out split" in evaluator.can("memorisation")
    assert "no classifier" in Evaluator(coordinates(), ring(Path())["train"], metrics=()).can("isc")
    assert groups_of(("recall", "kid", "prc")) == ("prc", "kid")


# --- while training ---------------------------------------------------------------------------------------------------


def test_a_warning_is_given_once_until_it_comes_back() -> None:
    watch = TrainingWarnings()
    assert len(watch.of_samples({"duplicates-x": 0.5}, None)) == 1
    assert watch.of_samples({"duplicates-x": 0.6}, None) == []
    assert watch.of_samples({"duplicates-x": 0.01}, None) == []
    assert len(watch.of_samples({"duplicates-x": 0.5, "variance-ratio-x": 0.1}, None)) == 2


def test_a_saturated_discriminator_is_told_after_three_logs() -> None:
    watch, sure = (
        TrainingWarnings(),
        {"critic/loss": 1e-4, "critic/_real": 6.0, "critic/_fake": -6.0, "generator/loss": 9.0},
    )
    assert [len(watch.of_terms(sure)) for _ in range(5)] == [0, 0, 1, 0, 0]
    fair = {**sure, "critic/loss": 1.2}
    assert [len(watch.of_terms(one)) for one in (fair, sure, sure, sure)] == [0, 0, 0, 1]
    unbounded = {"critic/loss": -12.0, "critic/_real": 6.0, "critic/_fake": -6.0}
    assert not any(TrainingWarnings().of_terms(unbounded) for _ in range(5))
