"""Data that repeat by nature: alarms are relative to what as many real samples show."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from aigc_zoo.data.samples import image_samples, point_samples
from aigc_zoo.game import Samples
from aigc_zoo.metrics.evaluate import Evaluator
from aigc_zoo.metrics.features import Extractor, load_extractor
from aigc_zoo.metrics.known import installed
from aigc_zoo.plugins import catalogue
from aigc_zoo.random import generator
from aigc_zoo_plugins.datasets.points import ring
from aigc_zoo_plugins.metrics.modes import expected_missing
from aigc_zoo_plugins.metrics.neighbours import density_coverage, near_duplicates, training_gap

pytestmark = pytest.mark.usefixtures("cache")

GROUPS = ("variance-ratio", "duplicates")


def draws(rows: Tensor, count: int, seed: str) -> Tensor:
    """`count` rows at random, with replacement."""
    return rows[torch.randint(len(rows), (count,), generator=generator(seed))]


def noisy(images: Tensor, grey_levels: float) -> Tensor:
    noise = torch.randn(images.shape, generator=generator("noise", int(grey_levels)))
    return (images + grey_levels * noise).round().clamp(0, 255).byte()


def flags(evaluator: Evaluator, samples: Tensor) -> set[str]:
    records = evaluator.measure([samples], weights="files", seed=None, num=len(samples))
    assert all("data" in record for record in records if record["protocol"]["metric"] in GROUPS)
    return set(installed().warnings(records))


@pytest.fixture(params=["zoo-grey28", "pixels"])
def extractor(request: pytest.FixtureRequest) -> Extractor:
    return load_extractor(catalogue(), request.param)


@pytest.mark.promise("M2", 1, 10)
@pytest.mark.parametrize("repeats", [2, 5, 24])
def test_icons_that_repeat_are_no_collapse(
    extractor: Extractor, digits: tuple[Tensor, Tensor], repeats: int, promise: Any
) -> None:
    icons = digits[0][: 480 // repeats]
    data = image_samples("icons", "train", icons.repeat_interleave(repeats, 0))
    evaluator = Evaluator(extractor, data, metrics=GROUPS, num=400)
    few = icons[: max(1, len(icons) // 8)]
    for trial in range(promise.count):
        real, collapsed = draws(icons, 400, f"real {trial}"), draws(few, 400, f"few {trial}")
        for noise in (0, 1):
            assert flags(evaluator, noisy(real, noise)) == set()
            assert "duplicates" in flags(evaluator, noisy(collapsed, noise))
    promise.kept(real_draws=2 * promise.count, alarms=0, collapses=2 * promise.count, noticed=2 * promise.count)
    assert flags(evaluator, icons[:1].expand(400, -1, -1, -1)) >= {"variance-ratio"}


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_part_of_the_data_may_repeat(digits: tuple[Tensor, Tensor], extractor: Extractor, share: float) -> None:
    count = int(600 * share)
    mixed = torch.cat((digits[0][: count // 10].repeat(10, 1, 1, 1), digits[0][600 : 1_200 - count]))
    fresh = torch.cat((draws(digits[0][: count // 10], count, "part"), digits[0][600 : 1_200 - count]))
    evaluator = Evaluator(extractor, image_samples("mixed", "train", mixed), metrics=GROUPS, num=len(mixed))
    assert flags(evaluator, fresh) == set()
    assert "duplicates" in flags(evaluator, draws(digits[0][:20], len(mixed), "few"))


def test_points_that_repeat_are_no_collapse() -> None:
    """A grid of 100 places, as integer coordinates or categories give."""
    places = torch.cartesian_prod(torch.arange(10.0), torch.arange(10.0))
    data = point_samples("places", "train", places.repeat(20, 1))
    evaluator = Evaluator(load_extractor(catalogue(), "points"), data, metrics=GROUPS, num=1_000)
    assert flags(evaluator, draws(places, 1_000, "real")) == set()
    assert "duplicates" in flags(evaluator, draws(places[::17], 1_000, "few"))


def test_values_of_data_that_do_not_repeat_are_those_of_the_definition() -> None:
    for seed in range(3):
        reference, generated = (torch.randn(300, 6, generator=generator("plain", seed, n)) for n in range(2))
        generated[:20] = generated[20:40]
        found = near_duplicates(generated, reference)
        apart, own = (
            torch.cdist(x.double(), x.double()).fill_diagonal_(torch.inf).min(1).values for x in (reference, generated)
        )
        assert found.rate == float((own <= apart.quantile(0.01)).double().mean())
        assert found.data == pytest.approx(0.01, abs=0.005)
        assert found.crowding == 1.0


def test_coverage_of_repeated_features_counts_equal_samples(digits: tuple[Tensor, Tensor]) -> None:
    features = load_extractor(catalogue(), "zoo-grey28").features(digits[0][:20]).repeat(24, 1)
    assert density_coverage(features[:200], features)[1] == 1
    assert density_coverage(features[::20], features)[1] == pytest.approx(1 / 20)
    assert density_coverage(features + 50, features) == (0, 0)


def test_held_out_samples_that_repeat_training_samples_are_no_memorization(digits: tuple[Tensor, Tensor]) -> None:
    features = load_extractor(catalogue(), "zoo-grey28").features(digits[0]).double()
    icons, new = features[:40], features[40:]
    train, held_out = icons.repeat(20, 1), icons.repeat(3, 1)
    assert training_gap(draws(icons, 100, "gap"), train, held_out) == 1
    assert training_gap(draws(icons, 100, "gap") + 1e-3, train, held_out) == 1
    assert training_gap(new + 30, train, held_out) > 5
    # Where only few held-out samples repeat training samples, copies are still memorization.
    leak = torch.cat((icons[:10], new[:50]))
    assert training_gap(draws(icons, 100, "gap"), train, leak) < 0.01
    assert training_gap(new[50:150], train, leak) == pytest.approx(1, abs=0.3)


# --- modes and variance -----------------------------------------------------------------------------------------------


def test_missing_modes_are_compared_with_those_that_real_samples_miss() -> None:
    counts = torch.full((1_000,), 48)
    missing = expected_missing(counts, 2_048, 48_000, 1)
    drawn = [1_000 - len(torch.randint(1_000, (2_048,), generator=generator("modes", n)).unique()) for n in range(20)]
    assert missing == pytest.approx(sum(drawn) / 20, rel=0.05)
    record: dict[str, Any] = {"name": "modes-x", "protocol": {"settings": {"of": 1_000}}}
    data = {"data": {"value": 1_000 - missing}}
    assert not any(installed().warnings([{**record, **data, "value": 1_000 - one}]) for one in drawn)
    assert "871 in equally many" in installed().warnings([{**record, **data, "value": 700}])["modes"]
    assert installed().warnings([{**record, "value": 999}]), (
        "a record of an earlier version states no value of the data"
    )
    assert expected_missing(torch.tensor([50, 0]), 100, 50, 1) == pytest.approx(1)


@pytest.mark.parametrize("modes", [8, 400])
def test_all_modes_are_expected_where_samples_suffice(modes: int, tmp_path: Any) -> None:
    data: Samples = ring(tmp_path, modes=modes, std=0.001)["train"]
    evaluator = Evaluator(load_extractor(catalogue(), "points"), data, metrics=("mixture",))
    real = data.fields["real"][:2_500]
    first, _ = evaluator.measure([real], weights="files", seed=None)
    assert not installed().warnings([first]), first
    assert (first["value"] == modes) == (modes == 8), "with 6 points for each of 400 modes few have 20"
    if modes == 8:
        seven = data.fields["real"][data.fields["label"] > 0][:2_500]
        assert "modes" in installed().warnings(evaluator.measure([seven], weights="files", seed=None))


def test_the_variance_of_heavy_tails_is_that_of_equally_many_real_samples() -> None:
    """One of a thousand points has nearly all of the variance."""
    points = torch.randn(20_000, 2, generator=generator("tails"))
    points[::1_000] *= 1_000
    evaluator = Evaluator(
        load_extractor(catalogue(), "points"),
        point_samples("tails", "train", points),
        metrics=("variance-ratio",),
        num=200,
    )
    (record,) = evaluator.measure([evaluator.data.features(200)], weights="files", seed=None)
    assert record["value"] == record["data"]["value"]
    assert not installed().warnings([record])
    assert installed().warnings([{**record, "data": {}}]) or record["value"] > 1 / 3


def test_few_samples_and_records_without_a_protocol_give_no_false_alarm() -> None:
    few = {"name": "duplicates-x", "value": 1.0, "data": {"value": 0.6}, "protocol": {"num": 3, "reference_num": 500}}
    assert not installed().warnings([few])
    assert not installed().warnings([{**few, "protocol": {"num": 500, "reference_num": 3}}])
    assert installed().warnings([{**few, "protocol": {"num": 500, "reference_num": 500}}])
    assert installed().warnings([{"name": "duplicates-x", "value": 0.11}])
    assert not installed().warnings(
        [{"name": "duplicates-x", "value": 0.1}, {"name": "variance-ratio-x", "value": None}]
    )
    assert installed().warnings([{"name": "gap-x", "value": 0.2, "data": 7}])
