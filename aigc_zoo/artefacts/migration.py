"""Names in files of earlier versions: a table of renames, which the functions that read files apply.

Code above the reading functions sees current names only. The files on the disk keep their names, and their SHA-256 is
verified before anything is renamed. A former name is never reused with another meaning, since files do not say which
of the two they mean.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class RenamedOption:
    """A renamed option of recipes, as it appears under `options` and `set_by` in a card.

    recipe   shell pattern for the recipes concerned: full ids without preset, such as "zoo/sngan"
    values   former values that have another value now; a value that is not listed stays the same
    """

    old: str
    new: str
    recipe: str = "zoo/*"
    values: Mapping[Any, Any] = field(default_factory=dict)


OPTIONS = (
    RenamedOption("average", "ema"),
    RenamedOption("critic_lr", "discriminator_lr"),
    RenamedOption("critic_turns", "discriminator_turns"),
    RenamedOption("decay", "lr_schedule", values={True: "linear", False: "constant"}),
    RenamedOption("fall", "penalty_final"),
)
GENERATOR_KEYS = {"makers": "generators"}
"""Keys of the card of a generator file."""

TENSOR_PREFIXES = {"average/": "ema/"}
"""Beginnings of tensor names in a checkpoint."""

METRICS = {"spread": "variance-ratio"}
"""Metrics and groups of metrics; full names add the extractor, as in "spread-zoo-grey28"."""

EXTRACTORS = {"points": {"extractor": "zoo/points"}, "pixels": {"extractor": "zoo/pixels", "extractor_sha256": "none"}}
"""Extractors that protocols name, and what they state now."""

COUNTS = {"modes"}
"""Values that count something: records of earlier versions do not state the largest count, which is a setting."""

_announced: set[str] = set()
"""Holds the line that was written: a command may read many old files, and says so once."""


def card(saved: dict[str, Any], path: Path) -> dict[str, Any]:
    """The card of a run, a checkpoint or a generator with current names. The first old file read is named on stderr."""
    renamed: dict[str, str] = {}
    result = _card(saved, renamed)
    _announce(path, renamed)
    return result


def tensors(saved: dict[str, T], path: Path) -> dict[str, T]:
    """The tensors of a checkpoint under current names."""
    renamed: dict[str, str] = {}
    for old, new in TENSOR_PREFIXES.items():
        if any(name.startswith(old) for name in saved):
            renamed[old] = new
            saved = {
                new + name.removeprefix(old) if name.startswith(old) else name: value for name, value in saved.items()
            }
    _announce(path, renamed)
    return saved


def record(saved: dict[str, Any], path: Path) -> dict[str, Any]:
    """A line of metrics.jsonl, a record of held_out.json or an entry of a benchmark, with current metric names."""
    renamed: dict[str, str] = {}
    result = dict(saved)
    for key in ("name", "metric"):
        # The name of a benchmark entry is that of a recipe; only records with a value are named after their metric.
        if isinstance(saved.get(key), str) and (key == "metric" or "value" in saved):
            result[key] = _metric(saved[key], renamed)
    protocol, others = saved.get("protocol"), saved.get("others")
    if isinstance(protocol, dict) and isinstance(protocol.get("metric"), str):
        extractor = EXTRACTORS.get(str(protocol.get("extractor")), {})
        renamed |= {str(protocol["extractor"]): extractor["extractor"]} if extractor else {}
        result["protocol"] = {**protocol, "metric": _metric(protocol["metric"], renamed), **extractor}
        settings = protocol.get("settings")
        if protocol["metric"] in COUNTS and isinstance(settings, dict) and "of" in settings:
            result.setdefault("of", settings["of"])
    if isinstance(others, dict):
        result["others"] = {_metric(name, renamed): value for name, value in others.items()}
    _announce(path, renamed)
    return result


def _card(saved: dict[str, Any], renamed: dict[str, str]) -> dict[str, Any]:
    recipe, run = saved.get("recipe"), saved.get("run")
    if not isinstance(recipe, str):  # the card of a checkpoint has that of its run inside
        return {**saved, "run": _card(run, renamed)} if isinstance(run, dict) and "recipe" in run else saved
    result = dict(saved)
    for section in ("options", "set_by"):
        if isinstance(saved.get(section), dict):
            result[section] = _options(saved[section], recipe, section == "options", renamed)
    if isinstance(run, dict):
        result["run"] = _settings(run, renamed)
    if saved.get("kind") == "generator":
        for old, new in GENERATOR_KEYS.items():
            if old in saved:
                renamed[old] = new
                result[new] = result.pop(old)
    return result


def _options(saved: dict[str, Any], recipe: str, with_values: bool, renamed: dict[str, str]) -> dict[str, Any]:
    identity = recipe.partition(".")[0]
    identity = identity if "/" in identity else f"zoo/{identity}"
    result = dict(saved)
    for row in OPTIONS:
        if row.old in saved and fnmatchcase(identity, row.recipe):
            renamed[row.old] = row.new
            value = result.pop(row.old)
            known = with_values and isinstance(value, str | int | float | None)
            result[row.new] = row.values.get(value, value) if known else value
    return result


def _settings(run: dict[str, Any], renamed: dict[str, str]) -> dict[str, Any]:
    """The run settings that name metrics: `metrics` is a list with commas, `until` begins with a name."""
    result = dict(run)
    if isinstance(run.get("metrics"), str):
        result["metrics"] = ",".join(_metric(name.strip(), renamed) for name in run["metrics"].split(","))
    if isinstance(run.get("until"), str):
        result["until"] = re.sub(r"[a-z][a-z0-9-]*", lambda name: _metric(name[0], renamed), run["until"], count=1)
    return result


def _metric(name: str, renamed: dict[str, str]) -> str:
    for old, new in METRICS.items():
        if name == old or name.startswith(f"{old}-"):
            renamed[old] = new
            return new + name.removeprefix(old)
    return name


def _announce(path: Path, renamed: Mapping[str, str]) -> None:
    if renamed and not _announced:
        names = ", ".join(f"{old} is now {new}" for old, new in renamed.items())
        line = f"zoo: {path} was written by an earlier version; names were updated while reading ({names})\n"
        _announced.add(line)
        sys.stderr.write(line)
