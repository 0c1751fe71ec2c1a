"""What a dataset of a plugin returns: splits of Samples, or an error that names the dataset and the fault."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from aigc_zoo.data.returned import splits_of
from aigc_zoo.data.samples import point_samples
from aigc_zoo.discovery import Entry
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Samples, Spec
from aigc_zoo.plugins import catalogue
from aigc_zoo.spec import Component

ENTRY = Entry(Component(kind="dataset", name="dots", target="a:b", summary="Dots."), "acme", "aigc-zoo-acme", "1")


def good() -> Samples:
    return point_samples("dots", "train", torch.zeros(4, 2))


def test_splits_of_samples_are_returned_as_they_are() -> None:
    splits = {"train": good(), "test": good()}
    assert splits_of(ENTRY, splits) == splits


@pytest.mark.parametrize("name", ["digits", "ring", "grid", "stacked-digits", "digits-edges"])
def test_first_party_datasets_have_no_fault(name: str) -> None:
    from aigc_zoo.data.resolve import load

    assert "train" in load(catalogue(), name)


@pytest.mark.parametrize(
    "returned", [None, 3, [good()], good(), {0: good()}, dict], ids=["none", "3", "list", "samples", "0", "lambda"]
)
def test_what_is_no_dict_of_splits(returned: Any) -> None:
    with pytest.raises(ConfigError, match=r"dataset acme/dots of aigc-zoo-acme returned a .*, not a dict of Samples"):
        splits_of(ENTRY, returned)


# Values of other types are what these tests are about, hence the ignored type errors.
WRONG = [
    (lambda: None, "a NoneType, not Samples"),
    (lambda: torch.zeros(4, 2), "a Tensor, not Samples"),
    (lambda: replace(good(), name=3), "name is not text"),  # type: ignore[arg-type]
    (lambda: replace(good(), spec=None), "spec is not a Spec"),  # type: ignore[arg-type]
    (lambda: replace(good(), spec=Spec(shape=[2])), "spec is not a Spec with positive"),  # type: ignore[arg-type]
    (lambda: replace(good(), spec=Spec(shape=(0, 2))), "positive sizes"),
    (lambda: replace(good(), spec=Spec(shape=(2,), entries={"a": 3})), "spec is not"),  # type: ignore[dict-item]
    (lambda: replace(good(), spec=Spec(shape=(2,), range=(0,))), "and fields of the"),  # type: ignore[arg-type]
    (lambda: replace(good(), spec=Spec(shape=(2,), dtype="float99")), "of the documented"),
    (lambda: replace(good(), spec=Spec(shape=(2,), extra={"a": len})), "documented types"),
    (lambda: replace(good(), spec=Spec(shape=(2,), symbols=(1,))), "spec is not a Spec"),  # type: ignore[arg-type]
    (lambda: replace(good(), frequencies=(torch.ones(1),)), "frequencies is not a tuple of numbers"),  # type: ignore[arg-type]
    (lambda: replace(good(), quantize=3), "quantize is not a function or None"),  # type: ignore[arg-type]
    (lambda: replace(good(), fields={}), "fields is not a dict of tensors"),
    (lambda: replace(good(), fields={"real": [1]}), "fields is not a dict of tensors"),  # type: ignore[dict-item]
    (lambda: replace(good(), fields={"other": torch.zeros(4, 2)}), "groups names real, which is not among its fields"),
    (lambda: replace(good(), groups=()), "groups is not a tuple"),
    (lambda: replace(good(), decode=None), "decode is not a function"),  # type: ignore[arg-type]
    (lambda: replace(good(), classes=["a"]), "classes is not a tuple of texts"),  # type: ignore[arg-type]
    (lambda: replace(good(), notes="a note"), "notes is not a tuple of texts"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("samples", "words"), WRONG, ids=[words for _, words in WRONG])
def test_a_split_that_is_not_as_documented(samples: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        splits_of(ENTRY, {"train": good(), "test": samples()})
    assert str(caught.value).startswith("dataset acme/dots of aigc-zoo-acme: split test: ")
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
