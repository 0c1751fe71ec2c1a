"""What makes a run the same run."""

from __future__ import annotations

from aigc_zoo.artefacts.cards import diff, told

OLD = {
    "recipe": "zoo/dcgan",
    "started": "yesterday",
    "options": {"generator.width": 64, "betas": (0.5, 0.999)},
    "run": {"batch_size": 64, "until": None, "seed": 0},
    "versions": {"torch": "2.15.0"},
}


def test_differences_have_dotted_keys():
    new = {**OLD, "options": {"generator.width": 128, "betas": [0.5, 0.999]}, "run": {"batch_size": 64, "until": "x"}}
    assert diff(OLD, new) == ["options.generator.width: 64 -> 128", "run.until: none -> x", "run.seed: 0 -> nothing"]
    assert diff(new, OLD)[-1] == "run.seed: nothing -> 0"


def test_some_keys_may_differ():
    assert diff(OLD, {**OLD, "started": "today", "host": "b", "set_by": {"lr": "cli"}, "notes": ["x"]}) == []
    assert told(OLD, {**OLD, "started": "today"}) == ""


def test_the_order_of_keys_and_lists_for_tuples_are_no_difference():
    assert diff(OLD, {**dict(reversed(OLD.items())), "options": {"betas": [0.5, 0.999], "generator.width": 64}}) == []


def test_a_person_reads_options_as_they_are_written():
    new = {**OLD, "run": {"batch_size": 128, "until": None, "seed": 0}, "options": {"generator.width": 32, "betas": []}}
    assert told(OLD, new) == "generator.width 64, now 32; betas [0.5, 0.999], now []; batch_size 64, now 128"
    assert told(OLD, new, most=1) == "generator.width 64, now 32; and 2 more"


def test_long_and_odd_values_stay_on_one_short_line():
    line = told({"a": "x" * 500, "b": ""}, {"a": "two\nlines", "b": "\x1b[31m"})
    assert line == f'a {"x" * 57}..., now "two\\nlines"; b "", now "\\u001b[31m"'
