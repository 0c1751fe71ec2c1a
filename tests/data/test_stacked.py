"""The folder from which the stacked MNIST digits are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from aigc_zoo.data.resolve import where
from aigc_zoo.plugins import catalogue


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    target = catalogue().find("dataset", "stacked-mnist").entry.load()
    folders: list[Path] = []
    monkeypatch.setitem(target.__globals__, "mnist", folders.append)
    monkeypatch.setitem(target.__globals__, "stacked", lambda name, source: {})

    def folder(given: Path | None = None) -> Path:
        target(given or where("stacked-mnist"))
        return folders[-1]

    return folder


def test_stacked_mnist_is_read_from_the_folder_of_mnist(tmp_path: Path, read) -> None:  # type: ignore[no-untyped-def]
    assert read() == tmp_path / "cache" / "data" / "mnist"
    (tmp_path / "data" / "stacked-mnist").mkdir(parents=True)
    assert read() == tmp_path / "cache" / "data" / "mnist"
    (tmp_path / "data" / "mnist").mkdir()
    assert read() == tmp_path / "data" / "mnist"
    (tmp_path / "data" / "stacked-mnist").rmdir()
    assert read() == tmp_path / "data" / "mnist" == where("mnist")


def test_an_explicit_folder_has_mnist_beside_it(tmp_path: Path, read) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    assert read(tmp_path / "mine" / "stacked-mnist") == tmp_path / "mine" / "mnist"
