"""Comparison of two result files: ratios with intervals, and the condition of `--fail-if`."""

from __future__ import annotations

import math
import operator
import random
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aigc_zoo.bench.pairing import Comparison, ratio_interval
from aigc_zoo.bench.results import need_alike
from aigc_zoo.errors import ConfigError, UsageError
from aigc_zoo.metrics.protocol import differences

_CONDITION = re.compile(r"\s*(median|low|high)\s*(<=|<|>=|>)\s*([0-9]+(?:\.[0-9]+)?)\s*")
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt,
}  # fmt: skip

Row = dict[str, Any]


def condition(text: str) -> Callable[[Mapping[str, float]], bool]:
    """Parse `--fail-if "median>1.10"`, a condition on the median of a ratio or the `low` or `high` end of its interval.

    Raises UsageError.
    """
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise UsageError(
            f'--fail-if "{text}": expected median, low or high and a number, as in "median>1.10" or "low>1"'
        )
    key, compare, bound = found[1], _COMPARE[found[2]], float(found[3])
    return lambda row: compare(float(row[key]), bound)


def compared(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[Row]:
    """A row with the ratio new / old for each common entry: above 1 if the new one is slower or worse.

    Times are compared by their ratios to the baseline, if both files have the same one. Raises ConfigError for files
    that may not be compared.
    """
    if new["kind"] == "speed":
        need_alike(new, old)
    elif new["kind"] != old["kind"]:
        raise ConfigError(f"results of {new['kind']} and of {old['kind']} cannot be compared")
    before = {(entry.get("group"), entry["name"]): entry for entry in old["entries"]}
    rows = []
    for entry in new["entries"]:
        other = before.get((entry.get("group"), entry["name"]))
        if other is None:
            continue
        found = _times(entry, other) if new["kind"] == "speed" else _values(entry, other)
        if found is not None:
            rows.append({"name": entry["name"], "group": entry.get("group", ""), **found})
    return rows


def _times(new: Mapping[str, Any], old: Mapping[str, Any]) -> Row | None:
    if "seconds" not in new or "seconds" not in old:
        return None
    key = "relative" if "relative" in new and new.get("baseline") == old.get("baseline") else "seconds"
    return _row(ratio_interval(new[key], old[key]))


def _values(new: Mapping[str, Any], old: Mapping[str, Any]) -> Row | None:
    """Compare final values over seeds by the ratio of their means, for metrics where lower is better."""
    if "final" not in new or "final" not in old:
        return None
    if unlike := differences(new["protocol"], old["protocol"]):
        raise ConfigError(f"{new['name']}: the protocols differ, so values cannot be compared: {'; '.join(unlike[:3])}")
    a, b = new["final"]["values"], old["final"]["values"]
    if not a or not b or not statistics.fmean(b):
        return None
    chance = random.Random(0)

    def mean(values: Sequence[float]) -> float:
        return statistics.fmean(chance.choices(values, k=len(values)))

    drawn = sorted(mean(a) / (mean(b) or math.inf) for _ in range(2000))
    return _row(Comparison(statistics.fmean(a) / statistics.fmean(b), drawn[50], drawn[1949]))


def _row(found: Comparison) -> Row:
    return {"median": found.median, "low": found.low, "high": found.high, "differs": found.differs}
