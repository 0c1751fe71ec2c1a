"""`zoo data list`: where the files of a dataset are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aigc_zoo.cli import main


@pytest.fixture
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))

    def listed() -> dict[str, str]:
        assert main(["data", "list", "--json"]) == 0
        return {item["name"]: item["state"] for item in json.loads(capsys.readouterr().out)["items"]}

    return listed


@pytest.mark.parametrize(
    ("file", "state"),
    [
        (".cifar-10-binary.tar.gz.lock", "absent"),
        ("cifar-10-binary.tar.gz.part", "absent"),
        ("batches/.hidden", "absent"),
        ("empty/", "absent"),
        ("cifar-10-binary.tar.gz", "here"),
        ("batches/data_batch_1.bin", "here"),
    ],
)
@pytest.mark.parametrize("place", ["data", "cache/data"])
def test_only_files_of_a_dataset_count(place: str, file: str, state: str, tmp_path: Path, states) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / place / "cifar10" / file
    path.parent.mkdir(parents=True)
    if file.endswith("/"):
        path.mkdir()
    else:
        path.write_text("")
    assert states()["cifar10"] == state
    assert states()["mnist"] == "absent"
    assert states()["digits"] == "drawn"


def test_a_dataset_of_another_ones_files_has_its_state(tmp_path: Path, states) -> None:  # type: ignore[no-untyped-def]
    assert states()["stacked-mnist"] == "absent"
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    (tmp_path / "data" / "mnist" / "train-images-idx3-ubyte").write_text("")
    assert (states()["mnist"], states()["stacked-mnist"]) == ("here", "here")
