"""Differences of two cards that make two runs different runs."""

from __future__ import annotations

from aigc_zoo.artefacts.cards import changes, summarize

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
