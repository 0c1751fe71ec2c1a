"""How two cards differ: what makes a run the same run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

IGNORED = frozenset(
    {"started", "host", "set_by", "notes", "why", "run.data", "data.reference", "run.precision", "run.engine"}
    | {"run.keep", "run.skip_bad", "inexact"}
)
"""What may differ when a run continues: where from, who set it, where the data are (their digest counts), how precision
and engine were asked for (what was chosen counts), how many checkpoints stay."""

MACHINE = frozenset({"device", "threads", "world", "precision", "engine", "versions"})
"""What a run is played on rather than what it is: another rounds otherwise, and the run can go on all the same."""

_NOTHING = object()


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The differences that matter, each "key: old -> new" with dotted keys, in the order of the new card."""
    return [f"{key}: {_short(before)} -> {_short(after)}" for key, before, after in _changes(old, new)]


def only_the_machine(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether all differences that matter are of what the run is played on."""
    return all(key.partition(".")[0] in MACHINE for key, _, _ in _changes(old, new))


def told(old: Mapping[str, Any], new: Mapping[str, Any], most: int = 3) -> str:
    """The first differences as one line for a person, "" where there are none: "batch_size 64, now 128; and 2 more"."""
    changes = [f"{_option(key)} {_short(before)}, now {_short(after)}" for key, before, after in _changes(old, new)]
    more = [f"and {len(changes) - most} more"] if len(changes) > most else []
    return "; ".join(changes[:most] + more)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    # Both go through JSON, since a card that was read back has: tuples are lists there.
    before, after = (dict(_flat(json.loads(json.dumps(card)))) for card in (old, new))
    for key in {**after, **before}:
        if key in IGNORED or key.partition(".")[0] in IGNORED:
            continue
        values = before.get(key, _NOTHING), after.get(key, _NOTHING)
        if values[0] != values[1]:
            yield key, *values


def _flat(card: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in card.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _option(key: str) -> str:
    """As a user writes it: a card groups its options, a command line does not."""
    group, _, rest = key.partition(".")
    return rest if group in ("run", "options", "slots") else key


def _short(value: Any) -> str:
    plain = isinstance(value, str) and value and value.isprintable()
    text = "nothing" if value is _NOTHING else "none" if value is None else value if plain else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
