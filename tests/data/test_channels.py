"""Grey images as colour ones and the other way around."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aigc_zoo.data.channels import is_grey, with_channels_of
from aigc_zoo.data.samples import array_samples, image_samples, point_samples
from aigc_zoo.game import Samples, Spec
from aigc_zoo.random import generator


def images(channels: int, side: int = 5, rows: int = 7) -> Samples:
    values = torch.randint(0, 256, (rows, channels, side, side), generator=generator("channels")).byte()
    return image_samples("x", "train", values)


def grey_as_color(rows: int = 7) -> Samples:
    return image_samples("x", "train", images(1, rows=rows).fields["real"].repeat(1, 3, 1, 1))


def real(samples: Samples) -> Tensor:
    return samples.fields["real"]


def test_grey_and_color_of_the_same_content_are_converted() -> None:
    grey, color = images(1), grey_as_color()
    assert torch.equal(real(with_channels_of(color, grey)), real(grey))
    assert torch.equal(real(with_channels_of(grey, color)), real(color))
    assert with_channels_of(color, grey).spec.shape == (1, 5, 5)
    assert with_channels_of(grey, images(3)).spec.shape == (3, 5, 5)


def test_images_of_floating_point_numbers_are_converted_too() -> None:
    spec = Spec(shape=(3, 5, 5), range=(0.0, 1.0), modality="image")
    values = torch.rand(4, 1, 5, 5, generator=generator("floats"))
    found = with_channels_of(array_samples("x", "train", spec, values.repeat(1, 3, 1, 1)), images(1))
    assert torch.equal(real(found), values)
    assert found.spec.range == (0.0, 1.0)


@pytest.mark.parametrize(
    ("samples", "reference"),
    [
        (images(3), images(1)),
        (images(1), images(1, side=6)),
        (images(1), images(4)),
        (images(2), images(1)),
        (grey_as_color(), images(2)),
        (point_samples("p", "train", torch.rand(3, 2)), images(1)),
        (array_samples("a", "train", Spec(shape=(1, 5, 5), modality="array"), torch.rand(3, 1, 5, 5)), images(3)),
    ],
    ids=["color", "size", "four", "two", "three to two", "points", "arrays"],
)
def test_others_stay_as_they_are(samples: Samples, reference: Samples) -> None:
    assert with_channels_of(samples, reference) is samples


def test_one_pixel_in_color_is_color() -> None:
    values = real(grey_as_color(rows=2_000))
    assert is_grey(values)
    values[1_999, 2, 4, 4] ^= 1
    assert not is_grey(values)
