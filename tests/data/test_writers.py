"""Writers of samples in the formats of a modality, and of animations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aigc_zoo.data.writers import animate, is_folder, require_no_samples, save_all, save_one, suffix
from aigc_zoo.errors import StorageError, UsageError
from aigc_zoo.game import Spec
from aigc_zoo_plugins.modalities.array import Array
from aigc_zoo_plugins.modalities.image import Image as Images
from aigc_zoo_plugins.modalities.points import Points

GREY = Spec(shape=(1, 28, 28))
COLOR = Spec(shape=(3, 32, 32))
POINTS = Spec(shape=(2,), range=(-2.0, 2.0), modality="points")
WAVES = Spec(shape=(100,), modality="array")
OF = {"image": Images(), "points": Points(), "array": Array()}


def noise(n: int, spec: Spec) -> torch.Tensor:
    return torch.rand(n, *spec.shape, generator=torch.Generator().manual_seed(n)) * 2 - 1


@pytest.mark.parametrize("spec", [GREY, COLOR, POINTS, WAVES])
def test_the_same_samples_give_the_same_bytes(spec: Spec, tmp_path: Path) -> None:
    modality = OF[spec.modality]
    paths = [tmp_path / f"{number}{suffix(modality)}" for number in range(2)]
    for path in paths:
        save_all(noise(5, spec), spec, modality, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("spec", [WAVES, GREY, POINTS])
def test_values_of_every_modality_are_saved_as_npy(tmp_path: Path, spec: Spec) -> None:
    save_all(noise(5, spec), spec, OF[spec.modality], tmp_path / "values.npy")
    assert np.array_equal(np.load(tmp_path / "values.npy"), noise(5, spec).numpy())


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"grid\.jpg: images are written as \.png or \.npy"):
        save_all(noise(2, GREY), GREY, OF["image"], tmp_path / "grid.jpg")
    with pytest.raises(UsageError, match=r"grid\.gif: arrays are written as \.npy or \.png"):
        save_all(noise(2, WAVES), WAVES, OF["array"], tmp_path / "grid.gif")


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file"):
        save_all(noise(2, GREY), GREY, OF["image"], tmp_path / "file" / "grid.png")


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
    save_all(noise(2, GREY), GREY, OF["image"], tmp_path / name)
    save_all(noise(2, GREY), GREY, OF["image"], tmp_path / name.lower())
    assert (tmp_path / name).read_bytes() == (tmp_path / name.lower()).read_bytes()


def test_a_folder_without_samples_receives_some(tmp_path: Path) -> None:
    require_no_samples(tmp_path / "new", OF["array"])
    (tmp_path / "notes.txt").write_text("notes")
    require_no_samples(tmp_path, OF["array"])
    for number, sample in enumerate(noise(3, WAVES)):
        save_one(sample, WAVES, OF["array"], tmp_path / f"{number:06d}.npy")
    with pytest.raises(UsageError, match=r"has samples already: 3 files such as 000000\.npy"):
        require_no_samples(tmp_path, OF["array"])
    with pytest.raises(UsageError, match=r"has samples already"):
        require_no_samples(tmp_path, OF["image"])


def test_one_image_has_a_file_of_its_pixels(tmp_path: Path) -> None:
    sample = noise(1, COLOR)
    save_one(sample[0], COLOR, OF["image"], tmp_path / "new" / "one.PNG")
    with Image.open(tmp_path / "new" / "one.PNG") as image:
        pixels = np.asarray(image)
    assert np.array_equal(pixels.transpose(2, 0, 1)[None], OF["image"].quantize(sample, COLOR).numpy())


def test_one_other_sample_has_a_file_of_its_values_or_a_preview(tmp_path: Path) -> None:
    (sample,) = noise(1, POINTS)
    for ending in (".npy", ".png"):
        save_one(sample, POINTS, OF["points"], tmp_path / f"one{ending}")
    assert np.array_equal(np.load(tmp_path / "one.npy"), sample.numpy())
    assert (tmp_path / "one.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(UsageError, match=r"points are written as \.npy or \.png"):
        save_one(sample, POINTS, OF["points"], tmp_path / "one.jpg")


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
    save_all(samples, Spec(shape=(3, 8, 8)), OF["image"], tmp_path / "0.png")
    save_all(-samples, Spec(shape=(3, 8, 8)), OF["image"], tmp_path / "1.png")
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
