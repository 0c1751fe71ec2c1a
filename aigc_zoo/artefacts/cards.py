"""Comparison of two cards: which differences make two runs different runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from aigc_zoo.artefacts.moves import in_terms_of

IGNORED = frozenset(
    {"started", "host", "set_by", "notes", "why", "run.data", "data.reference", "run.precision", "run.engine"}
    | {"run.keep", "run.skip_bad", "inexact", "data.name", "files", "directory"}
    | {"plugins.aigc-zoo.version", "extractor_plugins.aigc-zoo.version"}
)
"""Keys that may differ when a run resumes: where and by whom it was configured, where the data are (their digest is
compared), the requested precision and engine (the chosen ones are compared), how many checkpoints are kept, where the
run is, and what `versions` says as well."""

MACHINE = frozenset({"device", "threads", "world", "precision", "engine", "versions"})
"""Keys that describe the machine. Another machine rounds differently, and the run can resume inexactly on it."""

_MISSING = object()


def only_machine_differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether all differences that matter describe the machine."""
    return all(key.partition(".")[0] in MACHINE for key, _, _ in _changes(old, new))


def summarize_changes(old: Mapping[str, Any], new: Mapping[str, Any], most: int = 3) -> str:
    """The first differences on one line: "batch_size 64, now 128; and 2 more". Empty where none matters."""
    changes = [f"{_option(key)} {_short(before)}, now {_short(after)}" for key, before, after in _changes(old, new)]
    more = [f"and {len(changes) - most} more"] if len(changes) > most else []
    return "; ".join(changes[:most] + more)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    # Both cards pass through JSON, as a card that was read from a file did: tuples become lists there.
    before, after = (dict(_flat(in_terms_of(old, card))) for card in (old, new))
    for key in {**after, **before}:
        if key in IGNORED or key.partition(".")[0] in IGNORED:
            continue
        values = before.get(key, _MISSING), after.get(key, _MISSING)
        section, _, name = key.partition(".")
        if values[0] is _MISSING and section == "options" and name not in new.get("set_by", {}):
            continue  # an option that the recipe has gained since, at its default
        if values[0] != values[1]:
            yield key, *values


def _flat(card: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in card.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _option(key: str) -> str:
    """The key as the command line spells it, without the card's section."""
    group, _, rest = key.partition(".")
    return rest if group in ("run", "options", "slots") else key


def _short(value: Any) -> str:
    plain = isinstance(value, str) and value and value.isprintable()
    text = "nothing" if value is _MISSING else "none" if value is None else value if plain else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
