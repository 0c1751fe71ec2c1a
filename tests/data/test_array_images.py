"""Images among arrays: those of other dtypes and ranges are converted or refused, and never taken for other numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from opened import open_path

from aigc_zoo.data.pool import example
from aigc_zoo.errors import DataError
from aigc_zoo.game import Samples

RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (6, 12, 16, 3), dtype=np.uint8)
CHW = BYTES.transpose(0, 3, 1, 2)
GREY = BYTES[..., 0]
UNIT = BYTES / 255


def saved(folder: Path, values: Any = None, **named: Any) -> dict[str, Samples]:
    path = folder / ("set.npz" if named else "set.npy")
    np.savez(path, **named) if named else np.save(path, values)
    return open_path(path)


@pytest.mark.parametrize(
    ("values", "pixels"),
    [
        (BYTES.astype(np.int32), CHW),
        (CHW.astype(np.uint16), CHW),
        (GREY.astype(np.int64), GREY[:, None]),
        (GREY.astype(">i2"), GREY[:, None]),
        (BYTES[..., :1].astype(np.uint64), GREY[:, None]),
        (BYTES.astype(np.float64), CHW),
        (CHW.astype(np.float16), CHW),
        (GREY.astype(np.float32), GREY[:, None]),
        (np.clip(BYTES + 0.3, 0.3, 255.3), CHW),  # interpolated
        (BYTES - np.float32(0.4), CHW),
        (np.zeros((4, 8, 8, 3), np.int64), np.zeros((4, 3, 8, 8))),
    ],
)
def test_pixels_of_any_dtype_are_images(tmp_path: Path, values: np.ndarray, pixels: np.ndarray) -> None:
    train = saved(tmp_path, values)["train"]
    assert (train.spec.modality, train.spec.range, train.spec.dtype) == ("image", (-1.0, 1.0), "float32")
    assert train.fields["real"].dtype == torch.uint8
    assert np.array_equal(train.fields["real"].numpy(), pixels)


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        (RANDOM.integers(0, 256, (3, 16, 16, 13), dtype=np.uint8), (13, 16, 16)),
        (RANDOM.integers(0, 256, (3, 13, 16, 16), dtype=np.uint8), (13, 16, 16)),
        (RANDOM.integers(0, 256, (3, 16, 12, 2)), (2, 16, 12)),
        (RANDOM.random((3, 9, 8, 5)), (5, 9, 8)),
    ],
)
def test_other_numbers_of_channels_are_recognised(tmp_path: Path, values: np.ndarray, shape: tuple[int, ...]) -> None:
    spec = saved(tmp_path, values)["train"].spec
    assert (spec.modality, spec.shape) == ("image", shape)


@pytest.mark.parametrize(
    ("bounds", "value"),
    [((0.0, 1.0), 1.0003), ((0.0, 1.0), -0.002), ((-1.0, 1.0), -1.005), ((-1.0, 1.0), 1.0078)],
)
def test_values_within_a_grey_level_of_the_range_are_clipped(
    tmp_path: Path, bounds: tuple[float, float], value: float
) -> None:
    values = UNIT * (bounds[1] - bounds[0]) + bounds[0]
    values[3, 2, 1, 0] = value
    train = saved(tmp_path, values.astype(np.float32))["train"]
    assert (train.spec.modality, train.spec.range) == ("image", bounds)
    assert float(example(train, 6)["real"][3, 0, 2, 1]) == (bounds[1] if value > 1 else bounds[0])


def test_the_splits_are_read_in_the_same_way(tmp_path: Path) -> None:
    found = saved(tmp_path, x_train=UNIT * 2 - 1, x_test=UNIT[:2])  # no negative value by chance
    assert {samples.spec.range for samples in found.values()} == {(-1.0, 1.0)}
    found = saved(tmp_path, x_train=BYTES.astype(int), x_test=BYTES[:2].astype(int) // 4)
    assert {samples.fields["real"].dtype for samples in found.values()} == {torch.uint8}
    assert int(found["test"].fields["real"].max()) == 63


@pytest.mark.parametrize(
    ("values", "reason", "fix", "repair"),
    [
        (BYTES.astype(np.int16) - 128, "int16 .* from -128 to 127", "uint8 from 0 to 255", lambda x: x / 128),
        (CHW.astype(np.uint16) * 16, "uint16 .* from 0 to 4080", "divided by the value of white", lambda x: x / 4095),
        (BYTES // 16, None, "", None),  # uint8 is from 0 to 255 by convention
        (BYTES.astype(int) // 16, "int64 .* from 0 to 15", "divided by the value of white", lambda x: x / 15),
        (CHW % 2, "uint8 .* from 0 to 1", "black and white images to bool", lambda x: x.astype(bool)),
        (
            (GREY % 2).astype(np.int32),
            "int32 .* from 0 to 1",
            "black and white images to bool",
            lambda x: x.astype(bool),
        ),
        ((CHW - 120.0) / 58, "float64 .* from -2", "floats from 0 to 1", lambda x: (x + 2.1) / 4.6),
        (UNIT * 1.1, "float64 .* from 0 to 1.1", "clip them to the range 0 to 1", lambda x: np.clip(x, 0, 1)),
        (UNIT * 2.2 - 1.1, "from -1.1 to 1.1", "clip them to the range -1 to 1", lambda x: np.clip(x, -1, 1)),
        (BYTES / 16, "float64 .* from 0 to 15.9", "uint8 from 0 to 255", lambda x: x / 16),
        (UNIT[..., 0] * 40, "float64 of shape .6, 12, 16.", "floats from 0 to 1", lambda x: x / 40),
    ],
)
def test_images_without_a_known_range_are_refused_with_a_fix_that_works(
    tmp_path: Path, values: np.ndarray, reason: str | None, fix: str, repair: Any
) -> None:
    if reason is None:
        assert saved(tmp_path, values)["train"].spec.modality == "image"
        return
    with pytest.raises(DataError, match=f"{reason}.* has the shape of images, but not their range\n") as caught:
        saved(tmp_path, values)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert fix in lines[1]
    assert saved(tmp_path, repair(values))["train"].spec.modality == "image"
    assert "np.savez('data.npz', arrays=values)" in lines[2]
    spec = saved(tmp_path, arrays=values)["train"].spec
    assert (spec.modality, spec.shape) == ("array", values.shape[1:])


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.integers(0, 1024, (6, 24, 4)),  # codes
        RANDOM.integers(0, 256, (6, 64)),  # tokens
        RANDOM.integers(0, 256, (6, 784)) // 2,
        RANDOM.normal(size=(6, 128, 9)),  # time series
        RANDOM.random((6, 24, 6)) * 200,
        RANDOM.normal(size=(6, 4, 4, 4, 4)),
        RANDOM.random((6, 784)) * 200,
    ],
)
def test_other_numbers_stay_arrays(tmp_path: Path, values: np.ndarray) -> None:
    for given in ({"values": values}, {"named": values}, {"values": None, "arrays": values}):
        spec = saved(tmp_path, **given)["train"].spec
        assert (spec.modality, spec.shape, spec.range) == ("array", values.shape[1:], None)


@pytest.mark.parametrize("values", [UNIT, BYTES, GREY, GREY[:, :, 0] / 255, UNIT[:, 0, :2, 0]])
def test_what_is_called_arrays_is_not_taken_for_images_or_points(tmp_path: Path, values: np.ndarray) -> None:
    found = saved(tmp_path, train_arrays=values, arrays_test=values)
    assert {(s.spec.modality, s.spec.shape) for s in found.values()} == {("array", values.shape[1:])}


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        (BYTES[:, :8, :8].reshape(6, -1).astype(np.float32), "reshape(-1, 3, 8, 8)"),
        (RANDOM.integers(0, 256, (6, 784)), "reshape(-1, 28, 28)"),
        (RANDOM.integers(0, 256, (6, 3072), dtype=np.uint8), "reshape(-1, 3, 32, 32)"),
        (RANDOM.integers(0, 256, (6, 4096)).astype(float), "reshape(-1, 64, 64)"),
    ],
)
def test_flattened_images_are_refused(tmp_path: Path, values: np.ndarray, advice: str) -> None:
    with pytest.raises(DataError, match=re.escape(advice)) as caught:
        saved(tmp_path, values)
    assert len(str(caught.value).splitlines()) == 3
    shape = [int(number) for number in re.findall(r"-?\d+", advice)]
    assert saved(tmp_path, values.reshape(shape))["train"].spec.modality == "image"
    assert saved(tmp_path, arrays=values)["train"].spec.modality == "array"


def test_sequences_that_are_called_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"without height and width\n.*reshape\(-1, H, W\)"):
        saved(tmp_path, images=RANDOM.random((6, 90)))
    with pytest.raises(DataError, match="has the shape of images, but not their range"):
        saved(tmp_path, images=RANDOM.normal(size=(6, 128, 9)))
    assert saved(tmp_path, images=RANDOM.random((6, 24, 6)) * 255)["train"].spec.modality == "image"


def test_wide_floats_become_double_precision(tmp_path: Path) -> None:
    train = saved(tmp_path, UNIT.astype(np.longdouble))["train"]
    assert (train.spec.modality, train.fields["real"].dtype) == ("image", torch.float64)
