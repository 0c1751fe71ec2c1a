"""Constructors of samples: validation, decoding, and digests."""

from __future__ import annotations

import pytest
import torch

from aigc_zoo.data.pool import Pool, example
from aigc_zoo.data.samples import array_samples, digest_of, image_samples, point_samples
from aigc_zoo.errors import DataError
from aigc_zoo.game import Spec
from aigc_zoo.modality import to_uint8


def every_level() -> torch.Tensor:
    return torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8)


def test_images_decode_to_the_whole_range_and_back() -> None:
    samples = image_samples("levels", "train", every_level())
    real = example(samples, 4)["real"]
    assert real.dtype == torch.float32
    assert (float(real.min()), float(real.max())) == (-1.0, 1.0)
    assert torch.equal(to_uint8(real, samples.spec), every_level())


def test_labels_become_one_hot_with_class_frequencies() -> None:
    labels = torch.tensor([2, 0, 2, 2])
    samples = image_samples("levels", "train", every_level(), labels, ("a", "b", "c"))
    assert samples.spec == Spec(shape=(1, 8, 8), classes=3)
    assert samples.frequencies == (0.25, 0.0, 0.75)
    label = example(samples, 4)["label"]
    assert label.dtype == torch.float32
    assert torch.equal(label.argmax(1), labels)
    assert torch.equal(label.sum(1), torch.ones(4))


def test_without_labels_there_is_no_entry_for_them() -> None:
    samples = image_samples("levels", "train", every_level())
    assert (samples.spec.classes, samples.classes, samples.frequencies, samples.groups) == (0, (), (), (("real",),))
    assert set(Pool(samples, "cpu").batch(0, 0, 2)) == {"real"}


@pytest.mark.parametrize(
    "labels", [torch.zeros(3, dtype=torch.int64), torch.zeros(4), torch.zeros(4, 1, dtype=torch.int64)]
)
def test_labels_of_another_shape_or_dtype_are_refused(labels: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="labels must be int64 of shape"):
        image_samples("levels", "train", every_level(), labels)


def test_labels_beyond_the_classes_are_refused() -> None:
    with pytest.raises(DataError, match="labels from 0 to 2 do not fit 2 classes"):
        image_samples("levels", "train", every_level(), torch.tensor([0, 1, 2, 0]), ("a", "b"))


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(DataError, match="none: split train has no samples"):
        image_samples("none", "train", torch.zeros(0, 1, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize("images", [torch.zeros(4, 1, 8, 8), torch.zeros(4, 8, 8, dtype=torch.uint8)])
def test_images_of_another_shape_or_dtype_are_refused(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="images must be uint8 of shape"):
        image_samples("levels", "train", images)


def test_the_range_of_points_includes_all_of_them() -> None:
    samples = point_samples("line", "train", torch.tensor([[0.0, 1.0], [2.0, 4.0]]))
    assert samples.spec == Spec(shape=(2,), range=(-2.0, 6.0), modality="points")
    assert point_samples("dot", "train", torch.zeros(3, 2)).spec.range == (-1.0, 1.0)


def test_arrays_keep_their_values() -> None:
    tokens = torch.tensor([[1, 2], [3, 4]])
    samples = array_samples("text", "train", Spec(shape=(2,), range=None, dtype="int64", modality="array"), tokens)
    assert torch.equal(example(samples, 2)["real"], tokens)
    halves = torch.tensor([[0.5], [2.0]], dtype=torch.float64)
    real = example(array_samples("halves", "train", Spec(shape=(1,), range=None, modality="array"), halves), 2)["real"]
    assert real.dtype == torch.float32


def test_the_digest_covers_names_dtypes_shapes_and_bytes() -> None:
    fields = {"real": torch.arange(6, dtype=torch.uint8).view(3, 2), "label": torch.tensor([0, 1, 0])}
    digest = digest_of(fields)
    assert len(digest) == 64
    assert digest_of(dict(reversed(fields.items()))) == digest
    others = (
        {"real": fields["real"], "labels": fields["label"]},
        {**fields, "label": fields["label"].int()},
        {**fields, "real": fields["real"].view(3, 1, 2)},
        {**fields, "label": torch.tensor([0, 1, 1])},
    )
    assert len({digest, *map(digest_of, others)}) == 5


def test_the_digest_does_not_depend_on_memory_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.arange(48, dtype=torch.uint8).view(2, 3, 4, 2)
    whole = digest_of({"real": images})
    assert digest_of({"real": images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)}) == whole
    monkeypatch.setattr("aigc_zoo.data.samples.HASH_BLOCK", 1)
    assert digest_of({"real": images}) == whole
