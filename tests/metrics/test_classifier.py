"""Classifiers count modes only of data whose classes they were trained on: by name, and recognized in fact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aigc_zoo.data.modalities import modality_of_extractor
from aigc_zoo.data.samples import image_samples
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Samples
from aigc_zoo.metrics.classifier import unfit_reason
from aigc_zoo.metrics.evaluate import Evaluator
from aigc_zoo.metrics.features import Extractor, load_extractor
from aigc_zoo.plugins import catalogue
from aigc_zoo.random import generator
from aigc_zoo.spec import Component

pytestmark = pytest.mark.usefixtures("cache")

SHADES = ("black", "dark", "light", "white")


class Shade(nn.Module):
    """A classifier of four shades of 4x4 images by their mean."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        mean = images.float().mean((1, 2, 3))
        centres = torch.tensor([0.0, 85.0, 170.0, 255.0])
        return {"features": mean[:, None], "logits": -(mean[:, None] - centres).abs()}


def shade(classes: tuple[str, ...] = SHADES) -> Extractor:
    return Extractor("acme/shade", "shade", Shade(), "shade", torch.device("cpu"), {"torch": "1"}, classes=classes)


def shades(labels: list[int], classes: tuple[str, ...], values: dict[str, int]) -> Samples:
    """4x4 images of one value; `values` are those of the classes by name."""
    images = torch.tensor([values[classes[label]] for label in labels], dtype=torch.uint8)
    images = images[:, None, None, None].expand(-1, 1, 4, 4).contiguous()
    return image_samples("shades", "train", images, torch.tensor(labels), classes)


VALUES = {"black": 0, "dark": 85, "light": 170, "white": 255}


def measured(data: Samples, fakes: Tensor, extractor: Extractor) -> dict[str, Any]:
    evaluator = Evaluator(extractor, data, metrics=("modes",), num=len(fakes))
    return {record["protocol"]["metric"]: record for record in evaluator.measure([fakes], weights="raw", seed=0)}


@pytest.mark.parametrize(
    "classes", [SHADES, SHADES[::-1], ("white", "dark", "black"), ("light", "black")], ids=lambda names: " ".join(names)
)
def test_classes_are_matched_by_name_in_any_order_and_may_be_a_part(classes: tuple[str, ...]) -> None:
    data = shades([n % len(classes) for n in range(60)], classes, VALUES)
    images = data.fields["real"]
    found = measured(data, images, shade())
    assert found["modes"]["value"] == found["modes"]["protocol"]["settings"]["of"] == len(classes)
    assert found["kl"]["value"] == pytest.approx(0)
    collapsed = measured(data, images[:1].expand(60, -1, -1, -1), shade())
    assert collapsed["modes"]["value"] == 1
    # A class that the data lack is no mode.
    for name in set(SHADES) - set(classes):
        others = torch.full((60, 1, 4, 4), VALUES[name], dtype=torch.uint8)
        assert measured(data, others, shade())["modes"]["value"] == 0


@pytest.mark.promise("M1", 1, 1)
@pytest.mark.parametrize(
    ("classes", "values", "own", "reason"),
    [
        (("cat", "dog", "cow", "hen"), dict(zip(("cat", "dog", "cow", "hen"), VALUES.values(), strict=True)), SHADES,
         r"4 classes of shades \(cat, dog, cow and 1 more\): it was trained on black, dark, light and 1 more"),
        (("black", "dark", "light", "grey"), VALUES | {"grey": 128}, SHADES, "was trained on"),
        (SHADES, {"black": 255, "dark": 0, "light": 85, "white": 170}, SHADES, "recognizes only 0%"),
        (SHADES, dict.fromkeys(SHADES, 85), SHADES, "recognizes only 25%"),
        (("0", "1"), {"0": 30, "1": 40}, ("0", "1", "2", "3"), "recognizes only 50%"),
        (SHADES, VALUES, (), "it does not state its classes for 4 logits"),
        (SHADES, VALUES, SHADES[:3], "it states 3 classes for 4 logits"),
    ],
    ids=["names", "one name", "permuted", "constant", "numbers", "unstated", "too few"],
)  # fmt: skip
def test_other_classes_of_the_same_number_are_refused(
    classes: tuple[str, ...], values: dict[str, int], own: tuple[str, ...], reason: str, promise: Any
) -> None:
    data = shades([n % len(classes) for n in range(40)], classes, values)
    with pytest.raises(ConfigError, match=rf"--metrics modes: acme/shade does not classify the .*{reason}"):
        Evaluator(shade(own), data, metrics=("modes",), num=10)
    promise.kept(class_lists=1, refused=1)


def test_a_dataset_without_names_and_an_extractor_without_logits_count_no_modes() -> None:
    data = shades([0, 1, 2, 3] * 5, SHADES, VALUES)
    assert "4 classes of shades" in unfit_reason(shade(), replace(data, classes=()), 4)
    assert unfit_reason(replace(shade(()), classes=()), data, 0).endswith("it has no logits")


@pytest.mark.parametrize(
    "names", ["", "t-shirt trouser pullover dress coat sandal shirt sneaker bag boot"], ids=["numbers", "names"]
)
def test_ten_own_classes_are_no_digits(names: str) -> None:
    """The case of a folder of ten classes whose numbers or labels are 0 to 9."""
    extractor = load_extractor(catalogue(), "zoo-grey28")
    labels = torch.arange(200) % 10
    noise = torch.rand(200, 1, 28, 28, generator=generator("own classes"))
    images = (noise * (25 * labels[:, None, None, None] + 25)).byte()
    data = image_samples("own", "train", images, labels, tuple(names.split()))
    assert "does not classify the 10 classes of own" in unfit_reason(extractor, data, 10)


def test_the_packaged_classifiers_know_their_own_data(digits: tuple[Tensor, Tensor]) -> None:
    extractor = load_extractor(catalogue(), "zoo-grey28")
    data = image_samples("digits", "train", *digits, [str(digit) for digit in range(10)])
    assert unfit_reason(extractor, data, 10) == ""
    some = data.fields["label"] >= 7  # the digits 7, 8 and 9 are a part of its classes
    part = image_samples("some", "train", digits[0][some], digits[1][some] - 7, ("7", "8", "9"))
    assert unfit_reason(extractor, part, 10) == ""
    wrong = image_samples("wrong", "train", digits[0][some], digits[1][some] - 7, ("0", "1", "2"))
    assert "recognizes only" in unfit_reason(extractor, wrong, 10)
    stacked, color = (load_extractor(catalogue(), name).classes for name in ("zoo-stacked28", "zoo-rgb32"))
    assert (stacked[0], stacked[-1], len(stacked)) == ("000", "999", 1_000)
    assert color[:2] == ("airplane", "automobile")


@pytest.mark.real_data
def test_the_colour_classifier_knows_photographs(cifar10: dict[str, Samples]) -> None:
    extractor = load_extractor(catalogue(), "zoo-rgb32")
    assert unfit_reason(extractor, cifar10["test"], 10) == ""
    renamed = replace(cifar10["test"], classes=tuple(f"animal-{n}" for n in range(10)))
    assert "animal-0" in unfit_reason(extractor, renamed, 10)


@pytest.mark.parametrize(
    ("kind", "classes", "reason"),
    [
        ("extractor", ["a"], "tuple of names"),
        ("extractor", ("a", 1), "tuple of names"),
        ("extractor", ("a", ""), "tuple of names"),
        ("extractor", ("a", "b", "a"), "two of its 3 classes"),
        ("loss", ("a",), "only an extractor states classes"),
    ],
)
def test_a_component_states_classes_as_a_tuple_of_names(kind: str, classes: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Component(kind=kind, name="x", target="m:f", summary="s", classes=classes)


@pytest.mark.parametrize(
    ("kind", "modality", "reason"),
    [
        ("extractor", 1, "modality 1 is not"),
        ("extractor", "Images", "modality 'Images' is not"),
        ("extractor", "a/b/c", "is not '\\[namespace/\\]name' of a modality"),
        ("loss", "image", "only an extractor states a modality, not a loss"),
    ],
)
def test_an_extractor_states_its_modality_by_id(kind: str, modality: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Component(kind=kind, name="x", target="m:f", summary="s", modality=modality)


def test_the_modality_of_an_extractor_is_that_of_specs_unless_it_states_another() -> None:
    def stating(modality: str) -> str:
        component = Component(kind="extractor", name="x", target="m:f", summary="s", modality=modality)
        return modality_of_extractor(catalogue(), replace(entry, component=component))

    entry = catalogue().find("extractor", "zoo-grey28").entry
    assert [stating(modality) for modality in ("", "image", "zoo/audio")] == ["image", "image", "audio"]
    with pytest.raises(ConfigError, match="unknown modality"):
        stating("scans")
    assert load_extractor(catalogue(), "zoo-grey28").modality == "image"
