"""Worse samples have worse values in every metric; collapse and memorization are detected, real samples are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from aigc_zoo.data.samples import image_samples
from aigc_zoo.game import Samples, Spec
from aigc_zoo.metrics.evaluate import Evaluator
from aigc_zoo.metrics.features import load_extractor
from aigc_zoo.metrics.known import installed
from aigc_zoo.plugins import catalogue
from aigc_zoo.random import generator
from aigc_zoo.run.held_out import nearest_rows
from aigc_zoo.run.monitor import TrainingWarnings
from aigc_zoo_plugins.datasets.points import ring
from aigc_zoo_plugins.datasets.stacked import stacked
from aigc_zoo_plugins.metrics.neighbours import density_coverage, near_duplicates, training_gap

pytestmark = pytest.mark.usefixtures("cache")

EXTRACTORS = ["zoo-grey28", pytest.param("zoo-rgb32", marks=pytest.mark.real_data)]
GROUPS = ("fid", "kid", "isc", "prc", "dac", "variance-ratio", "duplicates")


@pytest.fixture
def images(name: str, digits: tuple[Tensor, Tensor], request: pytest.FixtureRequest) -> Tensor:
    """1,200 images of the domain that an extractor was trained on: drawn digits or photographs."""
    if name == "zoo-grey28":
        return digits[0]
    test: Tensor = request.getfixturevalue("cifar10")["test"].fields["real"]
    return test[torch.randperm(len(test), generator=generator("photographs"))[:1_200]]


def evaluator_of(name: str, reference: Tensor, held_out: Tensor | None = None, **more: object) -> Evaluator:
    extractor = load_extractor(catalogue(), name)
    samples = image_samples("digits", "train", reference)
    test = None if held_out is None else image_samples("digits", "test", held_out)
    return Evaluator(extractor, samples, num=400, held_out=test, allow_few=True, **more)  # type: ignore[arg-type]


def evaluator_of_points(data: Samples, *metrics: str) -> Evaluator:
    return Evaluator(load_extractor(catalogue(), "points"), data, metrics=metrics)


class Measured(dict[str, float]):
    """Values by metric, with the warnings about them."""

    def __init__(self, records: list[dict[str, Any]]) -> None:
        super().__init__({record["protocol"]["metric"]: float(record["value"]) for record in records})
        self.warnings = installed().warnings(records)


def measure(evaluator: Evaluator, images: Tensor) -> Measured:
    return Measured(evaluator.measure([images], weights="files", seed=None, num=len(images)))


NOISES = {"zoo-grey28": (40, 60), "zoo-rgb32": (25, 40)}
"""Standard deviations in grey levels: on a black background half of the noise is clipped."""


@pytest.mark.parametrize("name", EXTRACTORS)
def test_worse_samples_have_worse_values_in_every_metric(name: str, images: Tensor) -> None:
    """M10 and M7: real < slightly noisy < very noisy < collapsed in each metric.

    The collapsed generator returns one uniformly grey image, as an untrained tanh does.
    """
    evaluator = evaluator_of(name, images[:400], metrics=GROUPS)
    real = images[400:800]
    noise = torch.randn(real.shape, generator=generator("noise"))
    noisy = [(real + strength * noise).round().clamp(0, 255).byte() for strength in NOISES[name]]
    found = [measure(evaluator, one) for one in (real, *noisy, torch.full_like(real, 128))]
    assert set(found[0]) <= set(installed().values)
    assert found[3]["isc"] == pytest.approx(1)
    for metric, info in installed().values.items():
        if metric not in found[0] or metric == "duplicates":
            continue
        values = [one[metric] for one in found]
        if info.better == "near":
            values = [abs(value - 1) for value in values]
        assert values == sorted(values, reverse=info.better == "higher"), (metric, values)
        assert len(set(values)) == 4, (metric, values)
    # Noisy images are not near-duplicates.
    assert [one["duplicates"] < 0.1 for one in found] == [True, True, True, False]
    assert not found[0].warnings
    assert {"duplicates", "variance-ratio"} <= set(found[3].warnings)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_generators_that_repeat_ten_images_or_one_are_detected(name: str, images: Tensor) -> None:
    """Repetition is invisible to some metrics, which is why near-duplicates are counted.

    Precision and density evaluate each sample by itself, and the moments that KID compares are nearly right.
    """
    evaluator = evaluator_of(name, images[:400], metrics=GROUPS)
    real = images[400:800]
    noise = torch.randn(real.shape, generator=generator("noise"))
    heavy = (real + NOISES[name][1] * noise).round().clamp(0, 255).byte()
    ten, one = (real[:count].repeat(400 // count, 1, 1, 1) for count in (10, 1))
    good, heavy, ten, one = (measure(evaluator, repeated) for repeated in (real, heavy, ten, one))
    for metric in ("fid", "kid"):
        assert max(heavy[metric], ten[metric]) < one[metric], metric
    for metric in ("recall", "coverage"):
        assert good[metric] > ten[metric] >= one[metric], metric
    assert heavy["isc"] > one["isc"] == pytest.approx(1)
    assert {"duplicates", "variance-ratio"} <= set(one.warnings)
    assert ten["fid"] > 10 * good["fid"]
    assert ten["kid"] > good["kid"]
    assert ten["recall"] < 0.1 < good["recall"]
    assert ten["coverage"] < 0.3 < good["coverage"]
    assert ten["duplicates"] == 1
    assert "duplicates" in ten.warnings


def test_a_generator_of_one_digit_has_low_variance(digits: tuple[Tensor, Tensor]) -> None:
    images, labels = digits
    evaluator = evaluator_of("zoo-grey28", images[:400], metrics=("variance-ratio",))
    for digit in range(10):
        assert "variance-ratio" in measure(evaluator, images[labels == digit][:100]).warnings, digit


@pytest.mark.parametrize("name", EXTRACTORS)
def test_memorized_training_images_are_detected_and_new_images_are_not(name: str, images: Tensor) -> None:
    train, held_out, new = images[:500], images[500:800], images[800:]
    evaluator = evaluator_of(name, train, held_out, metrics=("memorization",))
    unseen = measure(evaluator, new)
    assert unseen["gap"] == pytest.approx(1, abs=0.25)
    assert not unseen.warnings
    memorized = train[torch.randperm(500, generator=generator("copies"))[:400]]
    noise = torch.randint(-2, 3, memorized.shape, generator=generator("hiss"))
    for copies in (memorized, (memorized + noise).clamp(0, 255).byte()):
        assert "gap" in measure(evaluator, copies).warnings


def test_the_nearest_training_image_of_a_copy_is_its_original(digits: tuple[Tensor, Tensor]) -> None:
    evaluator = evaluator_of("zoo-grey28", digits[0][:500])
    rows = torch.tensor([7, 123, 400])
    assert evaluator.extractor is not None
    found = nearest_rows(evaluator.extractor.features(digits[0][rows]), evaluator.data.features(), 2)
    assert found[:, 0].tolist() == rows.tolist()
    assert (found[:, 1] != found[:, 0]).all()


def test_density_coverage_duplicates_and_gap_match_closed_forms() -> None:
    line = torch.arange(10.0)[:, None]
    # Each of the ten balls reaches the nearest neighbour, so a sample on a point is also in its neighbours' balls.
    density, covered = density_coverage(line, line, neighbours=1)
    assert covered == 1
    assert density == pytest.approx(1, abs=0.2)
    assert density_coverage(line + 100, line, neighbours=1) == (0, 0)
    assert near_duplicates(line[[0, 0, 5]], line).rate == pytest.approx(2 / 3)
    assert training_gap(line[:5], line, line + 0.25) == 0


# --- modes ------------------------------------------------------------------------------------------------------------


def test_the_features_of_points_are_their_coordinates() -> None:
    data = ring(Path())["train"]
    evaluator = evaluator_of_points(data, "mixture", "variance-ratio", "duplicates", "dac")
    assert evaluator.num == 2_500
    assert evaluator.names[:2] == ("modes-points", "kl-points")
    good = measure(evaluator, data.fields["real"][:2_500])
    assert good["modes"] == 8
    assert good["kl"] < 0.01
    assert not good.warnings
    one = data.fields["real"][data.fields["label"] == 0][:2_500]
    collapsed = measure(evaluator, one)
    assert (collapsed["modes"], round(collapsed["kl"], 2)) == (1, 2.08)
    assert {"modes", "variance-ratio"} <= set(collapsed.warnings)


def test_modes_are_measured_on_the_entries_of_a_batch_not_on_stored_fields() -> None:
    """A dataset may store its points and labels under any name and in any form."""
    data = ring(Path())["train"]
    decode = data.decode
    stored = replace(
        data,
        fields={"tenths": data.fields["real"] * 10, "kind": data.fields["label"].to(torch.uint8)},
        groups=(("tenths", "kind"),),
        decode=lambda rows, draw: decode({"real": rows["tenths"] / 10, "label": rows["kind"].long()}, draw),
    )
    points = data.fields["real"][:2_500]
    values = [measure(evaluator_of_points(one, "mixture"), points) for one in (data, stored)]
    assert values[0]["modes"] == values[1]["modes"] == 8
    assert values[0]["kl"] == pytest.approx(values[1]["kl"])


def digits_as_samples(digits: tuple[Tensor, Tensor]) -> dict[str, Samples]:
    names = [str(digit) for digit in range(10)]
    samples = image_samples("digits", "train", *digits, names)
    return {"train": samples, "test": samples}


def test_stacked_digits_have_a_thousand_modes(digits: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aigc_zoo_plugins.datasets.stacked.COUNTS", {"train": 2_000, "test": 1_000})
    splits = stacked("stacked-digits", digits_as_samples(digits))
    again = stacked("stacked-digits", digits_as_samples(digits))
    assert splits["train"].digest == again["train"].digest != splits["test"].digest
    train = splits["train"]
    assert train.spec.shape == (3, 28, 28)
    assert train.spec.classes == 1_000
    evaluator = Evaluator(load_extractor(catalogue(), "zoo-stacked28"), train, metrics=("modes",), num=1_000)
    good = measure(evaluator, splits["test"].fields["real"])
    assert good["modes"] > 970, "the classifier recognizes nearly all stacks of real digits"
    assert good["kl"] < 0.1
    only_ones = splits["test"].fields["real"][splits["test"].fields["label"] < 100]
    collapsed = measure(evaluator, only_ones)
    assert collapsed["modes"] <= 110
    assert collapsed["kl"] > 2


def test_an_unavailable_group_has_a_reason(digits: tuple[Tensor, Tensor]) -> None:
    evaluator = evaluator_of("zoo-grey28", digits[0][:300])
    assert "no labels" in evaluator.unavailable_reason("modes")
    assert "no held-out split" in evaluator.unavailable_reason("memorization")
    points = evaluator_of_points(ring(Path())["train"])
    assert "not a classifier" in points.unavailable_reason("isc")


def test_groups_are_named_by_their_metrics_and_in_both_spellings() -> None:
    image, point = Spec(shape=(1, 28, 28)), Spec(shape=(2,), modality="points")
    named = installed().named
    assert named(("recall", "kid", "prc"), image) == ("prc", "kid")
    assert named(("memorisation",), image) == named(("memorization", "gap"), image) == ("memorization",)
    assert named(("modes",), image) == ("modes",)
    assert named(("modes",), point) == named(("kl",), point) == ("mixture",)


# --- while training ---------------------------------------------------------------------------------------------------


def records_of(**values: float) -> list[dict[str, Any]]:
    return [{"name": f"{name.replace('_', '-')}-x", "value": value} for name, value in values.items()]


def test_a_warning_is_given_once_until_it_recurs() -> None:
    watch = TrainingWarnings(installed())
    assert len(watch.of_samples(records_of(duplicates=0.5))) == 1
    assert watch.of_samples(records_of(duplicates=0.6)) == []
    assert watch.of_samples(records_of(duplicates=0.01)) == []
    assert len(watch.of_samples(records_of(duplicates=0.5, variance_ratio=0.1))) == 2


def test_a_saturated_discriminator_is_warned_of_after_three_logs() -> None:
    watch = TrainingWarnings(installed())
    sure = {"discriminator/loss": 1e-4, "discriminator/_real": 6.0, "discriminator/_fake": -6.0, "generator/loss": 9.0}
    assert [len(watch.of_terms(sure)) for _ in range(5)] == [0, 0, 1, 0, 0]
    fair = {**sure, "discriminator/loss": 1.2}
    assert [len(watch.of_terms(one)) for one in (fair, sure, sure, sure)] == [0, 0, 0, 1]
    unbounded = {"discriminator/loss": -12.0, "discriminator/_real": 6.0, "discriminator/_fake": -6.0}
    assert not any(TrainingWarnings(installed()).of_terms(unbounded) for _ in range(5))
