"""Writers of grids, scatter plots, single images and animations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aigc_zoo.data.writers import (
    GAP,
    PLOT,
    animate,
    grid,
    is_folder,
    require_no_samples,
    save_each,
    save_grid,
    suffix,
    to_uint8,
)
from aigc_zoo.errors import DataError, StorageError, UsageError
from aigc_zoo.game import Spec

GREY = Spec(shape=(1, 28, 28))
COLOR = Spec(shape=(3, 32, 32))
POINTS = Spec(shape=(2,), range=(-2.0, 2.0), modality="points")
WAVES = Spec(shape=(100,), modality="wave")


def noise(n: int, spec: Spec) -> torch.Tensor:
    return torch.rand(n, *spec.shape, generator=torch.Generator().manual_seed(n)) * 2 - 1


def test_values_are_rounded_and_clamped() -> None:
    values = torch.tensor([-3.0, -1.0, -0.998, 0.0, 0.999, 1.0, 7.0])
    assert to_uint8(values, GREY).tolist() == [0, 0, 0, 128, 255, 255, 255]
    assert to_uint8(torch.tensor([0.0, 0.5, 1.0]), Spec(shape=(3,), range=(0.0, 1.0))).tolist() == [0, 128, 255]
    with pytest.raises(DataError, match="without a range"):
        to_uint8(values, Spec(shape=(7,), range=None, modality="array"))


def test_an_outlier_changes_no_other_image() -> None:
    samples = noise(4, GREY)
    before = to_uint8(samples, GREY)
    samples[3, 0, 0, 0] = 1e6
    assert torch.equal(to_uint8(samples, GREY)[:3], before[:3])


@pytest.mark.parametrize(("spec", "scale", "mode"), [(GREY, 3, "L"), (COLOR, 2, "RGB")])
def test_a_grid_shows_every_image_enlarged(spec: Spec, scale: int, mode: str) -> None:
    samples = noise(10, spec)
    image = grid(samples, spec)
    side = spec.shape[1] * scale
    assert image.mode == mode
    assert image.size == (8 * (side + GAP) + GAP, 2 * (side + GAP) + GAP)
    pixels = np.asarray(image)
    expected = to_uint8(samples, spec).permute(0, 2, 3, 1).numpy().squeeze()
    for number in range(10):
        top, left = GAP + number // 8 * (side + GAP), GAP + number % 8 * (side + GAP)
        assert np.array_equal(pixels[top : top + side : scale, left : left + side : scale], expected[number])


def test_large_images_are_not_enlarged_and_few_images_take_few_columns() -> None:
    assert grid(noise(3, Spec(shape=(3, 128, 96))), Spec(shape=(3, 128, 96))).size == (
        3 * (96 + GAP) + GAP,
        128 + 2 * GAP,
    )


def test_channels_that_are_not_colors_are_put_side_by_side() -> None:
    image = grid(noise(1, Spec(shape=(2, 80, 80))), Spec(shape=(2, 80, 80)))
    assert (image.mode, image.size) == ("L", (160 + 2 * GAP, 80 + 2 * GAP))


def test_points_are_plotted_at_their_coordinates() -> None:
    plot = np.asarray(grid(torch.tensor([[1.0, 1.5], [float("nan"), 0.0], [9.0, 9.0]]), POINTS).convert("L"))
    assert plot.shape == (PLOT, PLOT)
    rows, columns = np.nonzero(plot < 128)
    assert abs(columns.mean() - 0.75 * PLOT) < 1  # x to the right
    assert abs(rows.mean() - 0.125 * PLOT) < 1  # y up
    unbounded = Spec(shape=(2,), range=None, modality="points")
    assert grid(torch.tensor([[0.0, 3.0]]), unbounded).size == (PLOT, PLOT)


@pytest.mark.parametrize("spec", [GREY, COLOR, POINTS, WAVES])
def test_the_same_samples_give_the_same_bytes(spec: Spec, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}{suffix(spec)}" for number in range(2)]
    for path in paths:
        save_grid(noise(5, spec), spec, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_values_are_saved_as_npy(tmp_path: Path) -> None:
    for spec in (WAVES, GREY):
        save_grid(noise(5, spec), spec, tmp_path / "values.npy")
        assert np.array_equal(np.load(tmp_path / "values.npy"), noise(5, spec).numpy())


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"grid\.jpg: samples are written as \.png or \.npy"):
        save_grid(noise(2, GREY), GREY, tmp_path / "grid.jpg")
    with pytest.raises(UsageError, match=r"grid\.png: samples are written as \.npy"):
        save_grid(noise(2, WAVES), WAVES, tmp_path / "grid.png")


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file"):
        save_grid(noise(2, GREY), GREY, tmp_path / "file" / "grid.png")


@pytest.mark.parametrize(
    ("out", "folder"),
    [
        ("each", True),
        ("a.png/b", True),
        ("v1.0/", True),
        ("epoch.12", True),
        ("grid.png/", True),
        (".", True),
        ("v1.0.png", False),
        ("GRID.PNG", False),
        ("grid.jpg", False),
    ],
)
def test_a_slash_and_a_name_without_a_suffix_mean_a_folder(out: str, folder: bool) -> None:
    assert is_folder(out) is folder


@pytest.mark.parametrize("name", ["GRID.PNG", "grid.Png", "values.NPY"])
def test_capitals_in_a_suffix_make_no_difference(tmp_path: Path, name: str) -> None:
    save_grid(noise(2, GREY), GREY, tmp_path / name)
    save_grid(noise(2, GREY), GREY, tmp_path / name.lower())
    assert (tmp_path / name).read_bytes() == (tmp_path / name.lower()).read_bytes()


def test_a_folder_without_samples_receives_some(tmp_path: Path) -> None:
    require_no_samples(tmp_path / "new")
    (tmp_path / "notes.txt").write_text("notes")
    require_no_samples(tmp_path)
    save_each(noise(3, WAVES), WAVES, tmp_path)
    with pytest.raises(UsageError, match=r"has samples already: 000000-000002\.npy"):
        require_no_samples(tmp_path)


def test_each_image_has_a_file(tmp_path: Path) -> None:
    samples = noise(3, COLOR)
    paths = save_each(samples, COLOR, tmp_path / "out", start=64)
    assert [path.name for path in paths] == ["000064.png", "000065.png", "000066.png"]
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    assert np.array_equal(pixels.transpose(0, 3, 1, 2), to_uint8(samples, COLOR).numpy())


def test_other_samples_share_a_file(tmp_path: Path) -> None:
    (path,) = save_each(noise(3, POINTS), POINTS, tmp_path, start=64)
    assert path.name == "000064-000066.npy"
    assert np.array_equal(np.load(path), noise(3, POINTS).numpy())


@pytest.mark.parametrize(("count", "frames"), [(1, 1), (5, 5), (64, 64), (300, 64)])
def test_an_animation_goes_from_the_first_grid_to_the_last(tmp_path: Path, count: int, frames: int) -> None:
    paths = [tmp_path / f"{number:06d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.new("L", (8, 8), number * 255 // max(1, count - 1)).save(path)
    animate(paths, tmp_path / "all.gif")
    first = (tmp_path / "all.gif").read_bytes()
    with Image.open(tmp_path / "all.gif") as gif:
        assert gif.n_frames == frames
        levels, times = [], []
        for number in range(frames):
            gif.seek(number)
            levels.append(gif.convert("L").getpixel((0, 0)))
            times.append(gif.info["duration"])
    assert levels == sorted(levels)
    assert (levels[0], levels[-1]) == (0, 255 if count > 1 else 0)
    assert times[-1] == max(times) > 1000
    animate(paths, tmp_path / "all.gif")
    assert (tmp_path / "all.gif").read_bytes() == first


def test_an_animation_keeps_colors(tmp_path: Path) -> None:
    samples = torch.tensor([[1.0, -1.0, -1.0], [0.5, 0.2, -0.7], [-1.0, -1.0, 1.0]])[:, :, None, None].expand(
        3, 3, 8, 8
    )
    save_grid(samples, Spec(shape=(3, 8, 8)), tmp_path / "0.png")
    save_grid(-samples, Spec(shape=(3, 8, 8)), tmp_path / "1.png")
    animate(sorted(tmp_path.glob("*.png")), tmp_path / "all.gif")
    with Image.open(tmp_path / "all.gif") as gif, Image.open(tmp_path / "0.png") as first:
        difference = np.asarray(gif.convert("RGB")).astype(int) - np.asarray(first)
    assert np.abs(difference).max() <= 8


def test_equal_frames_keep_their_duration(tmp_path: Path) -> None:
    for number, level in enumerate((0, 0, 0, 9)):
        Image.new("L", (8, 8), level).save(tmp_path / f"{number}.png")
    animate(sorted(tmp_path.glob("*.png")), tmp_path / "all.gif")
    with Image.open(tmp_path / "all.gif") as gif:
        assert gif.n_frames == 2
        assert gif.info["duration"] == 360
