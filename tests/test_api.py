"""The public API: a stored snapshot, which may change only by additions within an API number."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def load_tool() -> ModuleType:
    found = importlib.util.spec_from_file_location("zoo_tools_api_snapshot", ROOT / "tools" / "api_snapshot.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


TOOL = load_tool()
OLD: dict[str, Any] = json.loads((ROOT / "tests" / "api_snapshot.json").read_text(encoding="utf-8"))


def test_the_snapshot_is_fresh_and_nothing_breaks_within_the_api_number() -> None:
    assert TOOL.stale() == ""


def test_the_snapshot_holds_the_names_that_plugins_use() -> None:
    assert OLD["hooks"]["zoo_log"] == {"run": "needed", "step": "needed", "scalars": "needed"}
    assert OLD["names"]["aigc_zoo.spec.Component"]["target"] == "''"
    for name in (
        "game.Recipe",
        "two_player.two_player",
        "game.Adversarial",
        "data.samples.image_samples",
        "testing.run_checks",
    ):
        assert f"aigc_zoo.{name}" in OLD["names"]
    assert len(OLD["names"]) > 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda new: new["kinds"].remove("loss"), "the kind loss was removed"),
        (lambda new: new["called_with"].update(generator=["spec"]), "a generator is called with other arguments"),
        (lambda new: new["hooks"].pop("zoo_log"), "zoo_log was removed"),
        (lambda new: new["hooks"]["zoo_log"].pop("step"), "zoo_log no longer has step"),
        (lambda new: new["names"]["aigc_zoo.spec.Component"].pop("tags"), "Component no longer has tags"),
        (lambda new: new["names"]["aigc_zoo.game.adam"].update(beta1="needed"), "adam now requires beta1"),
        (lambda new: new["names"]["aigc_zoo.game.adam"].update(fused="needed"), "adam requires fused, which is new"),
        (lambda new: new["names"].pop("aigc_zoo.train"), "aigc_zoo.train was removed"),
    ],
)
def test_a_break_is_named(change: Any, message: str) -> None:
    new = copy.deepcopy(OLD)
    change(new)
    assert [sentence for sentence in TOOL.breaks(OLD, new) if message in sentence]


def test_additions_do_not_break() -> None:
    new = copy.deepcopy(OLD)
    new["kinds"].append("tracker")
    new["hooks"]["zoo_new"] = {"run": "needed"}
    new["hooks"]["zoo_log"]["images"] = "needed"  # an implementation may take fewer arguments than the hook has
    new["names"]["aigc_zoo.game.adam"]["*fused"] = "True"
    new["names"]["aigc_zoo.game.sgd"] = {"lr": "needed"}
    assert list(TOOL.breaks(OLD, new)) == []


def test_a_stored_snapshot_that_differs_is_stale(tmp_path: Path) -> None:
    path = tmp_path / "api_snapshot.json"
    assert "missing" in TOOL.stale(path)
    path.write_text(json.dumps({**OLD, "kinds": OLD["kinds"][:-1]}))
    assert "stale" in TOOL.stale(path)
    path.write_text(json.dumps({**OLD, "kinds": [*OLD["kinds"], "tracker"]}))
    assert "API 1 breaks: the kind tracker was removed" in TOOL.stale(path)
    path.write_text(json.dumps({**OLD, "api": 0, "kinds": [*OLD["kinds"], "tracker"]}))
    assert "stale" in TOOL.stale(path)
