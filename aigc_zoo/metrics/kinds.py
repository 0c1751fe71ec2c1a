"""The metrics by name: groups, titles, directions and the thresholds of warnings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aigc_zoo.errors import UsageError


@dataclass(frozen=True)
class MetricInfo:
    """Name, title and direction of one metric. `ideal` is the value of real samples, where it is a known number."""

    name: str
    title: str
    better: Literal["lower", "higher", "near"]
    ideal: float | None = None


@dataclass(frozen=True)
class MetricGroup:
    """Metrics that are computed together, and whether they need `logits` of the samples or a `held_out` split.

    `paired` groups compare neighbours and use as many reference samples as generated ones.
    """

    name: str
    values: tuple[MetricInfo, ...]
    logits: bool = False
    held_out: bool = False
    paired: bool = False


_FID, _KID = MetricInfo("fid", "FID", "lower", 0.0), MetricInfo("kid", "KID", "lower", 0.0)
_ISC = MetricInfo("isc", "Inception Score", "higher")
_PRC = MetricInfo("precision", "precision", "higher"), MetricInfo("recall", "recall", "higher")
_DAC = MetricInfo("density", "density", "higher"), MetricInfo("coverage", "coverage", "higher")
_VARIANCE = MetricInfo("variance-ratio", "variance ratio", "near", 1.0)
_DUPLICATES = MetricInfo("duplicates", "near-duplicates", "lower", 0.01)
_MODES = MetricInfo("modes", "modes found", "higher"), MetricInfo("kl", "KL of the modes", "lower", 0.0)
_GAP = MetricInfo("gap", "training gap", "near", 1.0)

GROUPS: Mapping[str, MetricGroup] = {
    group.name: group
    for group in (
        MetricGroup("fid", (_FID,)),
        MetricGroup("kid", (_KID,)),
        MetricGroup("isc", (_ISC,), logits=True),
        MetricGroup("prc", _PRC, paired=True),
        MetricGroup("dac", _DAC, paired=True),
        MetricGroup("variance-ratio", (_VARIANCE,)),
        MetricGroup("duplicates", (_DUPLICATES,), paired=True),
        MetricGroup("modes", _MODES),
        MetricGroup("memorization", (_GAP,), held_out=True),
    )
}
METRICS: Mapping[str, MetricInfo] = {info.name: info for group in GROUPS.values() for info in group.values}

_SPELLINGS = {"memorisation": "memorization"}
"""Accepted spellings of group names."""

SMALL = 10_000
"""With fewer samples KID is reported first: it is unbiased, where FID is not."""


def groups_of(names: Iterable[str]) -> tuple[str, ...]:
    """The groups that names of groups or metrics refer to, without repetition, in the order given; "all" means all.

    Raises UsageError for unknown names.
    """
    found: dict[str, None] = {}
    for name in (_SPELLINGS.get(name.strip(), name.strip()) for name in names):
        if name == "all":
            found |= dict.fromkeys(GROUPS)
            continue
        group = next((g for g in GROUPS.values() if name == g.name or name in (k.name for k in g.values)), None)
        if group is None:
            raise UsageError(f"--metrics {name}: unknown metric; choose from {', '.join(GROUPS)}, or all")
        found[group.name] = None
    if not found:
        raise UsageError(f"--metrics: name at least one of {', '.join(GROUPS)}")
    return tuple(found)


def short_name(name: str) -> str:
    """A metric's name without its extractor: "variance-ratio" for "variance-ratio-zoo-grey28"."""
    known = [short for short in METRICS if name == short or name.startswith(f"{short}-")]
    return max(known, key=len, default=name.partition("-")[0])


def metric_info(name: str) -> MetricInfo:
    """The metric of a full name such as "fid-zoo-grey28"; lower is better for metrics that are not known here."""
    short = short_name(name)
    return METRICS.get(short) or MetricInfo(short, short, "lower")


def improves(name: str, value: float, best: float) -> bool:
    """Return whether `value` of this metric is better than `best`."""
    info = metric_info(name)
    if info.better == "near":
        ideal = info.ideal or 0.0
        return abs(value - ideal) < abs(best - ideal)
    return value > best if info.better == "higher" else value < best


def leading(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Sort records for display: with few samples KID comes first."""
    found = list(records)
    small = any(int(record.get("protocol", {}).get("num", SMALL)) < SMALL for record in found)
    return sorted(found, key=lambda record: not (small and short_name(str(record["name"])) == "kid"))


# --- collapse and memorization ----------------------------------------------------------------------------------------

DUPLICATES, VARIANCE_RATIO, GAP = 0.1, 1 / 3, 0.5
"""Thresholds of the warnings."""


def warnings(values: Mapping[str, float | None], modes: int | None = None) -> dict[str, str]:
    """Warnings about collapse and memorization by metric; `modes` is the number of modes in the data.

    Real samples have values of 0.01, 1 and 1: a tenth of near-duplicates, a third of the variance or half of the
    distance to training images are far beyond chance. Real images of a single digit of MNIST have 0.09 to 0.30 of the
    variance; early samples of a generator that draws all ten digits were measured from 0.42 on.
    """
    short = {short_name(name): value for name, value in values.items() if value is not None}
    found = {}
    if (duplicates := short.get("duplicates", 0.0)) > DUPLICATES:
        found["duplicates"] = f"collapse: {duplicates:.0%} of the samples are near-duplicates"
    if (ratio := short.get("variance-ratio", 1.0)) < VARIANCE_RATIO:
        found["variance-ratio"] = f"collapse: the samples have {ratio:.0%} of the data's variance"
    if modes and short.get("modes", modes) < modes:
        found["modes"] = f"collapse: {short['modes']:,.0f} of {modes:,} modes found"
    if (gap := short.get("gap", 1.0)) < GAP:
        found["gap"] = f"memorization: samples are {gap:.0%} as far from the training images as held-out images are"
    return found


def modes_of(records: Iterable[Mapping[str, Any]]) -> int | None:
    """The number of modes in the data, as the protocol of the `modes` metric states it; None if it was not measured."""
    for record in records:
        if short_name(str(record["name"])) == "modes":
            return int(record["protocol"]["settings"]["of"])
    return None
