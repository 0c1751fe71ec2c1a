"""Result files of `zoo bench`: one schema, and what may be compared with what."""

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
"""What every result must say of where it was measured."""

ALIKE = ("processor", "cores", "threads", "gpu", "tf32", "deterministic", "versions.torch")
"""What must be equal before two files' times are compared."""

ROUNDS = 20


def write_results(
    path: Path,
    kind: str,
    entries: Sequence[Mapping[str, Any]],
    environment: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Writes a file that `read_results` takes; numbers that are not finite become null."""
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
    """A result file. Raises DataError for another schema, for one without its environment, and for damaged ones."""
    with explain_damage(path):
        found = json_object(path.read_text("utf-8"))
    schema = found.get("schema")
    if schema != SCHEMA:
        raise DataError(
            f"{path} is no result file of this version: its schema is {schema!r}, not {SCHEMA!r}\n"
            "measure anew with zoo bench ... --json FILE"
        )
    problem = _problem(found)
    if problem:
        raise DataError(f"{path}: {problem}: a number that nobody can place is none")
    return {**found, "entries": [migration.record(entry, path) for entry in found["entries"]]}


def is_results(path: Path) -> bool:
    """Whether a file says that it holds results, of whichever version: a folder may hold other JSON."""
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
        return "it does not say where it was measured"
    missing = [key for key in ENVIRONMENT if key not in environment]
    if missing:
        return f"its environment lacks {', '.join(missing)}"
    if not isinstance(entries, list) or not all(
        isinstance(e, dict) and isinstance(e.get("name"), str) for e in entries
    ):
        return "its entries have no names"
    if found["kind"] == "speed":
        for entry in entries:
            seconds = entry.get("seconds")
            if "skipped" in entry:
                continue
            if not isinstance(seconds, list) or not all(isinstance(s, int | float) and s > 0 for s in seconds):
                return f"entry {entry['name']} has no times"
    return ""


def need_alike(new: Mapping[str, Any], old: Mapping[str, Any]) -> None:
    """Raises ConfigError where times of two files must not be compared, with what differs."""
    if new["kind"] != old["kind"]:
        raise ConfigError(f"results of {new['kind']} and of {old['kind']} cannot be compared")
    for key in ALIKE:
        mine, theirs = (_at(one["environment"], key) for one in (new, old))
        if mine != theirs:
            raise ConfigError(
                f"these results cannot be compared: {key} is {mine} here and was {theirs} there\n"
                "measure both on one machine with the same settings"
            )
    for which, one in (("here", new), ("there", old)):
        for entry in one["entries"]:
            if "seconds" in entry and len(entry["seconds"]) < ROUNDS:
                raise ConfigError(
                    f"{entry['name']} has {len(entry['seconds'])} rounds {which}: fewer than {ROUNDS} say nothing"
                )


def infinite(value: float | None) -> float:
    """A time to a target as a number again: a miss is null in JSON and infinite in statistics."""
    return math.inf if value is None else float(value)


def _at(environment: Mapping[str, Any], key: str) -> Any:
    value: Any = environment
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
