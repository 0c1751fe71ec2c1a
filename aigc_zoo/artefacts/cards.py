"""Comparison of two cards: which differences make two runs different runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from aigc_zoo.artefacts.moves import OF_DATASET, PLUGINS, in_terms_of
from aigc_zoo.artefacts.slots import short_key

IGNORED = frozenset(
    {"started", "host", "set_by", "notes", "why", "run.data", "data.reference", "run.device", "run.precision"}
    | {"run.engine", "run.keep", "run.skip_bad", "inexact", "extended", "files", "directory", "units"}
    | {"loss_extractors"}
)
"""Keys that may differ when a run resumes: where and by whom it was configured, where the data are (their digest is
compared), the requested device, precision and engine (the chosen ones are compared), how many checkpoints are kept,
where the run and its files are (`moves` compares the content of files), what its samples are called, and which
extractors its slots hold (the slots are compared)."""

MACHINE = frozenset({"device", "threads", "world", "precision", "engine", "versions"})
"""Keys that describe the machine. Another machine rounds differently, and the run can resume inexactly on it."""

LENGTH = frozenset({"steps", "run.until"})
"""Keys that say when a run ends. It can be continued to another end, see `resume`."""

_INTERVALS = {f"cadence.{name}": f"run.{name}_every" for name in ("log", "sample", "save", "eval")}

_RESOLVED: Mapping[str, str] = {
    **{f"run.{name}": name for name in ("steps", "batch_size", "seed", "extractor", "device")},
    **{requested: interval for interval, requested in _INTERVALS.items()},
    "run.images": "steps",
    "run.size": "data.size",
    **{f"{section}.aigc-zoo.version": "versions.aigc_zoo" for section in PLUGINS},
}
"""Keys that say again, or as it was requested, what another key says: only the other one is compared."""

DATA_OPTIONS = "data.options."

_MISSING = object()

Changes = Mapping[str, tuple[Any, Any]]
"""The values of two cards, by keys such as "run.until"."""


def units_of(card: Mapping[str, Any]) -> str:
    """What several samples of a run are called, "images" on cards of versions that did not record it.

    Cards are untrusted: what is no short word is replaced by "samples".
    """
    units = card.get("units", "images")
    return units if isinstance(units, str) and re.fullmatch(r"\w[\w -]{0,30}", units) else "samples"


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Changes:
    """The differences that matter, each once, in the order of the new card."""
    return {key: (before, after) for key, before, after in _changes(old, new)}


def section(key: str) -> str:
    """The first part of a key: "versions" of "versions.torch"."""
    return key.partition(".")[0]


def summarize(found: Changes, most: int = 3) -> str:
    """The first differences on one line: "batch_size 64, now 128; and 2 more". Empty where there is none."""
    texts = [f"{_option(key)} {_short(before)}, now {_short(after)}" for key, (before, after) in found.items()]
    more = [f"and {len(texts) - most} more"] if len(texts) > most else []
    return "; ".join(texts[:most] + more)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    before, after = (dict(_flat(in_terms_of(old, card))) for card in (old, new))
    set_by = {short_key(key, new.get("slots", {})) for key in new.get("set_by", {})}
    data_differ = False
    for key in {**after, **before}:
        if key in IGNORED or section(key) in IGNORED or _RESOLVED.get(key) in before.keys() & after.keys():
            continue
        if key.startswith(OF_DATASET):
            continue  # the dataset's options, which are compared as those of the data that are at this place now
        values = before.get(key, _MISSING), after.get(key, _MISSING)
        of_data = key.startswith(DATA_OPTIONS)
        name = f"data.{key.removeprefix(DATA_OPTIONS)}" if of_data else key.partition(".")[2]
        if values[0] is _MISSING and (section(key) in ("options", "slots") or of_data) and name not in set_by:
            continue  # an option that the recipe or the dataset has gained since, at its default
        if section(key) == "frozen" and "frozen" not in old:
            continue  # earlier versions did not record the digests of frozen networks
        if values[0] == values[1] or (section(key) == "data" and data_differ):
            continue  # other data differ in name, number, digest and more, of which the first will do
        if _follows_from_length(key, before, after):
            continue
        data_differ |= section(key) == "data" and not of_data
        yield key, *values


def _follows_from_length(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether an interval that nobody set differs because it is a fraction of the steps."""
    requested = _INTERVALS.get(key, "")
    same_length = before.get("steps") == after.get("steps")
    return bool(requested) and not same_length and before.get(requested) is None and after.get(requested) is None


def _flat(card: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in card.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _option(key: str) -> str:
    """The key as the command line spells it, without the card's section."""
    key = _INTERVALS.get(key, "run.size" if key == "data.size" else key)
    key = key.replace(DATA_OPTIONS, "data.", 1) if key.startswith(DATA_OPTIONS) else key
    group, _, rest = key.partition(".")
    return rest if group in ("run", "options", "slots") else key


def _short(value: Any) -> str:
    plain = isinstance(value, str) and value and value.isprintable()
    text = "nothing" if value is _MISSING else "none" if value is None else value if plain else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
