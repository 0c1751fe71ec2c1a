"""Result files of `zoo bench`: schema, validation, and which files may be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aigc_zoo.artefacts import migration
from aigc_zoo.artefacts.atomic import write_json
from aigc_zoo.artefacts.checkpoint import explain_damage, json_object
from aigc_zoo.artefacts.runs import nulled
from aigc_zoo.errors import ConfigError, DataError

SCHEMA = "aigc_zoo bench 1"
KINDS = ("speed", "quality", "matrix")
ENVIRONMENT = ("processor", "cores", "load_before", "threads", "system", "python", "versions", "commit", "gpu")
"""Required keys of the environment of a result."""

ALIKE = ("processor", "cores", "threads", "gpu", "tf32", "deterministic", "versions.torch")
"""Keys of the environment that must be equal before times of two files are compared."""

IMAGES = 50_000
"""Number of images that a cell is trained on by default."""

ROUNDS = 20
"""Minimum number of rounds for a comparison."""


def write_results(
    path: Path,
    kind: str,
    entries: Sequence[Mapping[str, Any]],
    environment: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Write a file that `read_results` reads; non-finite numbers become null."""
    write_json(
        path,
        nulled(
            {
                "schema": SCHEMA,
                "kind": kind,
                "environment": dict(environment),
                "settings": dict(settings),
                "entries": [dict(entry) for entry in entries],
            }
        ),
    )


def read_results(path: Path) -> dict[str, Any]:
    """Read a result file. Raises DataError for another schema, a missing environment or a damaged file."""
    with explain_damage(path):
        found = json_object(path.read_text("utf-8"))
    schema = found.get("schema")
    if schema != SCHEMA:
        raise DataError(
            f"{path} is not a result file of this version: its schema is {schema!r}, not {SCHEMA!r}\n"
            "measure again, with --json FILE"
        )
    problem = _problem(found)
    if problem:
        raise DataError(f"{path}: {problem}: measure again, with --json FILE")
    return {**found, "entries": [migration.record(entry, path) for entry in found["entries"]]}


def is_results(path: Path) -> bool:
    """Whether a JSON file has a schema of results, of any version; a folder may contain other JSON files."""
    try:
        found = json_object(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return str(found.get("schema", "")).startswith(SCHEMA.rpartition(" ")[0])


def _problem(found: Mapping[str, Any]) -> str:
    environment, entries = found.get("environment"), found.get("entries")
    if found.get("kind") not in KINDS:
        return f"its kind is {found.get('kind')!r}, not one of {', '.join(KINDS)}"
    if not isinstance(environment, dict):
        return "it has no environment"
    missing = [key for key in ENVIRONMENT if key not in environment]
    if missing:
        return f"its environment lacks {', '.join(missing)}"
    if not isinstance(entries, list) or not all(
        isinstance(e, dict) and isinstance(e.get("name"), str) for e in entries
    ):
        return "its entries have no names"
    fault = _times_problem if found["kind"] == "speed" else _values_problem
    return next((problem for entry in entries if (problem := fault(entry))), "")


def _times_problem(entry: Mapping[str, Any]) -> str:
    """The fault of an entry of times; empty if it has none."""
    if "skipped" in entry:
        return ""
    for key in ("seconds", "relative"):
        times = entry.get(key, [] if key == "seconds" else [1.0])
        if not isinstance(times, list) or not times or not all(_is_number(one) and one > 0 for one in times):
            return f"entry {entry['name']} has no times"
    return ""


def _values_problem(entry: Mapping[str, Any]) -> str:
    """The fault of an entry's final values; empty if it has none."""
    final = entry.get("final")
    if final is None:
        return ""
    values = final.get("values") if isinstance(final, dict) else None
    if not isinstance(values, list) or not all(one is None or _is_number(one) for one in values):
        return f"entry {entry['name']} has no final values"
    if not isinstance(entry.get("metric"), str) or not isinstance(entry.get("protocol"), dict):
        return f"entry {entry['name']} states no metric or no protocol"
    if not isinstance(entry.get("seeds", []), list):
        return f"entry {entry['name']} has no list of seeds"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def need_alike(new: Mapping[str, Any], old: Mapping[str, Any]) -> None:
    """Raise ConfigError with the difference if times of two files must not be compared."""
    if new["kind"] != old["kind"]:
        raise ConfigError(f"results of {new['kind']} and of {old['kind']} cannot be compared")
    for key in ALIKE:
        mine, theirs = (_at(one["environment"], key) for one in (new, old))
        if mine != theirs:
            raise ConfigError(
                f"these results cannot be compared: {key} is {mine} in the new one and {theirs} in the old one\n"
                "measure both on one machine with the same settings"
            )
    for which, one in (("new", new), ("old", old)):
        for entry in one["entries"]:
            if "seconds" in entry and len(entry["seconds"]) < ROUNDS:
                raise ConfigError(
                    f"{entry['name']} has {len(entry['seconds'])} rounds in the {which} result, and a comparison needs "
                    f"{ROUNDS}: measure it again"
                )


def infinite(value: float | None) -> float:
    """A time to a target as a number: null in JSON means that the target was missed, so infinity."""
    return math.inf if value is None else float(value)


def _at(environment: Mapping[str, Any], key: str) -> Any:
    value: Any = environment
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
