"""The earlier result of `--compare`, the condition of `--fail-if` and its verdict on the rows of a comparison."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aigc_zoo.bench.environment import environment
from aigc_zoo.bench.results import need_alike, read_results
from aigc_zoo.errors import ConfigError, UsageError

_CONDITION = re.compile(r"\s*(median|low|high)\s*(<=|<|>=|>)\s*([0-9]+(?:\.[0-9]+)?)\s*")
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt,
}  # fmt: skip

NOTHING = "nothing was compared: the results have no entry in common"


def condition(text: str) -> Callable[[Mapping[str, Any]], bool]:
    """Parse `--fail-if "median>1.10"`, a condition on the median of a ratio or the `low` or `high` end of its interval.

    The condition also holds for a row that cannot be compared. Raises UsageError.
    """
    failure = _failure(text)
    return lambda row: bool(failure(row))


def failures(rows: Sequence[Mapping[str, Any]], text: str) -> list[str]:
    """A line for each reason why a comparison fails the condition `text`; empty if it passes."""
    failure = _failure(text)
    lines = [f"{row['name']}: {reason}" for row in rows if (reason := failure(row))]
    if not lines and all(row["measure"] == "none" for row in rows):
        lines.append(NOTHING)
    return lines


def _failure(text: str) -> Callable[[Mapping[str, Any]], str]:
    """A function that returns why a row fails the condition, or an empty string."""
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise UsageError(
            f'--fail-if "{text}": expected median, low or high and a number, as in "median>1.10" or "low>1"'
        )
    key, compare, bound = found[1], _COMPARE[found[2]], float(found[3])

    def failure(row: Mapping[str, Any]) -> str:
        if row.get("reason"):
            return f"cannot be compared: {row['reason']}"
        if row.get("note"):
            return ""
        if key != "median" and not row.get("intervals", True):
            return f"a single seed has no interval, and so no {key}: use --seeds 3, or a condition on median"
        value = float(row[key])
        if math.isnan(value):
            return f"{key} is not a number"
        return f"{key} {value:.3f} meets {text.strip()}" if compare(value, bound) else ""

    return failure


def earlier_result(kind: str, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Check and read what a result will be compared with, before measurements that may take hours.

    `settings` has the paths `json_path` and `compare` and the condition `fail_if`, each None where it is not given.
    """
    path, compare, fail_if = settings["json_path"], settings["compare"], settings["fail_if"]
    if fail_if is not None and not compare:
        raise UsageError(f'--fail-if "{fail_if}": no earlier result to compare with\nadd --compare OLD.json')
    if path is not None and not path.parent.is_dir():
        raise UsageError(f"--json {path}: there is no folder {path.parent}\nmake it first, or choose another file")
    if path is not None and path.is_dir():
        raise UsageError(f"--json {path}: is a directory: name a file in it, such as {path / 'results.json'}")
    if fail_if is not None:
        condition(fail_if)
    old = None if compare is None else read_results(compare)
    if old is not None and old["kind"] != kind:
        raise ConfigError(f"--compare {compare}: results of {kind} and of {old['kind']} cannot be compared")
    if old is not None and kind == "speed":
        need_alike({"kind": kind, "environment": environment(), "entries": []}, old)
    return old
