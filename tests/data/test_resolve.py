"""What `--data` means."""

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
    with pytest.raises((DataError, ConfigError)) as said:
        load(catalogue(), reference, **given)
    assert len(str(said.value).splitlines()) <= 3
    return f"{said.value.exit_code} {said.value}"


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
    assert load(catalogue(), "ring")["train"].spec.modality == "points"  # a name comes first
    assert refused("./ring").startswith("65 ring holds no images")


def test_an_unknown_reference_names_both_meanings() -> None:
    text = refused("digit")
    assert text.startswith("65 unknown dataset 'digit'; did you mean 'digits'?\n")
    assert text.endswith("nor is there such a file or folder; zoo list --kind dataset shows what is installed")
    assert refused("acme/digits").startswith("65 unknown dataset 'acme/digits'")


@pytest.mark.parametrize("reference", ["./photos", "~/nowhere", "/nowhere", "photos.zip", "a/b.npy", "../x"])
def test_what_can_only_be_a_path_is_one(reference: str) -> None:
    assert "there is no such file or folder" in refused(reference)
    assert "unknown dataset" not in refused(reference)


def test_a_dataset_that_is_asked_for_wrongly_is_a_matter_of_configuration() -> None:
    assert refused("digits.nosuch").startswith("3 dataset zoo/digits has no preset 'nosuch'")
    assert refused("ring", options={"std": 5}).startswith("3 --std 5: not in the range 0 to 0.2")


def test_paths_have_no_options(tmp_path: Path) -> None:
    assert refused(str(tmp_path), options={"std": 1}).endswith("is a path, and paths have no options: std")


def test_a_size_is_obeyed_by_named_datasets_too() -> None:
    train = load(catalogue(), "digits", size=14)["train"]
    assert train.spec.shape == (1, 14, 14)
    assert train.resize == "centre crop, Lanczos to 14x14"
    assert train.spec.classes == 10


def test_where_a_dataset_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> None:
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
        yield Component(kind="dataset", name=name, target=f"{__name__}:{name}", summary="of a stranger")
def mine(where: Path, *, count: int = 4):
    import torch
    from aigc_zoo.data.samples import image_samples
    assert where.name == "mine"
    return {"train": image_samples("mine", "train", torch.zeros(count, 1, 8, 8, dtype=torch.uint8))}
def empty(where: Path):
    return {}
"""


@pytest.fixture
def strangers(tmp_path: Path) -> Catalogue:
    (tmp_path / "stranger.py").write_text(PLUGIN)
    return catalogue([tmp_path / "stranger.py"])


def test_datasets_of_strangers_are_built_by_our_functions(strangers: Catalogue) -> None:
    assert len(load(strangers, "mine")["train"]) == 4
    splits: Mapping[str, Any] = load(strangers, "local/mine", options={"count": "7"}, size=4)
    assert (len(splits["train"]), splits["train"].spec.shape) == (7, (1, 4, 4))


def test_a_dataset_without_a_training_split_cannot_be_used(strangers: Catalogue) -> None:
    with pytest.raises(ConfigError, match="dataset local/empty has no split train, only none"):
        load(strangers, "empty")
