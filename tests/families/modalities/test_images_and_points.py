"""Images, points and arrays: quantization, previews, arrays of files, HTML."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from aigc_zoo.errors import DataError
from aigc_zoo.game import Spec
from aigc_zoo.modality import to_uint8
from aigc_zoo_plugins.modalities.array import Array
from aigc_zoo_plugins.modalities.image import GAP
from aigc_zoo_plugins.modalities.image import Image as Images
from aigc_zoo_plugins.modalities.points import PLOT, Points

GREY = Spec(shape=(1, 28, 28))
COLOR = Spec(shape=(3, 32, 32))
POINTS = Spec(shape=(2,), range=(-2.0, 2.0), modality="points")


def noise(n: int, spec: Spec) -> torch.Tensor:
    return torch.rand(n, *spec.shape, generator=torch.Generator().manual_seed(n)) * 2 - 1


def test_values_are_rounded_and_clamped() -> None:
    values = torch.tensor([-3.0, -1.0, -0.998, 0.0, 0.999, 1.0, 7.0])
    assert to_uint8(values, GREY).tolist() == [0, 0, 0, 128, 255, 255, 255]
    assert to_uint8(torch.tensor([0.0, 0.5, 1.0]), Spec(shape=(3,), range=(0.0, 1.0))).tolist() == [0, 128, 255]
    with pytest.raises(DataError, match="without a range"):
        to_uint8(values, Spec(shape=(7,), range=None))


def test_an_outlier_changes_no_other_image() -> None:
    samples = noise(4, GREY)
    before = to_uint8(samples, GREY)
    samples[3, 0, 0, 0] = 1e6
    assert torch.equal(to_uint8(samples, GREY)[:3], before[:3])


@pytest.mark.parametrize(("spec", "scale", "mode"), [(GREY, 3, "L"), (COLOR, 2, "RGB")])
def test_a_grid_shows_every_image_enlarged(spec: Spec, scale: int, mode: str) -> None:
    samples = noise(10, spec)
    image = Images().preview(samples, spec)
    side = spec.shape[1] * scale
    assert image.mode == mode
    assert image.size == (8 * (side + GAP) + GAP, 2 * (side + GAP) + GAP)
    pixels = np.asarray(image)
    expected = to_uint8(samples, spec).permute(0, 2, 3, 1).numpy().squeeze()
    for number in range(10):
        top, left = GAP + number // 8 * (side + GAP), GAP + number % 8 * (side + GAP)
        assert np.array_equal(pixels[top : top + side : scale, left : left + side : scale], expected[number])


def test_large_images_are_not_enlarged_and_few_images_take_few_columns() -> None:
    assert Images().preview(noise(3, Spec(shape=(3, 128, 96))), Spec(shape=(3, 128, 96))).size == (
        3 * (96 + GAP) + GAP,
        128 + 2 * GAP,
    )


def test_channels_that_are_not_colors_are_put_side_by_side() -> None:
    image = Images().preview(noise(1, Spec(shape=(2, 80, 80))), Spec(shape=(2, 80, 80)))
    assert (image.mode, image.size) == ("L", (160 + 2 * GAP, 80 + 2 * GAP))


def test_points_are_plotted_at_their_coordinates() -> None:
    plot = np.asarray(
        Points().preview(torch.tensor([[1.0, 1.5], [float("nan"), 0.0], [9.0, 9.0]]), POINTS).convert("L")
    )
    assert plot.shape == (PLOT, PLOT)
    rows, columns = np.nonzero(plot < 128)
    assert abs(columns.mean() - 0.75 * PLOT) < 1  # x to the right
    assert abs(rows.mean() - 0.125 * PLOT) < 1  # y up
    unbounded = Spec(shape=(2,), range=None, modality="points")
    assert Points().preview(torch.tensor([[0.0, 3.0]]), unbounded).size == (PLOT, PLOT)


@pytest.mark.parametrize("spec", [GREY, COLOR])
def test_an_image_in_html_is_the_image(spec: Spec) -> None:
    sample = noise(1, spec)[0]
    html = Images().html(sample, spec)
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    scale = (shown.shape[0] - 2 * GAP) // spec.shape[1]
    expected = to_uint8(sample, spec).permute(1, 2, 0).numpy().squeeze()
    assert np.array_equal(shown[GAP:-GAP:scale, GAP:-GAP:scale], expected)


def test_stored_pixels_decode_and_quantize_to_themselves() -> None:
    rows = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8)
    spec = Spec(shape=(1, 8, 8))
    decoded = Images().decode(rows, torch.rand, spec)
    assert (float(decoded.min()), float(decoded.max())) == (-1.0, 1.0)
    assert torch.equal(Images().quantize(decoded, spec), rows)


def test_each_kind_of_array_is_adopted_by_one_modality() -> None:
    kinds = {
        "image": np.zeros((5, 8, 8, 3), np.uint8) + 200,
        "points": np.random.default_rng(0).normal(size=(50, 2)),
        "array": np.random.default_rng(0).normal(size=(50, 7)),
    }
    order = {"image": Images(), "points": Points(), "array": Array()}
    for kind, values in kinds.items():
        taken = next(name for name, one in order.items() if one.adopt({"train": values}, "", "file"))
        assert taken == kind
    tokens = Array().adopt({"train": np.arange(12).reshape(3, 4)}, "", "file")
    assert tokens is not None
    assert (tokens.spec.dtype, tokens.spec.range) == ("int64", None)


def test_a_preview_of_arrays_shows_where_values_lie() -> None:
    low = torch.full((100, 4), -0.5)
    shown = np.asarray(Array().preview(low, Spec(shape=(4,), modality="array")))
    rows = np.nonzero((shown < 100).all(1))[0]
    assert rows.min() > shown.shape[0] // 2  # below the line of zero
    assert "-0.5" in Array().html(low[0], Spec(shape=(4,), modality="array"))
