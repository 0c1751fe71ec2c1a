"""Differences of two cards that make two runs different runs."""

from __future__ import annotations

from typing import Any

import pytest

from aigc_zoo.artefacts.cards import MACHINE, changes, section, summarize
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
    assert summarize(changes(OLD, new)) == "generator.width 64, now 128; until none, now x; seed 0, now nothing"
    assert summarize(changes(new, OLD)).endswith("; seed nothing, now 0")
    assert summarize(changes(OLD, {**OLD, "versions": {"torch": "3"}})) == "versions.torch 2.15.0, now 3"


def test_some_keys_may_differ():
    assert summarize(changes(OLD, {**OLD, "started": "today"})) == ""
    assert summarize(changes(OLD, {**OLD, "host": "b", "set_by": {"lr": "cli"}, "notes": ["x"]})) == ""


def test_the_order_of_keys_and_lists_for_tuples_are_no_difference():
    new = {**dict(reversed(OLD.items())), "options": {"betas": [0.5, 0.999], "generator.width": 64}}
    assert summarize(changes(OLD, new)) == ""


def test_options_are_written_as_on_the_command_line():
    new = {**OLD, "run": {"batch_size": 128, "until": None, "seed": 0}, "options": {"generator.width": 32, "betas": []}}
    expected = "generator.width 64, now 32; betas [0.5, 0.999], now []; batch_size 64, now 128"
    assert summarize(changes(OLD, new)) == expected
    assert summarize(changes(OLD, new), most=1) == "generator.width 64, now 32; and 2 more"


def test_long_and_odd_values_stay_on_one_short_line():
    line = summarize(changes({"a": "x" * 500, "b": ""}, {"a": "two\nlines", "b": "\x1b[31m"}))
    assert line == f'a {"x" * 57}..., now "two\\nlines"; b "", now "\\u001b[31m"'


WHOLE = {
    "run": {
        "steps": 6,
        "images": None,
        "batch_size": None,
        "seed": 0,
        "size": None,
        "device": "auto",
        "log_every": None,
    },
    "data": {"name": "digits", "size": None, "samples": 12, "digest": "abc", "spec": {"shape": [1, 28, 28]}},
    "plugins": {"aigc-zoo": {"version": "0.1.0"}},
    "batch_size": 64,
    "steps": 6,
    "seed": 0,
    "cadence": {"log": 1},
    "device": "cpu",
    "versions": {"aigc_zoo": "0.1.0"},
}
"""A card that says the same thing twice: as it was requested, and as it was resolved."""


def with_(**sections: object) -> dict[str, object]:
    return {
        key: {**value, **sections[key]} if isinstance(value, dict) and key in sections else sections.get(key, value)  # type: ignore[dict-item]
        for key, value in WHOLE.items()
    }


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (with_(run={"steps": 12}, steps=12), "steps 6, now 12"),
        (with_(run={"steps": None, "images": 768}, steps=12), "steps 6, now 12"),
        (with_(run={"seed": 3}, seed=3), "seed 0, now 3"),
        (with_(run={"batch_size": 32}, batch_size=32), "batch_size 64, now 32"),
        (with_(run={"log_every": 5}, cadence={"log": 5}), "log_every 1, now 5"),
        (
            with_(run={"size": 32}, data={"size": 32, "digest": "x", "spec": {"shape": [1, 32, 32]}}),
            "size none, now 32",
        ),
        (with_(data={"name": "mnist", "samples": 70, "digest": "x"}), "data.name digits, now mnist"),
        (with_(data={"digest": "x"}), "data.digest abc, now x"),
        (with_(run={"device": "cuda"}, device="cuda: A"), "device cpu, now cuda: A"),
        (
            with_(plugins={"aigc-zoo": {"version": "2"}}, versions={"aigc_zoo": "2"}),
            "versions.aigc_zoo 0.1.0, now 2",
        ),
    ],
)
def test_each_difference_is_listed_once(new: dict[str, object], expected: str) -> None:
    assert summarize(changes(WHOLE, new)) == expected


@pytest.mark.parametrize(
    "new",
    [
        with_(run={"batch_size": 64}),
        with_(run={"steps": None, "images": 384}),
        with_(run={"device": "cpu"}),
        with_(run={"log_every": 1}),
        with_(extended=[{"after_step": 3}]),
    ],
)
def test_the_same_thing_requested_in_another_way_is_no_difference(new: dict[str, object]) -> None:
    assert changes(WHOLE, new) == {}


def test_an_interval_that_follows_from_the_length_is_no_difference_of_its_own() -> None:
    longer = with_(run={"steps": 600}, steps=600, cadence={"log": 6})
    assert summarize(changes(WHOLE, longer)) == "steps 6, now 600"
    assert summarize(changes(WHOLE, with_(cadence={"log": 6}))) == "log_every 1, now 6"
    requested = with_(run={"steps": 600, "log_every": 6}, steps=600, cadence={"log": 6})
    assert summarize(changes(WHOLE, requested)) == "steps 6, now 600; log_every 1, now 6"


def test_a_slot_for_one_and_a_slot_for_several_that_holds_one_are_equal():
    """The slot of a recipe may have become repeatable since the card was written."""
    older = {"slots": {"augmentation": "zoo/diffaugment"}, "options": {"augmentation.color": True}}
    newer = {"slots": {"augmentation": ["zoo/diffaugment"]}, "options": {"augmentation.diffaugment.color": True}}
    assert summarize(changes(older, newer)) == summarize(changes(newer, older)) == ""
    empty = [{"slots": {"augmentation": nothing}, "options": {}} for nothing in (None, [])]
    assert summarize(changes(*empty)) == ""
    assert (
        summarize(changes(older, empty[1]))
        == "augmentation zoo/diffaugment, now none; augmentation.color true, now nothing"
    )
    other = {**newer, "options": {"augmentation.diffaugment.color": False}}
    assert summarize(changes(older, other)) == "augmentation.color true, now false"
    gained = {**newer, "options": newer["options"] | {"augmentation.diffaugment.cutout": 0.5}}
    assert summarize(changes(older, gained)) == ""
    chosen = gained | {"set_by": {"augmentation.diffaugment.cutout": "cli"}}
    assert summarize(changes(older, chosen)) == "augmentation.cutout nothing, now 0.5"


def test_the_order_of_several_components_is_a_difference():
    one, other = (
        {"slots": {"augmentation": order}, "options": {}} for order in (["zoo/a", "zoo/b"], ["zoo/b", "zoo/a"])
    )
    assert summarize(changes(one, one)) == ""
    assert summarize(changes(one, other)) == 'augmentation ["zoo/a", "zoo/b"], now ["zoo/b", "zoo/a"]'


def test_a_card_without_slots_is_compared_as_it_is():
    assert summarize(changes({"slots": 3, "options": []}, {"slots": 3, "options": []})) == ""


# --- equal content under other names ----------------------------------------------------------------------------------

DIGEST, OTHER = "a" * 64, "b" * 64


def file(path: str, digest: str = DIGEST) -> list[dict[str, str]]:
    return [{"path": path, "sha256": digest}]


def plugin(name: str, version: str = "abc", place: str = "/p") -> dict[str, Any]:
    return {"plugins": {name: {"version": version, "api": 1, "file": f"{place}/{name}"}}}


@pytest.mark.parametrize(
    ("old", "new", "differences", "moves"),
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
        # an earlier version of the recipe had no such slot, and recorded no frozen networks
        ({"slots": {}}, {"slots": {"features": None}, "frozen": {}, "loss_extractors": []}, "", ""),
        ({"slots": {}}, {"slots": {"features": "zoo/a"}, "set_by": {"features": "cli"}},
         "features nothing, now zoo/a", ""),
        ({"slots": {}}, {"slots": {}, "frozen": {"F": DIGEST}}, "", ""),
        ({"frozen": {}}, {"frozen": {"F": "ab"}}, "frozen.F nothing, now ab", ""),
        ({"frozen": {"F": "ab"}}, {"frozen": {"F": "cd"}}, "frozen.F ab, now cd", ""),
    ],
)  # fmt: skip
def test_content_counts_and_names_do_not(
    old: dict[str, Any], new: dict[str, Any], differences: str, moves: str
) -> None:
    assert summarize(changes(old, new)) == differences
    if not differences:
        assert summarize_moves(old, new) == (f"equal content at another place: {moves}" if moves else "")


def test_the_version_of_this_package_is_one_of_the_versions():
    old = {"plugins": {"aigc-zoo": {"version": "0.1", "api": 1}}, "versions": {"aigc_zoo": "0.1"}}
    new = {"plugins": {"aigc-zoo": {"version": "0.2", "api": 1}}, "versions": {"aigc_zoo": "0.2"}}
    assert summarize(changes(old, new)) == "versions.aigc_zoo 0.1, now 0.2"
    assert {section(key) for key in changes(old, new)} <= MACHINE


@pytest.mark.parametrize("odd", [{"files": 3}, {"plugins": {"a.py": 1}}, {"data": []}, {"files": {"run.init": [1]}}])
def test_cards_of_any_form_are_compared(odd: dict[str, Any]):
    assert summarize(changes(odd, odd)) == summarize_moves(odd, odd) == ""
