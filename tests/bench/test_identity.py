"""The identity of a stored cell: an edited plugin or other data are trained anew, anything else is reused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aigc_zoo.bench import identity
from aigc_zoo.bench.cells import Cell, summary
from aigc_zoo.bench.identity import code_digest
from aigc_zoo.bench.quality import identified, quality_cells, unfinished
from aigc_zoo.discovery import Entry
from aigc_zoo.metrics.known import installed
from aigc_zoo.plugins import catalogue
from aigc_zoo.spec import Component


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with a recipe, a module that it imports late, and a helper file beside it."""
    folder = tmp_path / "strange_gan"
    (folder / "parts").mkdir(parents=True)
    for name in ("__init__.py", "parts/__init__.py"):
        (folder / name).write_text("")
    (folder / "recipe.py").write_text("from .parts import blocks\nimport strange_helper\ndef build(): ...\n")
    (folder / "parts" / "blocks.py").write_text("WIDTH = 8\n")
    (folder / "late.py").write_text("RATE = 1\n")
    (tmp_path / "strange_helper.py").write_text("import json\nimport torch\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.startswith("strange_")]:
        del sys.modules[name]


def entry(target: str = "strange_gan.recipe:build", **more: Any) -> Entry:
    return Entry(Component(kind="recipe", name="one", target=target, summary="s", **more), "local", "strange", "1")


@pytest.mark.parametrize("file", ["recipe.py", "__init__.py", "parts/blocks.py", "late.py", "../strange_helper.py"])
def test_each_source_file_of_a_plugin_counts(file: str, package: Path) -> None:
    before = code_digest([entry()])
    assert code_digest([entry()]) == before
    with (package / file).open("a") as stream:
        stream.write("# edited\n")
    assert code_digest([entry()]) != before


def test_files_that_a_plugin_does_not_import_do_not_count(package: Path) -> None:
    before = code_digest([entry()])
    (package / "notes.txt").write_text("x")
    (package.parent / "strange_other.py").write_text("x = 1\n")
    assert code_digest([entry()]) == before


def test_a_plugin_file_counts_with_what_it_imports(package: Path) -> None:
    one = entry("strange_helper:torch.__name__".partition(".")[0])
    files: dict[str, Path] = {}
    identity._collect("strange_helper", files)
    assert set(files) == {"strange_helper"}, "installed packages have versions"
    assert one.target == "strange_helper:torch"


def test_the_row_of_a_recipe_that_extends_another_counts(package: Path) -> None:
    base = entry()
    rows = [Component(kind="recipe", name="row", extends="one", summary="s", defaults={"lr": lr}) for lr in (0.1, 0.2)]
    a, b = (replace(base, component=row, base=base) for row in rows)
    before = code_digest([*a.lineage])
    assert before != code_digest([*b.lineage])
    (package / "recipe.py").write_text("def build(): return 1\n")
    assert code_digest([*a.lineage]) != before


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 255, (40, 28, 28, 1), np.uint8))
    return path


def test_other_data_versions_and_settings_have_another_directory(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = catalogue()
    cell = Cell("a", "vanilla", 0, tmp_path / "out", data=str(data), images=64, device="cpu")
    first = cell.identified(known)
    assert cell.identified(known).directory == first.directory
    assert cell.identified(known, {}).identity == first.identity
    assert "zoo" in str(first.identity["versions"])
    assert replace(cell, given={"batch_size": 8}).identified(known).directory != first.directory
    monkeypatch.setattr(identity, "versions", lambda: {"torch": "another"})
    assert cell.identified(known).directory != first.directory
    monkeypatch.undo()
    np.savez(data, images=np.zeros((40, 28, 28, 1), np.uint8))
    other = cell.identified(known)
    assert other.directory != first.directory
    assert other.identity["code"] == first.identity["code"]


def test_data_are_read_once_for_all_cells(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, real = [], identity.resolve.load
    monkeypatch.setattr(identity.resolve, "load", lambda *a, **k: calls.append(a) or real(*a, **k))
    cells = quality_cells(catalogue(), ["vanilla", "zoo/vanilla", "dcgan"], 2, out=tmp_path, data=str(data), images=64)
    assert len(cells) == 4, "one recipe under two names is one recipe"
    found = identified(catalogue(), cells)
    assert len(calls) == 1
    assert len({cell.directory for cell in found}) == 4
    assert unfinished(found) == 4


def test_data_that_are_missing_fail_and_are_not_recorded(tmp_path: Path) -> None:
    cell = Cell("a", "vanilla", 0, tmp_path / "out", data=str(tmp_path / "none.npz"), images=64)
    (same,) = identified(catalogue(), [cell])
    record = same.run(catalogue())
    assert "none.npz" in record["failed"]
    assert not (tmp_path / "out").exists()
    assert summary("a", [record], installed())["failed"] == record["failed"]


def test_records_are_reused_only_for_an_equal_identity(data: Path, tmp_path: Path) -> None:
    known = catalogue()
    cell = Cell("a", "vanilla", 0, tmp_path, data=str(data), images=64, device="cpu").identified(known)
    saved = cell._save({"diverged": "at step 3"})
    assert cell.run(known) == saved
    edited = replace(cell, identity={**cell.identity, "code": "another"})
    assert (unfinished([cell]), unfinished([edited])) == (0, 1)


def test_a_run_without_a_finite_value_has_a_summary() -> None:
    lines = [{"images": 10, "seconds": 1.0, "value": None}]
    about = {"seed": 0, "folder": "f", "metric": "fid-x", "protocol": {}, "seconds": 1.0, "images": 5, "flags": []}
    found = summary("x", [{**about, "values": lines}], installed(), target=3.0)
    assert found["best"]["values"] == found["final"]["values"] == []
    assert found["reached"] == 0


@pytest.mark.parametrize(
    ("metric", "values", "target", "reached"),
    [
        ("variance-ratio-x", (0.2, 0.9), 0.8, 1),
        ("variance-ratio-x", (0.2, 2.5), 0.8, 0),
        ("isc-x", (1.0, 8.0), 8.0, 1),
        ("recall-x", (0.1, 0.4), 0.5, 0),
        ("fid-x", (9.0, 3.0), 3.0, 1),
    ],
)
def test_a_target_is_reached_in_the_direction_of_the_metric(
    metric: str, values: tuple[float, ...], target: float, reached: int
) -> None:
    lines = [{"images": 10, "seconds": 1.0, "value": value} for value in values]
    about = {"seed": 0, "folder": "f", "metric": metric, "protocol": {}, "seconds": 1.0, "images": 5, "flags": []}
    assert summary("x", [{**about, "values": lines}], installed(), target)["reached"] == reached
