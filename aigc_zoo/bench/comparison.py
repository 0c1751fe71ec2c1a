"""Comparison of two result files: a row with an interval, or the reason why there is none, for every entry."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aigc_zoo.bench.gate import condition
from aigc_zoo.bench.pairing import Comparison, ratio_interval
from aigc_zoo.bench.results import IMAGES, need_alike
from aigc_zoo.errors import ConfigError
from aigc_zoo.metric import Value
from aigc_zoo.metrics.known import Metrics, installed
from aigc_zoo.metrics.protocol import differences

__all__ = ["Row", "compared", "condition"]

Row = dict[str, Any]
"""One entry of the comparison.

name, group            of the entry
measure                "ratio", "difference", or "none" where the entry cannot be or need not be compared
median, low, high      above 1 if the new result is slower or worse: the ratio of times or of costs, or
                       1 + difference / scale. Infinite where the entry cannot be compared
differs                whether the interval excludes 1
before, after          mean values of the metric; `difference` = (estimate, low, high), positive if the new one is worse
intervals              False if one of the results has a single seed, which has no interval
reason                 why the entry cannot be compared; `note` is the remark of an entry that need not be compared
"""

MACHINE = ("processor", "cores", "threads", "gpu")
"""Keys of the environment that must be equal where the budget is a time."""


def compared(
    new: Mapping[str, Any],
    old: Mapping[str, Any],
    asked: Callable[[Mapping[str, Any]], bool] = lambda entry: True,
    known: Metrics | None = None,
) -> list[Row]:
    """A row for each entry of either result: its comparison, or the reason why it cannot be compared.

    Times are compared by their ratios to the baseline, if both files have the same one. `asked` tells of an entry of
    the old result that the new one lacks whether it was to be measured. Raises ConfigError for files of different kinds
    and for times of different machines.
    """
    if new["kind"] == "speed":
        need_alike(new, old)
    elif new["kind"] != old["kind"]:
        raise ConfigError(f"results of {new['kind']} and of {old['kind']} cannot be compared")
    before, after = _by_name(old), _by_name(new)
    budget = _budgets(new, old)
    rows = []
    for key in dict.fromkeys((*after, *before)):
        if key not in after and not asked(before[key][0]):
            continue
        found = _pair(after.get(key, []), before.get(key, []), new["kind"], budget, known or installed())
        rows.append({"name": key[1], "group": key[0], **found})
    return rows


def _by_name(result: Mapping[str, Any]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in result["entries"]:
        found.setdefault((entry.get("group") or "", entry["name"]), []).append(entry)
    return found


def _budgets(new: Mapping[str, Any], old: Mapping[str, Any]) -> str:
    """The difference between the budgets of two results, as far as both state them; empty if there is none."""
    if new["kind"] == "speed":
        return ""
    a, b = _budget(new), _budget(old)
    unlike = [f"{key} {b[key]}, now {a[key]}" for key in a if key in b and a[key] != b[key]]
    return f"the settings differ: {'; '.join(unlike)}" if unlike else ""


def _budget(result: Mapping[str, Any]) -> dict[str, Any]:
    """The length of training and the recipe of a result, with the machine where the length is a time."""
    settings, environment = result.get("settings") or {}, result.get("environment") or {}
    found = {key: settings[key] for key in ("images", "seconds", "recipe") if key in settings}
    if "images" in found and found["images"] is None and found.get("seconds") is None:
        found["images"] = IMAGES
    timed = {key: environment[key] for key in MACHINE if key in environment} if found.get("seconds") else {}
    return found | timed


def _pair(
    new: Sequence[Mapping[str, Any]], old: Sequence[Mapping[str, Any]], kind: str, budget: str, known: Metrics
) -> Mapping[str, Any]:
    """The comparison of the entries of one name, of which each result should have exactly one."""
    for which, entries in (("new", new), ("old", old)):
        if not entries:
            return _refused(f"missing in the {which} result")
        if len(entries) > 1:
            return _refused(f"{len(entries)} entries of this name in the {which} result")
    a, b = new[0], old[0]
    if kind != "speed" and "incompatible" in a and "incompatible" in b:
        return {**_row(Comparison(1, 1, 1)), "measure": "none", "note": "does not fit in either result"}
    for which, entry in (("new", a), ("old", b)):
        if reason := _fault(entry, kind):
            return _refused(f"{reason} in the {which} result")
    return _times(a, b) if kind == "speed" else _refused(budget) if budget else _values(a, b, known)


def _fault(entry: Mapping[str, Any], kind: str) -> str:
    """Why an entry has nothing to compare; empty if it has."""
    for key, word in (("skipped", "left out"), ("incompatible", "does not fit"), ("failed", "failed")):
        if key in entry:
            return f"{word} ({entry[key]})"
    if kind == "speed":
        return "" if "seconds" in entry else "no times"
    values = (entry.get("final") or {}).get("values") or []
    finite = [value for value in values if value is not None and math.isfinite(value)]
    seeds = len(entry.get("seeds") or values)
    if not finite or len(finite) < max(seeds, len(values)):
        return f"{len(finite)} of {max(seeds, len(values))} seeds have a final value, the others diverged"
    return "" if entry.get("metric") else "no metric"


def _times(new: Mapping[str, Any], old: Mapping[str, Any]) -> Row:
    key = "relative" if "relative" in new and new.get("baseline") == old.get("baseline") else "seconds"
    if key not in old:
        return _refused("no ratios to the baseline in the old result")
    found = ratio_interval(new[key], old[key])
    if not all(math.isfinite(value) for value in found[:3]):
        return _refused("the times are not finite")
    return {**_row(found), "measure": "ratio"}


def _values(new: Mapping[str, Any], old: Mapping[str, Any], known: Metrics) -> Row:
    """Compare final values over seeds in the direction of their metric."""
    name = new["metric"]
    if name != old["metric"]:
        return _refused(f"the metrics differ: {old['metric']}, now {name}")
    if not known.knows(name):
        return _refused(f"whether {name} should be low or high is not known")
    if unlike := differences(new.get("protocol", {}), old.get("protocol", {})):
        return _refused(f"the protocols differ: {'; '.join(unlike[:3])}")
    after, before = new["final"]["values"], old["final"]["values"]
    value = known.value(name)
    found = _ratio(after, before, value.better == "higher") if _has_ratio(value, after, before) else None
    row = found or _difference(value, after, before, new.get("protocol", {}))
    intervals = min(len(after), len(before)) > 1
    about = {"metric": name, "before": statistics.fmean(before), "after": statistics.fmean(after)}
    return {**row, **about, "intervals": intervals, "differs": row["differs"] and intervals}


def _has_ratio(value: Value, new: Sequence[float], old: Sequence[float]) -> bool:
    """Whether the ratio of means has a meaning: of values that say so, clear of zero."""
    if not value.ratio or min(*new, *old) <= 0:
        return False
    return all(len(values) < 2 or statistics.fmean(values) > 2 * statistics.stdev(values) for values in (new, old))


def _ratio(new: Sequence[float], old: Sequence[float], higher: bool) -> Row:
    a, b = (old, new) if higher else (new, old)
    drawn = sorted(one / other for one, other in _resampled(a, b))
    return {
        **_row(Comparison(statistics.fmean(a) / statistics.fmean(b), *_interval(drawn))),
        "measure": "ratio",
    }


def _difference(value: Value, new: Sequence[float], old: Sequence[float], protocol: Mapping[str, Any]) -> Row:
    """The difference of costs, positive if the new values are worse, relative to the scale of the metric.

    Fractions are relative to 1, values near an ideal to that ideal, counts to the largest one. Others have no range of
    their own: the old value is the scale, or the width of the interval if the old value is closer to zero than that;
    then a difference within its interval counts as none.
    """
    a, b = (_costs(value, values) for values in (new, old))
    estimate = statistics.fmean(a) - statistics.fmean(b)
    low, high = _interval(sorted(one - other for one, other in _resampled(a, b)))
    scale, noise = _scale(value, protocol), (high - low) / 2
    size = abs(statistics.fmean(b))
    chance = not scale and noise >= size and low <= 0 <= high
    scale = scale or max(size, noise)

    def relative(value: float) -> float:
        return 1 + (value / scale if scale else math.copysign(math.inf, value) if value else 0.0)

    row = _row(Comparison(1.0 if chance else relative(estimate), relative(low), relative(high)))
    return {**row, "measure": "difference", "difference": (estimate, low, high)}


def _costs(value: Value, values: Sequence[float]) -> list[float]:
    """The values as costs: negated where higher is better, the distance from the ideal where near is better."""
    if value.better == "near":
        return [abs(one - (value.ideal or 0.0)) for one in values]
    return [-one if value.better == "higher" else one for one in values]


def _scale(value: Value, protocol: Mapping[str, Any]) -> float:
    """The width of the range of a metric's values; 0 if it has none."""
    if value.better == "near":
        return value.ideal or 1.0
    return float((protocol.get("settings") or {}).get("of") or 0) if value.counts else value.scale


def _resampled(a: Sequence[float], b: Sequence[float], draws: int = 2000) -> list[tuple[float, float]]:
    """Pairs of the means of bootstrap samples."""
    chance = random.Random(0)
    return [
        (statistics.fmean(chance.choices(a, k=len(a))), statistics.fmean(chance.choices(b, k=len(b))))
        for _ in range(draws)
    ]


def _interval(drawn: Sequence[float]) -> tuple[float, float]:
    return drawn[len(drawn) // 40], drawn[len(drawn) - len(drawn) // 40 - 1]


def _refused(reason: str) -> Row:
    return {**_row(Comparison(math.inf, math.inf, math.inf)), "measure": "none", "reason": reason}


def _row(found: Comparison) -> Row:
    return {
        "median": found.median,
        "low": found.low,
        "high": found.high,
        "differs": found.differs,
        "intervals": True,
    }
