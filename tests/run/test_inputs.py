"""`zoo sample --input`, `--data` and the held-out split of the run: which inputs are read, and which are refused."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from translators import trained, translators

from aigc_zoo import plugins
from aigc_zoo.api import Run
from aigc_zoo.artefacts import checkpoint
from aigc_zoo.cli import main
from aigc_zoo.errors import ConfigError, DataError, StorageError, UsageError, ZooError
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.sample import save_samples
from aigc_zoo_plugins.modalities import wav

RECIPES = (
    "invert",
    "fixed",
    "double",
    "half",
    "noisy",
    "paint",
    "guide",
    "loud",
    "raise-low",
    "raise-unknown",
    "alone",
)


class Runs:
    def __init__(self, folder: Path) -> None:
        self.folder, self.catalogue = folder, translators(folder)

    def __getitem__(self, recipe: str) -> Path:
        path = self.folder / recipe
        return path if path.exists() else trained(self.catalogue, self.folder, recipe)

    def sample(self, recipe: str, count: int | None = None, **how: Any) -> Any:
        return save_samples(self.catalogue, self[recipe], count, **how)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def api(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Run]:
    """Runs of the Python API, which has no plugin files."""

    def catalogue(files: Any = ()) -> Catalogue:
        return runs.catalogue

    monkeypatch.setattr(plugins, "catalogue", catalogue)
    return lambda recipe: Run(runs[recipe])


def photo(path: Path, size: tuple[int, int] = (500, 333), mode: str = "L", seed: int = 0) -> Path:
    """An image of (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = {"L": 1, "RGB": 3, "RGBA": 4, "LA": 2}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], bands), dtype=np.uint8)
    Image.fromarray(pixels[..., 0] if bands == 1 else pixels, mode=None).save(path)
    return path


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def seen(runs: Runs) -> list[tuple[int, ...]]:
    """The shapes that the networks got."""
    modules = [module for name, module in sys.modules.items() if hasattr(module, "SEEN") and "translators" in name]
    return [shape for module in modules for shape in module.SEEN]


def forget() -> None:
    for name, module in list(sys.modules.items()):
        if hasattr(module, "SEEN") and "translators" in name:
            module.SEEN.clear()


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(500, 333), (16, 12), (1, 1), (3, 70), (64, 64), (257, 5)])
@pytest.mark.promise("I1", 1, 1)
def test_a_photo_comes_back_in_its_size(runs: Runs, tmp_path: Path, promise: Any, size: tuple[int, int]) -> None:
    """`invert` takes multiples of 4 only, and its samples are the negatives of their inputs, pixel by pixel."""
    source = photo(tmp_path / "photo.png", size)
    (path,) = runs.sample("invert", inputs={"source": [str(source)]}, out=tmp_path / "out.png").paths
    assert np.array_equal(pixels(path), 255 - pixels(source))
    promise.kept(sizes=1, kept=1)


@pytest.mark.parametrize(("recipe", "size", "expected"), [("double", (31, 17), (62, 34)), ("half", (31, 17), (16, 9))])
def test_the_ratio_of_training_is_kept(
    runs: Runs, tmp_path: Path, recipe: str, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    source = photo(tmp_path / "photo.png", size)
    for tile in (None, 16):
        out = tmp_path / f"{tile}.png"
        runs.sample(recipe, inputs={"source": [str(source)]}, out=out, tile=tile)
        with Image.open(out) as image:
            assert image.size == expected
    whole, tiles = (pixels(tmp_path / f"{tile}.png").astype(int) for tile in (None, 16))
    assert np.abs(whole - tiles).max() <= 1  # of rounding
    if recipe == "double":
        assert np.array_equal(pixels(tmp_path / "None.png"), pixels(source).repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("tile", [16, 17, 40, 100, 499, 500, 10_000])
@pytest.mark.parametrize("size", [(500, 333), (20, 300), (99, 101)])
def test_tiles_bound_what_networks_get_and_leave_no_seam(
    runs: Runs, tmp_path: Path, tile: int, size: tuple[int, int]
) -> None:
    source = photo(tmp_path / "photo.png", size)
    forget()
    runs.sample("invert", inputs={"source": [str(source)]}, out=tmp_path / "out.png", tile=tile)
    assert np.array_equal(pixels(tmp_path / "out.png"), 255 - pixels(source))
    largest = max(max(shape[2:]) for shape in seen(runs))
    assert largest <= min(-(-tile // 4) * 4, max(-(-side // 4) * 4 for side in size))


def test_seams_are_blended(runs: Runs, tmp_path: Path) -> None:
    """A network that adds the mean of what it gets: neighbouring pixels of tiles with other means differ little."""
    from aigc_zoo.data.inputs import Input
    from aigc_zoo.engine.sampler import Sampler
    from aigc_zoo.game import Nets, Player, Recipe, Spec, adam
    from aigc_zoo.run.sizes import generated

    spec = Spec(shape=(1, 8, 8), entries={"source": Spec(shape=(1, 8, 8))})
    recipe = Recipe(
        networks=lambda spec: {"G": torch.nn.Identity()},
        players={"G": Player(controls=("G",), loss=None, optimizer=adam(1.0))},
        generate=lambda nets, batch: {"fake": torch.zeros_like(batch["source"]) + batch["source"].mean()},
        inputs=("source",),
        multiple=1,
    )
    sampler = Sampler(recipe, spec, Nets({"G": torch.nn.Identity()}), inputs=lambda rows: {})
    ramp = torch.linspace(-1, 1, 200)[None, None, None].expand(1, 1, 60, 200)
    one = Input("", Spec(shape=(1, 60, 200)), lambda: ramp)
    sample, found = generated(sampler, 1, 0, {"source": one}, 32)
    assert found.shape == sample.shape[1:] == (1, 60, 200)
    assert (sample[..., 1:] - sample[..., :-1]).abs().max() < 0.06  # tiles of 32 with stride 24 differ by 0.24
    assert (sample[..., 1:] - sample[..., :-1]).min() > -1e-5


@pytest.mark.parametrize("size", [(16, 12), (100, 75), (40, 12)])
def test_without_a_multiple_inputs_are_converted_as_training_data_were(
    runs: Runs, tmp_path: Path, size: tuple[int, int]
) -> None:
    source = photo(tmp_path / "photo.png", size)
    if size == (16, 12):
        (path,) = runs.sample("fixed", inputs={"source": [str(source)]}, out=tmp_path / "out.png").paths
        assert np.array_equal(pixels(path), 255 - pixels(source))
    else:  # images of these data are no squares, so that training would have refused other sizes, too
        with pytest.raises(DataError, match=r"photo\.png cannot be read as an image, which source needs"):
            runs.sample("fixed", inputs={"source": [str(source)]}, out=tmp_path / "out.png")


def test_two_inputs_have_sizes_that_belong_together(runs: Runs, tmp_path: Path) -> None:
    source, mask = photo(tmp_path / "s.png", (50, 33)), photo(tmp_path / "m.png", (50, 33), seed=1)
    both = {"source": [str(source)], "mask": [str(mask)]}
    for tile in (None, 16):
        (path,) = runs.sample("guide", inputs=both, out=tmp_path / f"{tile}.png", tile=tile).paths
        assert np.array_equal(pixels(path), np.where(pixels(mask) >= 128, pixels(source), 255 - pixels(source)))
    photo(mask, (49, 33))
    with pytest.raises(DataError, match="mask is of 33x49, and with source of 33x50 it must be of 33x50"):
        runs.sample("guide", inputs=both, out=tmp_path / "not.png")


@pytest.mark.parametrize(("mode", "orientation"), [("RGB", 1), ("RGBA", 1), ("LA", 1), ("L", 6), ("RGB", 8), ("L", 3)])
def test_inputs_are_read_as_training_files_are(runs: Runs, tmp_path: Path, mode: str, orientation: int) -> None:
    """Grey values of colors, alpha over black, and upright by EXIF."""
    from aigc_zoo.data.pixels import decode

    source = photo(tmp_path / "photo.png", (40, 25), mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(source) as image:
        image.load()
        image.save(source, exif=exif)
    runs.sample("invert", inputs={"source": [str(source)]}, out=tmp_path / "out.png")
    with source.open("rb") as file:
        expected = 255 - decode(file, 1)[0]
    assert pixels(tmp_path / "out.png").shape == ((40, 25) if orientation in (6, 8) else (25, 40))
    assert np.array_equal(pixels(tmp_path / "out.png"), expected)


def test_noise_of_a_sample_follows_seed_and_number(runs: Runs, tmp_path: Path) -> None:
    for number in range(3):
        photo(tmp_path / "in" / f"{number}.png", (20, 10))
    levels = {}
    for seed, count in ((0, 3), (0, 1), (1, 3)):
        out = tmp_path / f"{seed}-{count}"
        runs.sample("noisy", count, inputs={"source": [str(tmp_path / "in")]}, seed=seed, out=out)
        levels[seed, count] = [pixels(path).tobytes() for path in sorted(out.iterdir())]
    assert levels[0, 3][:1] == levels[0, 1]
    assert len({*levels[0, 3], *levels[1, 3]}) == 6


# --- names of files ---------------------------------------------------------------------------------------------------


def test_outputs_are_called_after_their_inputs(runs: Runs, tmp_path: Path) -> None:
    names = ["a.png", "b/a.png", "c/d/a.jpg", "c/d/a.png", "10.bmp", "9.bmp"]
    for seed, name in enumerate(names):
        photo(tmp_path / "in" / name, (9, 7), seed=seed)
    expected = ["10.png", "9.png", "a.png", "b/a.png", "c/d/a.jpg.png", "c/d/a.png.png"]
    for given in (tmp_path / "in", _zipped(tmp_path / "in")):
        out = tmp_path / f"out-{given.suffix[1:]}"
        found = runs.sample("invert", inputs={"source": [str(given)]}, out=f"{out}/")
        assert found.number == 6
        assert sorted(str(path.relative_to(out)) for path in found.paths) == expected
        for name in names[:2]:
            assert np.array_equal(pixels(out / name), 255 - pixels(tmp_path / "in" / name))


def _zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, str(file.relative_to(folder)))
    return path


@pytest.mark.promise("I1", 1, 1)
def test_hostile_names_escape_no_folder(runs: Runs, tmp_path: Path, promise: Any) -> None:
    content = photo(tmp_path / "x.png", (5, 4)).read_bytes()
    names = ["../../up.png", "/etc/root.png", "a\\..\\b.png", "c:\\d.png", "e" * 250 + ".png", "f\n.png", "up.png"]
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w") as archive:
        for name in names:
            archive.writestr(name, content)
    before = {path for path in tmp_path.parent.rglob("*.png") if (tmp_path / "out") not in path.parents}
    found = runs.sample("invert", inputs={"source": [str(tmp_path / "hostile.zip")]}, out=tmp_path / "out")
    assert len(set(found.paths)) == len(names) - 2  # names with .. are hidden files
    assert all(path.resolve().is_relative_to((tmp_path / "out").resolve()) for path in found.paths)
    assert {path for path in tmp_path.parent.rglob("*.png") if (tmp_path / "out") not in path.parents} == before
    promise.kept(hostile_names=len(names), escapes=0)


def test_a_folder_of_samples_is_refused_and_a_failure_leaves_none(runs: Runs, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png", (5, 4))
    photo(tmp_path / "in" / "sub" / "b.png", (5, 4))
    (tmp_path / "in" / "sub" / "c.png").write_bytes(photo(tmp_path / "c.png", (90, 90)).read_bytes()[:900])
    with pytest.raises(DataError, match=r"sub/c\.png cannot be read as an image, which source needs"):
        runs.sample("invert", inputs={"source": [str(tmp_path / "in")]}, out=tmp_path / "new" / "out")
    assert not list((tmp_path / "new").rglob("*.png")) if (tmp_path / "new").exists() else True
    with pytest.raises(UsageError, match="has samples already"):
        runs.sample("invert", inputs={"source": [str(tmp_path / "c.png")]}, out=tmp_path / "in")
    (tmp_path / "in" / "sub" / "c.png").unlink()
    (tmp_path / "out" / "sub").mkdir(parents=True)
    (tmp_path / "out" / "sub" / "b.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"b\.png exists already"):
        runs.sample("invert", inputs={"source": [str(tmp_path / "in")]}, out=tmp_path / "out")
    assert [path.read_bytes() for path in (tmp_path / "out").rglob("*.png")] == [b"mine"]


def test_default_files_of_other_inputs_are_others(runs: Runs, tmp_path: Path) -> None:
    sources = [photo(tmp_path / name / "p.png", (6, 6), seed=n) for n, name in enumerate(("a", "b"))]
    found = [runs.sample("invert", inputs={"source": [str(one)]}).paths[0] for one in sources]
    found += [runs.sample("invert", inputs={"source": [str(sources[0])]}, tile=16).paths[0]]
    assert len(set(found)) == 3
    assert all(path.parent == runs["invert"] and "source-p" in path.name for path in found)
    assert [np.array_equal(pixels(p), 255 - pixels(s)) for p, s in zip(found, sources, strict=False)] == [True, True]


def test_several_inputs_are_shown_beside_their_samples(runs: Runs, tmp_path: Path) -> None:
    for number in range(3):
        photo(tmp_path / "in" / f"{number}.png", (100 + number, 80))
    runs.sample("invert", inputs={"source": [str(tmp_path / "in")]}, out=tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.width > 3 * 200
    with pytest.raises(DataError, match="several sizes"):
        runs.sample("invert", inputs={"source": [str(tmp_path / "in")]}, out=tmp_path / "all.npy")
    runs.sample("invert", 4, out=tmp_path / "own.npy")
    assert np.load(tmp_path / "own.npy").shape == (4, 1, 12, 16)


# --- precedence -------------------------------------------------------------------------------------------------------


def test_without_inputs_the_held_out_split_of_the_run_is_used(runs: Runs, tmp_path: Path, api: Any) -> None:
    notes: list[str] = []
    found = runs.sample("invert", out=tmp_path / "own.npy", note=notes.append)
    assert found.number == 6
    assert notes == ["inputs are the split test of pairs"]
    sources = runs_of_data(runs, "pairs")["test"].fields["source"]
    samples = torch.from_numpy(np.load(tmp_path / "own.npy"))
    torch.testing.assert_close(samples, -(sources.float() * 2 / 255 - 1))
    assert torch.equal(api("invert").sample().plain(), samples)
    runs.sample("double", 2, out=tmp_path / "train.npy", note=notes.append)
    assert notes[-1] == "small has no held-out split, so inputs are those of training"


def runs_of_data(runs: Runs, name: str) -> Any:
    from aigc_zoo.data import resolve

    return resolve.load(runs.catalogue, f"local/{name}")


def test_input_precedes_data_which_precedes_the_own_split(runs: Runs, tmp_path: Path) -> None:
    notes: list[str] = []
    source = photo(tmp_path / "a.png", (16, 12))
    how = {"data": "local/pairs", "note": notes.append}
    found = runs.sample("invert", inputs={"source": [str(source)]}, out=tmp_path / "a.npy", **how)
    assert found.number == 1
    assert notes[-1] == "--data is not read, since --input gives all that the generator reads"
    found = runs.sample("invert", out=tmp_path / "b.npy", **how)
    assert (found.number, notes) == (6, notes[:1])


def test_entries_that_are_not_given_come_from_the_data(runs: Runs, tmp_path: Path) -> None:
    source = photo(tmp_path / "a.png", (16, 12))
    found = runs.sample("guide", 3, inputs={"source": [str(source)]}, data="local/guides", out=tmp_path / "x.npy")
    assert found.number == 3
    masks = runs_of_data(runs, "guides")["train"].fields["mask"][:3]
    expected = np.where(masks.numpy() >= 128, pixels(source), 255 - pixels(source)) * np.float32(2 / 255) - 1
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("files", "used"),
    [
        (["1.png", "2.png"], ["1.png", "2.png"]),
        (["A/1.png", "A/2.png", "B/1.png"], ["A/1.png", "A/2.png"]),
        (["source/1.png", "real/1.png", "real/3.png"], ["source/1.png"]),
        (["train/source/1.png", "test/source/2.png", "test/real/2.png"], ["test/source/2.png"]),
        (["trainA/1.png", "testA/2.png", "testB/2.png", "trainB/7.png"], ["testA/2.png"]),
        (["train/1.png", "val/2.png"], ["val/2.png"]),
        (["AB/1.png"], ["AB/1.png"]),
    ],
)
def test_folders_of_data_give_their_inputs(runs: Runs, tmp_path: Path, files: list[str], used: list[str]) -> None:
    for seed, name in enumerate(files):
        photo(tmp_path / "data" / name, (10, 7), seed=seed)
    found = runs.sample("invert", data=str(tmp_path / "data"), out=tmp_path / "out")
    assert found.number == len(used)
    for path, name in zip(found.paths, used, strict=True):
        source = pixels(tmp_path / "data" / name)
        assert np.array_equal(pixels(path), 255 - (source[:, :5] if name.startswith("AB") else source))


def test_data_without_the_entry_are_the_only_input(runs: Runs, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((3, 12, 16, 1), 255, np.uint8))
    found = runs.sample("fixed", data=str(tmp_path / "x.npy"), out=tmp_path / "y.npy")
    assert found.number == 3
    assert (np.load(tmp_path / "y.npy") == -1).all()
    np.save(tmp_path / "z.npy", np.zeros((3, 28, 28, 1), np.uint8))
    with pytest.raises(DataError, match="z has samples of 1x28x28, and source is of 1x12x16"):
        runs.sample("fixed", data=str(tmp_path / "z.npy"), out=tmp_path / "not.npy")
    assert runs.sample("invert", data=str(tmp_path / "z.npy"), out=tmp_path / "v.npy").number == 3
    assert np.load(tmp_path / "v.npy").shape == (3, 1, 28, 28)


def test_data_that_are_gone_are_refused_with_the_fix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalogue = translators(tmp_path)
    for name in ("source/1.png", "real/1.png", "source/2.png", "real/2.png"):
        photo(tmp_path / "photos" / name, (12, 16))
    run = trained(catalogue, tmp_path, "fixed", data=str(tmp_path / "photos"))
    plugin = ["--plugin", str(tmp_path / "translators.py")]
    assert main([*plugin, "sample", str(run), "--out", str(tmp_path / "a.png")]) == 0
    capsys.readouterr()
    (tmp_path / "photos").rename(tmp_path / "moved")
    assert main([*plugin, "sample", str(run)]) == 65
    error = capsys.readouterr().err
    assert "are not there any more" in error
    assert f"sample {run} --data PATH" in error
    assert main([*plugin, "sample", str(run), "--data", str(tmp_path / "moved"), "--out", str(tmp_path / "b.png")]) == 0
    photo(tmp_path / "photos" / "source" / "1.png", (12, 16), seed=7)
    photo(tmp_path / "photos" / "real" / "1.png", (12, 16), seed=8)
    capsys.readouterr()
    assert main([*plugin, "sample", str(run)]) == 65
    assert "is not what it was trained on" in capsys.readouterr().err


# --- texts, sounds, tensors -------------------------------------------------------------------------------------------


def test_a_text_is_the_input_of_all_samples(runs: Runs, tmp_path: Path) -> None:
    level = {}
    for text in ("abc", "ggg"):
        found = runs.sample("paint", 5, inputs={"caption": [text]}, out=tmp_path / f"{text}.npy")
        assert found.number == 5
        level[text] = np.load(tmp_path / f"{text}.npy")
    assert level["abc"].mean() < level["ggg"].mean()
    assert len({sample.tobytes() for sample in level["abc"]}) == 5
    assert runs.sample("paint", inputs={"caption": ["abc", "gg"]}, out=tmp_path / "two").number == 2
    (tmp_path / "lines.txt").write_text("ab\ncd\nef\n")
    found = runs.sample("paint", inputs={"caption": [str(tmp_path / "lines.txt")]}, out=tmp_path / "three")
    assert [path.name for path in found.paths] == [f"lines-00000{n}.png" for n in range(3)]


def test_a_long_text_is_cut_and_said(runs: Runs, tmp_path: Path) -> None:
    notes: list[str] = []
    runs.sample("paint", inputs={"caption": ["abcdefga"]}, out=tmp_path / "a.npy", note=notes.append)
    assert notes == ["caption: lines cut to 6 characters"]


@pytest.mark.parametrize("frames", [64, 100, 37])
def test_stereo_is_mixed_down_and_said(runs: Runs, tmp_path: Path, frames: int) -> None:
    import wave

    stereo = np.random.default_rng(0).integers(-9000, 9000, (frames, 2)).astype("<i2")
    with wave.open(str(tmp_path / "s.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(stereo.tobytes())
    notes: list[str] = []
    runs.sample("loud", inputs={"source": [str(tmp_path / "s.wav")]}, out=tmp_path / "o.wav", note=notes.append)
    assert notes == ["source: mixed down to mono (s.wav)"]
    with (tmp_path / "o.wav").open("rb") as file:
        assert wav.read_header(file).frames == frames
        np.testing.assert_allclose(wav.read(file)[:, 0], stereo.mean(1) / 65536, atol=1e-4)


def test_python_takes_paths_tensors_and_texts(runs: Runs, tmp_path: Path, api: Any) -> None:
    run = api("invert")
    source = photo(tmp_path / "a.png", (50, 33))
    sample = run.sample(inputs={"source": source})
    assert sample.shape == (1, 1, 33, 50)
    stored = torch.from_numpy(pixels(source).copy())[None]
    for value in (str(source), stored, stored[None], stored.numpy(), stored.float() * 2 / 255 - 1, [source]):
        torch.testing.assert_close(run.sample(inputs={"source": value}).plain(), sample.plain())
    assert run.sample(inputs={"source": torch.zeros(7, 1, 12, 16)}).shape == (7, 1, 12, 16)
    assert run.sample(5, inputs={"source": source}).shape == (5, 1, 33, 50)
    assert sample._repr_png_()[:4] == b"\x89PNG"
    assert run.grid(inputs={"source": source}).width >= 100
    assert run.grid(3).width > run.grid(1).width
    assert api("paint").sample(3, inputs={"caption": "abc"}).shape == (3, 1, 12, 16)
    assert api("paint").sample(inputs={"caption": torch.tensor([2, 3, 4, 0, 0, 0])}).shape == (1, 1, 12, 16)
    with pytest.raises(DataError, match="several sizes"):
        run.sample(inputs={"source": [source, photo(tmp_path / "b.png", (9, 9))]})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.full((1, 12, 16), 255.0), "its values are from 255 to 255"),
        (torch.full((1, 12, 16), float("nan")), "NaN"),
        (torch.zeros(3, 12, 16), r"it has the shape \(1, 3, 12, 16\)"),
        (torch.zeros(12, 16), r"it has the shape \(12, 16\)"),
        (torch.zeros(1, 12, 16, dtype=torch.int32), "it is int32"),
        (torch.zeros(0, 1, 12, 16), "it has the shape"),
        (None, "cannot be read|it is|no image"),
    ],
)
def test_tensors_that_are_something_else_are_refused(api: Any, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        api("invert").sample(inputs={"source": value})
    assert len(str(caught.value).splitlines()) <= 3


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "how", "error", "message"),
    [
        (
            "alone",
            {"inputs": {"source": ["a.png"]}},
            UsageError,
            "--input source: local/alone generates samples from n",
        ),
        (
            "alone",
            {"data": "digits"},
            UsageError,
            "--data: local/alone generates samples from noise alone; leave it out",
        ),
        ("alone", {"tile": 64}, UsageError, "--tile: local/alone generates samples from noise alone"),
        (
            "invert",
            {"inputs": {"sauce": ["a.png"]}},
            UsageError,
            "did you mean 'source'.\nit reads source: for example",
        ),
        ("guide", {"inputs": {"source": ["a.png"]}}, UsageError, "reads source, mask: --input mask=PATH is missing"),
        ("fixed", {"tile": 64}, UsageError, "--tile 64: the networks of local/fixed take one size only"),
        ("invert", {"tile": 3}, UsageError, "--tile 3: not in the range 16 or more"),
        ("invert", {"inputs": {"source": ["no.png"]}}, DataError, "--input source=no.png: there is no such file"),
        ("invert", {"inputs": {"source": ["a\0b"]}}, DataError, "there is no such file"),
        ("invert", {"inputs": {"source": ["bad.png"]}}, DataError, "bad.png cannot be read as an image, which source"),
        ("invert", {"inputs": {"source": ["s.wav"]}}, DataError, "s.wav cannot be read as an image.*none of .png"),
        ("loud", {"inputs": {"source": ["a.png"]}}, DataError, "a.png cannot be read as a sound.*none of .wav"),
        ("loud", {"inputs": {"source": ["images"]}}, DataError, "images has no sounds"),
        ("loud", {"data": "images"}, DataError, "images has no sounds"),
        ("loud", {"data": "local/pairs"}, DataError, "pairs holds image, and source is audio"),
        ("paint", {"inputs": {"caption": ["abxc"]}}, DataError, "--input caption: the text cannot be read.*'x'"),
        ("paint", {"inputs": {"caption": ["t.txt"]}}, DataError, "t.txt cannot be read as a text.*'z'"),
        ("paint", {"inputs": {"caption": [" "]}}, DataError, "it has no text"),
        ("paint", {"inputs": {"caption": ["none.txt"]}}, DataError, "no such file"),
        (
            "guide",
            {"inputs": {"source": ["images"], "mask": ["more"]}},
            DataError,
            "source has 2 inputs and mask has 3",
        ),
        (
            "guide",
            {"inputs": {"source": ["images"], "mask": ["other"]}},
            DataError,
            "source has 2.png where mask has 5",
        ),
        (
            "guide",
            {"data": "images"},
            DataError,
            "images has no folder source/.*\nuse --input source=PATH --input mask",
        ),
        ("raise-unknown", {"inputs": {"low": ["a.png"]}}, ConfigError, "--input low: .* do not describe it\ngive data"),
    ],
)
@pytest.mark.promise("I1", 1, 1)
def test_what_cannot_be_an_input_is_refused_in_three_lines(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], promise: Any,
    recipe: str, how: dict[str, Any], error: type[ZooError], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "images/1.png", "images/2.png", "more/1.png", "more/2.png", "more/3.png", "other/1.png"):
        photo(tmp_path / name, (16, 12))
    photo(tmp_path / "other" / "5.png", (16, 12))
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    (tmp_path / "s.wav").write_bytes(wav.written(np.zeros(64, np.int16), 8000))
    (tmp_path / "t.txt").write_text("abz")
    with pytest.raises(error, match=f"(?s){message}") as caught:
        runs.sample(recipe, out=tmp_path / "out.png", **how)
    assert len(str(caught.value).splitlines()) <= 3
    words = [f"--input={name}={value}" for name, values in how.get("inputs", {}).items() for value in values]
    words += [f"--{key}={value}" for key, value in how.items() if key != "inputs"]
    code = main(["--plugin", str(runs.folder / "translators.py"), "sample", str(runs[recipe]), *words])
    assert code == error.exit_code
    assert len(capsys.readouterr().err.splitlines()) <= 3
    assert not (tmp_path / "out.png").exists()
    promise.kept(refusals=1, told=1)


@pytest.mark.parametrize("words", [("photo.png",), ("=photo.png",), ("source=",), ("",)])
def test_what_names_no_entry_is_refused(runs: Runs, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert main(["sample", str(runs["invert"]), "--input", *words]) == 2
    assert "not NAME=PATH" in capsys.readouterr().err


def test_a_file_that_may_not_be_read_is_a_storage_error(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = photo(tmp_path / "a.png", (16, 12))

    def refuse(self: Path, *arguments: Any, **keywords: Any) -> Any:
        if self == source:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *arguments, **keywords)

    opened = Path.open
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StorageError, match=r"a\.png cannot be read: Permission denied"):
        runs.sample("invert", inputs={"source": [str(source)]}, out=tmp_path / "out.png")


def test_too_little_memory_advises_tiles(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aigc_zoo.engine.sampler import Sampler

    def full(*arguments: Any) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Sampler, "one", full)
    source = photo(tmp_path / "a.png", (600, 400))
    with pytest.raises(ConfigError, match="a sample of 400x600 does not fit in memory: use --tile 300"):
        runs.sample("invert", inputs={"source": [str(source)]}, out=tmp_path / "out.png")


# --- derived entries and help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["raise-low", "raise-unknown"])
def test_entries_that_decode_derives_are_inputs(runs: Runs, tmp_path: Path, recipe: str) -> None:
    """Training, its previews and samples of the run's own data read an entry that no field stores."""
    run = runs[recipe]
    assert (run / "samples" / "000000001.png").exists()
    assert runs.sample(recipe, 3, out=tmp_path / "x.npy").number == 3
    real = runs_of_data(runs, "derived")["train"].fields["real"][:3].float() * 2 / 255 - 1
    low = torch.nn.functional.avg_pool2d(real, 2)
    expected = torch.nn.functional.interpolate(low, scale_factor=2.0)
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), expected.numpy(), atol=1e-6)


def test_a_derived_entry_that_is_described_can_be_given(runs: Runs, tmp_path: Path) -> None:
    source = photo(tmp_path / "a.png", (9, 5))
    (path,) = runs.sample("raise-low", inputs={"low": [str(source)]}, out=tmp_path / "b.png").paths
    assert np.array_equal(pixels(path), pixels(source).repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        ("invert", "--input source=PATH An image, a folder or a zip of images, of any size."),
        (
            "fixed",
            "--input source=PATH An image, a folder or a zip of images, converted to 1x12x16 as the training data",
        ),
        ("paint", "--input caption=PATH A text, as a text or in a file, a folder or a zip of texts"),
        ("guide", "--input mask=PATH An image"),
        ("raise-unknown", "--input low=PATH Derived from other entries: give --data."),
    ],
)
def test_help_of_a_run_lists_its_inputs(runs: Runs, capsys: pytest.CaptureFixture[str], recipe: str, text: str) -> None:
    plugin = ["--plugin", str(runs.folder / "translators.py")]
    for path in (runs[recipe], runs[recipe] / "generator.safetensors"):
        assert main([*plugin, "sample", str(path), "--help"]) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert f"Inputs of local/{recipe}:" in out
        assert text in out


def test_the_command_says_notes_and_files(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = ["--plugin", str(runs.folder / "translators.py")]
    source = photo(tmp_path / "a.png", (9, 5))
    command = [*plugin, "sample", str(runs["invert"])]
    assert main([*command, "--input", f"source={source}", "--out", str(tmp_path / "b.png")]) == 0
    assert capsys.readouterr().out == f"1 sample: {tmp_path / 'b.png'}\n"
    assert main([*command, "-n", "2", "--out", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"2 samples: {tmp_path / 'out'}/ (2 files)\n"
    assert captured.err == "note: inputs are the split test of pairs\n"


def test_a_generator_file_without_its_run_needs_its_data_only(runs: Runs, tmp_path: Path) -> None:
    tensors, card = checkpoint.load(runs["invert"] / "generator.safetensors")
    checkpoint.save(tmp_path / "g.safetensors", tensors, json.loads(json.dumps(card)))
    found = save_samples(runs.catalogue, tmp_path / "g.safetensors", 2, out=tmp_path / "x.npy")
    assert found.number == 2
    assert io.BytesIO((tmp_path / "x.npy").read_bytes()).read(4) == b"\x93NUM"
