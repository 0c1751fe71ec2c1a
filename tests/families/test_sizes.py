"""A family stays short: lines of ours, without blank ones, of each loss, penalty and recipe."""

from __future__ import annotations

import inspect

import pytest

from aigc_zoo.discovery import Entry
from aigc_zoo.plugins import catalogue

MOST = {"loss": 12, "penalty": 15, "recipe": 65}
"""The only recipe with code is the general game, which all others share; a row of its table is data."""
ENTRIES = [entry for kind in MOST for entry in catalogue().items(kind, "zoo/*") if not entry.component.extends]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_what_an_author_would_write_is_short(entry: Entry) -> None:
    lines = [line for line in inspect.getsource(entry.load()).splitlines() if line.strip()]
    assert len(lines) <= MOST[entry.kind], entry.id


def test_there_is_something_to_count() -> None:
    counted = {kind: sum(entry.kind == kind for entry in ENTRIES) for kind in MOST}
    assert counted["loss"] >= 6
    assert counted["penalty"] >= 7
    assert counted["recipe"] >= 1
    assert sum(bool(entry.component.extends) for entry in catalogue().items("recipe", "zoo/*")) >= 12
