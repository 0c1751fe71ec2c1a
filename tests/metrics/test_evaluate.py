"""The evaluator: its values, its reference, its cache and its errors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from aigc_zoo.data.samples import image_samples, point_samples
from aigc_zoo.errors import ConfigError, DataError, StorageError
from aigc_zoo.game import Samples
from aigc_zoo.metrics.evaluate import NUM, REFERENCE_NUM, Evaluator, dataset_batches, default_num
from aigc_zoo.metrics.features import Extractor
from aigc_zoo.metrics.protocol import differences
from aigc_zoo.metrics.view import SplitView
from aigc_zoo.random import generator
from aigc_zoo_plugins.datasets.digits import digits as all_digits
from aigc_zoo_plugins.metrics.fidelity import Statistics, reference_statistics

from .conftest import Tiny, tiny_extractor, tiny_samples

pytestmark = pytest.mark.usefixtures("cache")


def value(evaluator: Evaluator, images: Tensor) -> float:
    (record,) = evaluator.measure([images], weights="files", seed=None, num=len(images))
    return float(record["value"])


def statistics_of(evaluator: Evaluator) -> Statistics:
    """Mean and covariance of the reference, as FID asks for them."""
    samples = evaluator.generated(lambda: iter(()), num=0)
    return reference_statistics(SplitView(evaluator.extraction, evaluator.reference, samples))


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def evaluator_of_digits(grey28: Extractor, digits: tuple[Tensor, Tensor]) -> Evaluator:
    return Evaluator(grey28, image_samples("digits", "train", digits[0][:600]), num=600)


def test_worse_images_are_further_away(evaluator_of_digits: Evaluator, digits: tuple[Tensor, Tensor]) -> None:
    """M10: real < a little noise < much noise < ten repeated images < one repeated image."""
    real = digits[0][600:]
    noise = torch.randn(real.shape, generator=generator("noise"))
    little, much = ((real + strength * noise).round().clamp(0, 255).byte() for strength in (10, 60))
    ten, one = real[:10].repeat(60, 1, 1, 1), real[:1].repeat(600, 1, 1, 1)
    found = [value(evaluator_of_digits, images) for images in (real, little, much, ten, one)]
    assert found == sorted(found)
    assert found[-1] > 20 * found[0]


def test_samples_of_an_untrained_generator_are_far_away(
    evaluator_of_digits: Evaluator, digits: tuple[Tensor, Tensor]
) -> None:
    """Grey images and static. The README promises that FID falls 20-fold from there."""
    real = value(evaluator_of_digits, digits[0][600:])
    grey = torch.full((600, 1, 28, 28), 127, dtype=torch.uint8)
    static = torch.randint(0, 256, (600, 1, 28, 28), dtype=torch.uint8, generator=generator("static"))
    assert min(value(evaluator_of_digits, grey), value(evaluator_of_digits, static)) > 100 * real


def test_evaluations_are_bit_identical_for_any_chunk_size(
    evaluator_of_digits: Evaluator, digits: tuple[Tensor, Tensor]
) -> None:
    """M5; it also makes evaluation independent of the number of ranks."""
    images = digits[0][600:]
    first = evaluator_of_digits.measure([images], weights="averaged", seed=3)
    again = Evaluator(evaluator_of_digits.extractor, evaluator_of_digits.reference, num=600)
    assert again.measure(images.split(17), weights="averaged", seed=3) == first


def test_evaluating_changes_neither_random_state_nor_modes(
    evaluator_of_digits: Evaluator, digits: tuple[Tensor, Tensor]
) -> None:
    """M6, for the evaluator."""
    state = torch.get_rng_state()
    value(evaluator_of_digits, digits[0][600:])
    assert torch.equal(state, torch.get_rng_state())
    assert torch.is_grad_enabled()
    assert not evaluator_of_digits.extractor.module.training


def test_a_record_has_its_protocol() -> None:
    evaluator = Evaluator(
        tiny_extractor(versions={"torch": "2.15.0"}), replace(tiny_samples(150), resize="crop 4"), num=100
    )
    (record,) = evaluator.measure([tiny_samples(100, seed=1).fields["real"]], weights="averaged", seed=7)
    assert evaluator.names == ("fid-tiny",)
    assert record["name"] == "fid-tiny"
    assert record["value"] > 0
    assert json.loads(json.dumps(record)) == record
    assert record["protocol"] == {
        "metric": "fid",
        "num": 100,
        "shape": [1, 4, 4],
        "resize": "crop 4",
        "extractor": "zoo/tiny",
        "extractor_sha256": "digest-0",
        "batch": 64,
        "reference": "squares",
        "split": "train",
        "reference_num": 150,
        "reference_digest": evaluator.reference.digest,
        "weights": "averaged",
        "seed": 7,
        "versions": {"torch": "2.15.0"},
    }
    (raw,) = evaluator.measure([tiny_samples(100, seed=1).fields["real"]], weights="raw", seed=7, num=90)
    assert differences(record["protocol"], raw["protocol"]) == ["num: 100 against 90", "weights: averaged against raw"]


def test_exactly_the_first_samples_are_used_and_no_more_are_requested() -> None:
    """M3: one more sample changes nothing, one fewer is an error."""
    images = tiny_samples(101, seed=1).fields["real"]

    def costly() -> Iterator[Tensor]:
        yield from images[:100].split(30)
        raise AssertionError("requested more samples than it evaluates")

    evaluator = Evaluator(tiny_extractor(), tiny_samples(), num=100)
    wanted = evaluator.measure([images[:100]], weights="raw", seed=0)
    assert evaluator.measure(costly(), weights="raw", seed=0) == wanted
    assert evaluator.measure([images], weights="raw", seed=0) == wanted
    with pytest.raises(DataError, match="99 samples were given where 100 are needed: pass --num 99"):
        evaluator.measure([images[:99]], weights="raw", seed=0)


def test_progress_is_reported_and_may_stop_an_evaluation() -> None:
    calls: list[tuple[str, int, int]] = []
    evaluator = Evaluator(tiny_extractor(), tiny_samples(200), num=100, progress=lambda *call: calls.append(call))
    evaluator.measure([tiny_samples(100).fields["real"]], weights="raw", seed=0)
    assert calls[:2] == [("samples", 64, 100), ("samples", 100, 100)]
    assert calls[2:] == [("squares train", done, 200) for done in (64, 128, 192, 200)]

    def stop(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        statistics_of(Evaluator(tiny_extractor(), tiny_samples(seed=5), num=100, progress=stop))


# --- the reference ----------------------------------------------------------------------------------------------------


def test_all_images_come_in_stored_order() -> None:
    samples = tiny_samples(150)
    assert torch.equal(torch.cat([*dataset_batches(samples)]), samples.fields["real"])
    assert torch.equal(torch.cat([*dataset_batches(samples, 1_000)]), samples.fields["real"])


def test_a_subset_is_fixed_and_has_all_classes() -> None:
    """The first rows of a folder of classes would all be of one class."""
    images = torch.arange(250, dtype=torch.uint8)[:, None, None, None].expand(250, 1, 4, 4)
    samples = image_samples("sorted", "train", images.contiguous())
    chosen, again = (torch.cat([*dataset_batches(samples, 100)])[:, 0, 0, 0].tolist() for _ in range(2))
    assert chosen == again == sorted(set(chosen))
    assert len(chosen) == 100
    assert all(sum(start <= row < start + 50 for row in chosen) >= 10 for start in range(0, 250, 50))


def test_the_reference_can_be_a_subset() -> None:
    evaluator = Evaluator(tiny_extractor(), tiny_samples(200), num=100, reference_num=120)
    (record,) = evaluator.measure([tiny_samples(100).fields["real"]], weights="raw", seed=0)
    assert record["protocol"]["reference_num"] == len(evaluator.data.features()) == 120


def test_default_counts_depend_on_the_extractor() -> None:
    assert default_num(128) == NUM == 2_048
    assert default_num(2_048) == 4_096
    evaluator = Evaluator(tiny_extractor(), tiny_samples(200))
    assert (evaluator.num, evaluator.reference_num) == (2_048, 200)
    assert REFERENCE_NUM == 60_000


# --- errors -----------------------------------------------------------------------------------------------------------


def test_an_evaluator_that_does_not_fit_is_refused_when_it_is_built() -> None:
    colour = image_samples("colour", "train", torch.zeros(20, 3, 4, 4, dtype=torch.uint8))
    with pytest.raises(ConfigError, match="zoo/tiny does not accept these images: only 4x4"):
        Evaluator(tiny_extractor(), colour)
    with pytest.raises(ConfigError, match="accepts images, and ring holds points"):
        Evaluator(tiny_extractor(), point_samples("ring", "train", torch.randn(20, 2, generator=generator("ring"))))
    with pytest.raises(DataError, match=r"8 samples are too few .* at least 9 (.|\n)*--num"):
        Evaluator(tiny_extractor(), tiny_samples(), num=8)
    with pytest.raises(DataError, match="8 images of squares are too few"):
        Evaluator(tiny_extractor(), tiny_samples(8), num=100)
    assert Evaluator(tiny_extractor(), tiny_samples(9), num=9).num == 9


def test_samples_of_another_shape_are_refused() -> None:
    evaluator = Evaluator(tiny_extractor(), tiny_samples(), num=10)
    with pytest.raises(ConfigError, match="3x4x4 cannot be compared with data of 1x4x4: pass --size"):
        evaluator.measure([torch.zeros(10, 3, 4, 4, dtype=torch.uint8)], weights="raw", seed=0)


# --- the cache --------------------------------------------------------------------------------------------------------


def extractions(extractor: Extractor, samples: Samples, **settings: int) -> int:
    """Number of reference images whose features a new evaluator extracts."""
    extracted = [0]
    evaluator = Evaluator(
        extractor, samples, num=100, progress=lambda what, done, total: extracted.append(done), **settings
    )
    statistics_of(evaluator)
    assert len(evaluator.data.features()) == evaluator.reference_num
    return extracted[-1]


def test_statistics_are_computed_once(cache: Path) -> None:
    assert extractions(tiny_extractor(), tiny_samples()) == 200
    assert extractions(tiny_extractor(), tiny_samples()) == 0
    assert extractions(tiny_extractor(), tiny_samples(name="a copy of it")) == 0
    for folder in ("statistics", "features"):
        assert [path.suffix for path in (cache / folder).iterdir()] == [".safetensors"]


@pytest.mark.parametrize(
    "other",
    [
        lambda: (tiny_extractor(), tiny_samples(seed=1), {}),
        lambda: (tiny_extractor(), tiny_samples(split="test"), {}),
        lambda: (tiny_extractor(), tiny_samples(), {"reference_num": 120}),
        lambda: (tiny_extractor(), replace(tiny_samples(), resize="crop 4"), {}),
        lambda: (tiny_extractor(1), tiny_samples(), {}),
        lambda: (tiny_extractor(versions={"torch": "2"}), tiny_samples(), {}),
    ],
    ids=["digest", "split", "num", "resize", "extractor", "versions"],
)
def test_a_change_of_any_input_recomputes_statistics(
    other: Callable[[], tuple[Extractor, Samples, dict[str, int]]],
) -> None:
    """M4: six inputs, six cache misses."""
    extractions(tiny_extractor(), tiny_samples())
    extractor, samples, settings = other()
    assert extractions(extractor, samples, **settings) == settings.get("reference_num", 200)
    assert extractions(tiny_extractor(), tiny_samples()) == 0


@pytest.mark.parametrize("damage", ["flip", "cut", "text", "other"])
def test_a_damaged_cache_file_is_replaced(damage: str, cache: Path) -> None:
    evaluator = Evaluator(tiny_extractor(), tiny_samples(), num=100)
    wanted = statistics_of(evaluator)
    (path,) = (cache / "statistics").iterdir()
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-5] ^= 1
    elif damage == "cut":
        del data[-9:]
    elif damage == "text":
        data = bytearray(b"not tensors")
    else:  # intact, but with other statistics
        extractions(tiny_extractor(), tiny_samples(seed=1))
        (other,) = set((cache / "statistics").iterdir()) - {path}
        data = bytearray(other.read_bytes())
    path.write_bytes(data)
    for features in (cache / "features").iterdir():
        features.write_bytes(data)
    assert extractions(tiny_extractor(), tiny_samples()) == 200
    found = statistics_of(Evaluator(tiny_extractor(), tiny_samples(), num=100))
    assert torch.equal(found.mu, wanted.mu)
    assert torch.equal(found.sigma, wanted.sigma)
    assert extractions(tiny_extractor(), tiny_samples()) == 0


def test_evaluation_works_without_a_writable_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr("aigc_zoo.artefacts.checkpoint.save", full)
    assert extractions(tiny_extractor(), tiny_samples()) == 200
    assert extractions(tiny_extractor(), tiny_samples()) == 200


def test_cached_statistics_give_bit_identical_values() -> None:
    images = tiny_samples(100, seed=1).fields["real"]
    first, second = (value(Evaluator(tiny_extractor(), tiny_samples(), num=100), images) for _ in range(2))
    assert first == second


def test_any_module_can_be_an_extractor() -> None:
    """A plugin may return any module that maps uint8 images to features."""
    assert Tiny()(torch.zeros(3, 1, 4, 4, dtype=torch.uint8))["features"].shape == (3, 8)


@pytest.mark.slow
def test_cached_statistics_are_at_least_twenty_times_faster(grey28: Extractor) -> None:
    """Mean and covariance of 12,000 digits, from the data and from the cache."""
    data = all_digits(Path())["train"]
    seconds = []
    for _ in range(2):
        evaluator = Evaluator(grey28, data)
        start = time.perf_counter()
        statistics_of(evaluator)
        seconds.append(time.perf_counter() - start)
    assert seconds[0] > 20 * seconds[1], seconds
