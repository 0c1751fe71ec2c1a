"""Differences of two cards that make two runs different runs."""

from __future__ import annotations

from typing import Any

import pytest

from aigc_zoo.artefacts.cards import only_machine_differs, summarize_changes
from aigc_zoo.artefacts.moves import summarize_moves

OLD = {
    "recipe": "zoo/dcgan",
    "started": "yesterday",
    "options": {"generator.width": 64, "betas": (0.5, 0.999)},
    "run": {"batch_size": 64, "until": None, "seed": 0},
    "versions": {"torch": "2.15.0"},
}


def test_differences_are_in_the_order_of_the_new_card():
    new = {**OLD, "options": {"generator.width": 128, "betas": [0.5, 0.999]}, "run": {"batch_size": 64, "until": "x"}}
    assert summarize_changes(OLD, new) == "generator.width 64, now 128; until none, now x; seed 0, now nothing"
    assert summarize_changes(new, OLD).endswith("; seed nothing, now 0")
    assert summarize_changes(OLD, {**OLD, "versions": {"torch": "3"}}) == "versions.torch 2.15.0, now 3"


def test_some_keys_may_differ():
    assert summarize_changes(OLD, {**OLD, "started": "today"}) == ""
    assert summarize_changes(OLD, {**OLD, "host": "b", "set_by": {"lr": "cli"}, "notes": ["x"]}) == ""


def test_the_order_of_keys_and_lists_for_tuples_are_no_difference():
    new = {**dict(reversed(OLD.items())), "options": {"betas": [0.5, 0.999], "generator.width": 64}}
    assert summarize_changes(OLD, new) == ""


def test_options_are_written_as_on_the_command_line():
    new = {**OLD, "run": {"batch_size": 128, "until": None, "seed": 0}, "options": {"generator.width": 32, "betas": []}}
    expected = "generator.width 64, now 32; betas [0.5, 0.999], now []; batch_size 64, now 128"
    assert summarize_changes(OLD, new) == expected
    assert summarize_changes(OLD, new, most=1) == "generator.width 64, now 32; and 2 more"


def test_long_and_odd_values_stay_on_one_short_line():
    line = summarize_changes({"a": "x" * 500, "b": ""}, {"a": "two\nlines", "b": "\x1b[31m"})
    assert line == f'a {"x" * 57}..., now "two\\nlines"; b "", now "\\u001b[31m"'


# --- equal content under other names ----------------------------------------------------------------------------------

DIGEST, OTHER = "a" * 64, "b" * 64


def file(path: str, digest: str = DIGEST) -> list[dict[str, str]]:
    return [{"path": path, "sha256": digest}]


def plugin(name: str, version: str = "abc", place: str = "/p") -> dict[str, Any]:
    return {"plugins": {name: {"version": version, "api": 1, "file": f"{place}/{name}"}}}


@pytest.mark.parametrize(
    ("old", "new", "changes", "moves"),
    [
        ({"run": {"init": "a"}, "files": {"run.init": file("/a")}},
         {"run": {"init": "b"}, "files": {"run.init": file("/b")}}, "", "init /b (was /a)"),
        ({"run": {"init": "a"}, "files": {"run.init": file("/a")}},
         {"run": {"init": "b"}, "files": {"run.init": file("/b", OTHER)}}, "init a, now b", ""),
        ({"run": {"init": "a"}, "files": {"run.init": file("/a")}},
         {"run": {"init": "a"}, "files": {"run.init": file("/a", OTHER)}}, "", ""),
        ({"run": {"extractor_weights": "a"}, "files": {"run.extractor_weights": file("/x/a")}},
         {"run": {"extractor_weights": "a"}, "files": {"run.extractor_weights": file("/y/a")}}, "",
         "extractor_weights /y/a (was /x/a)"),
        ({"run": {"extractor_weights": "a"}, "files": {"run.extractor_weights": file("/a")}},
         {"run": {"extractor_weights": "a"}, "files": {"run.extractor_weights": file("/a", OTHER)}},
         "extractor_weights a, now a (SHA-256 bbbbbbbbbbbbbbbb)", ""),
        ({"options": {"G.table": ["a", "b"]}, "files": {"options.G.table": file("/a") + file("/b", OTHER)}},
         {"options": {"G.table": ["c", "b"]}, "files": {"options.G.table": file("/c") + file("/b", OTHER)}}, "",
         "G.table /c (was /a)"),
        ({"run": {"init": "a"}}, {"run": {"init": "a"}, "files": {"run.init": file("/a")}}, "", ""),
        ({"run": {"init": "a"}}, {"run": {"init": "b"}, "files": {"run.init": file("/b")}}, "init a, now b", ""),
        ({"run": {"init": "a"}, "files": {"run.init": file("/a", "")}},
         {"run": {"init": "b"}, "files": {"run.init": file("/b", "")}}, "init a, now b", ""),
        (plugin("a.py"), plugin("b.py"), "", "plugin file /p/b.py (was /p/a.py)"),
        (plugin("a.py"), plugin("a.py", place="/q"), "", "plugin file /q/a.py (was /p/a.py)"),
        ({"plugins": {"a.py": {"version": "abc", "api": 1}}}, plugin("a.py"), "", ""),
        ({"plugins": {"a.py": {"version": "abc", "api": 1}}}, plugin("b.py"), "", "plugin file /p/b.py (was a.py)"),
        (plugin("a.py"), plugin("a.py", "xyz"), "plugins.a.py.version abc, now xyz", ""),
        ({"extractor": "tiny"}, {"extractor": "acme/tiny", "extractor_plugins": {"acme": {"version": "1"}}}, "", ""),
        ({"extractor": "tiny"}, {"extractor": "acme/other"}, "extractor tiny, now acme/other", ""),
        ({"data": {"reference": "x", "digest": "1"}}, {"data": {"reference": "acme/x", "digest": "1", "plugins": {}}},
         "", ""),
        ({"data": {"reference": "/a", "name": "a", "digest": "1"}},
         {"data": {"reference": "/b", "name": "b", "digest": "1"}}, "", "data /b (was /a)"),
        ({"directory": "/a"}, {"directory": "/b"}, "", "run directory /b (was /a)"),
    ],
)  # fmt: skip
def test_content_counts_and_names_do_not(old: dict[str, Any], new: dict[str, Any], changes: str, moves: str) -> None:
    assert summarize_changes(old, new) == changes
    if not changes:
        assert summarize_moves(old, new) == (f"equal content at another place: {moves}" if moves else "")


def test_the_version_of_this_package_is_one_of_the_versions():
    old = {"plugins": {"aigc-zoo": {"version": "0.1", "api": 1}}, "versions": {"aigc_zoo": "0.1"}}
    new = {"plugins": {"aigc-zoo": {"version": "0.2", "api": 1}}, "versions": {"aigc_zoo": "0.2"}}
    assert summarize_changes(old, new) == "versions.aigc_zoo 0.1, now 0.2"
    assert only_machine_differs(old, new)


@pytest.mark.parametrize("odd", [{"files": 3}, {"plugins": {"a.py": 1}}, {"data": []}, {"files": {"run.init": [1]}}])
def test_cards_of_any_form_are_compared(odd: dict[str, Any]):
    assert summarize_changes(odd, odd) == summarize_moves(odd, odd) == ""
