"""How `--data` is resolved to a named dataset or a path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aigc_zoo.data.resolve import load, where
from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.plugins import Catalogue, catalogue


def refused(reference: str, **given: Any) -> str:
    with pytest.raises((DataError, ConfigError)) as caught:
        load(catalogue(), reference, **given)
    assert len(str(caught.value).splitlines()) <= 3
    return f"{caught.value.exit_code} {caught.value}"


@pytest.mark.parametrize("reference", ["ring", "zoo/ring"])
def test_names_and_ids_mean_datasets(reference: str) -> None:
    assert load(catalogue(), reference)["train"].name == "ring"


def test_paths_mean_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save("ring", np.zeros((3, 1, 4, 4), np.uint8))
    np.save("odd", np.zeros((3, 1, 4, 4), np.uint8))
    Path("odd.npy").rename("odd.set.npy")
    for reference in ("ring.npy", "./ring.npy", str(tmp_path / "ring.npy"), "~/ring.npy", "odd.set.npy"):
        assert len(load(catalogue(), reference)["train"]) == 3
    Path("ring").mkdir()
    points = load(catalogue(), "ring")["train"]  # names take precedence
    assert points.spec.modality == "points"
    assert points.notes == ("ring is the dataset zoo/ring; for the path of that name, write ./ring",)
    assert refused("./ring").startswith("65 ring has no images")


def test_an_unknown_reference_names_both_meanings() -> None:
    text = refused("digit")
    assert text.startswith("65 unknown dataset 'digit'; did you mean 'digits'?\n")
    assert text.endswith("and there is no such file or folder; zoo list --kind dataset shows what is installed")
    assert refused("acme/digits").startswith("65 unknown dataset 'acme/digits'")


@pytest.mark.parametrize(
    "reference", ["./photos", "~/nowhere", "~nosuchuser/x", "/nowhere", "photos.zip", "a/b.npy", "../x"]
)
def test_references_that_can_only_be_paths(reference: str) -> None:
    assert "there is no such file or folder" in refused(reference)
    assert "unknown dataset" not in refused(reference)


def test_wrong_presets_and_options_are_configuration_errors() -> None:
    assert refused("digits.nosuch").startswith("3 dataset zoo/digits has no preset 'nosuch'")
    assert refused("ring", options={"std": 5}).startswith("3 --std 5: not in the range 0 to 0.2")


def test_paths_have_the_options_of_their_modality(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.txt").write_text("some text")
    data = str(tmp_path / "data")
    assert load(catalogue(), data, options={"length": 3})["train"].spec.shape == (3,)
    assert refused(data, options={"std": 1}).startswith("3 texts have no option std: leave")
    assert refused(data, options={"length": 0}).startswith("3 --length 0: not in the range")


def test_named_datasets_can_be_resized() -> None:
    train = load(catalogue(), "digits", size=14)["train"]
    assert train.spec.shape == (1, 14, 14)
    assert train.resize == "centre crop, Lanczos to 14x14"
    assert train.spec.classes == 10


def test_the_folder_of_a_dataset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> None:
    assert where("mnist") == cache / "data" / "mnist"
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    assert where("mnist") == cache / "data" / "mnist"
    (tmp_path / "mnist").mkdir()
    assert where("mnist") == tmp_path / "mnist"


PLUGIN = """
from pathlib import Path
from aigc_zoo.spec import Component, hookimpl
ZOO_API = 1
@hookimpl
def zoo_components():
    for name in ("mine", "empty"):
        yield Component(kind="dataset", name=name, target=f"{__name__}:{name}", summary="third-party dataset")
def mine(where: Path, *, count: int = 4):
    import torch
    from aigc_zoo.data.samples import image_samples
    assert where.name == "mine"
    return {"train": image_samples("mine", "train", torch.zeros(count, 1, 8, 8, dtype=torch.uint8))}
def empty(where: Path):
    return {}
"""


@pytest.fixture
def third_party(tmp_path: Path) -> Catalogue:
    (tmp_path / "stranger.py").write_text(PLUGIN)
    return catalogue([tmp_path / "stranger.py"])


def test_third_party_datasets_use_our_constructors(third_party: Catalogue) -> None:
    assert len(load(third_party, "mine")["train"]) == 4
    splits: Mapping[str, Any] = load(third_party, "local/mine", options={"count": "7"}, size=4)
    assert (len(splits["train"]), splits["train"].spec.shape) == (7, (1, 4, 4))


def test_a_dataset_without_a_training_split_cannot_be_used(third_party: Catalogue) -> None:
    with pytest.raises(ConfigError, match="dataset local/empty has no split train, only none"):
        load(third_party, "empty")


def test_a_recipe_refers_to_its_own_datasets_and_then_to_ours(third_party: Catalogue) -> None:
    assert len(load(third_party, "mine", namespace="local")["train"]) == 4
    assert load(third_party, "ring", namespace="local")["train"].notes == ()
    with pytest.raises(DataError, match="unknown dataset 'mine'"):
        load(third_party, "mine", namespace="acme")
