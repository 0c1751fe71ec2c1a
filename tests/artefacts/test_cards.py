"""Differences of two cards that make two runs different runs."""

from __future__ import annotations

from aigc_zoo.artefacts.cards import summarize_changes

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


def test_a_slot_for_one_and_a_slot_for_several_that_holds_one_are_equal():
    """The slot of a recipe may have become repeatable since the card was written."""
    older = {"slots": {"augmentation": "zoo/diffaugment"}, "options": {"augmentation.color": True}}
    newer = {"slots": {"augmentation": ["zoo/diffaugment"]}, "options": {"augmentation.diffaugment.color": True}}
    assert summarize_changes(older, newer) == summarize_changes(newer, older) == ""
    empty = [{"slots": {"augmentation": nothing}, "options": {}} for nothing in (None, [])]
    assert summarize_changes(*empty) == ""
    assert (
        summarize_changes(older, empty[1])
        == "augmentation zoo/diffaugment, now none; augmentation.color true, now nothing"
    )
    other = {**newer, "options": {"augmentation.diffaugment.color": False}}
    assert summarize_changes(older, other) == "augmentation.color true, now false"
    gained = {**newer, "options": newer["options"] | {"augmentation.diffaugment.cutout": 0.5}}
    assert summarize_changes(older, gained) == ""
    chosen = gained | {"set_by": {"augmentation.diffaugment.cutout": "cli"}}
    assert summarize_changes(older, chosen) == "augmentation.cutout nothing, now 0.5"


def test_the_order_of_several_components_is_a_difference():
    one, other = (
        {"slots": {"augmentation": order}, "options": {}} for order in (["zoo/a", "zoo/b"], ["zoo/b", "zoo/a"])
    )
    assert summarize_changes(one, one) == ""
    assert summarize_changes(one, other) == 'augmentation ["zoo/a", "zoo/b"], now ["zoo/b", "zoo/a"]'


def test_a_card_without_slots_is_compared_as_it_is():
    assert summarize_changes({"slots": 3, "options": []}, {"slots": 3, "options": []}) == ""
