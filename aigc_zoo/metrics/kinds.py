"""The metrics by name: groups, titles, directions and the thresholds of warnings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
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

    `paired` groups compare neighbours and use as many reference samples as generated ones. `least` samples and
    reference samples are needed, given the number of features, and `fewest` with --allow-few.
    """

    name: str
    values: tuple[MetricInfo, ...]
    logits: bool = False
    held_out: bool = False
    paired: bool = False
    least: Callable[[int], int] = lambda features: 2
    fewest: int = 2


_FID, _KID = MetricInfo("fid", "FID", "lower", 0.0), MetricInfo("kid", "KID", "lower", 0.0)
_ISC = MetricInfo("isc", "Inception Score", "higher")
_PRC = MetricInfo("precision", "precision", "higher"), MetricInfo("recall", "recall", "higher")
_DAC = MetricInfo("density", "density", "higher"), MetricInfo("coverage", "coverage", "higher")
_VARIANCE = MetricInfo("variance-ratio", "variance ratio", "near", 1.0)
_DUPLICATES = MetricInfo("duplicates", "near-duplicates", "lower", 0.01)
_MODES = MetricInfo("modes", "modes found", "higher"), MetricInfo("kl", "KL of the modes", "lower", 0.0)
_GAP = MetricInfo("gap", "training gap", "near", 1.0)

KID_LEAST = 1_000
"""The usual size of a subset for KID."""

GROUPS: Mapping[str, MetricGroup] = {
    group.name: group
    for group in (
        MetricGroup("fid", (_FID,), least=lambda features: features + 1),
        MetricGroup("kid", (_KID,), least=lambda features: KID_LEAST, fewest=4),
        MetricGroup("isc", (_ISC,), logits=True),
        MetricGroup("prc", _PRC, paired=True, least=lambda features: 4, fewest=4),
        MetricGroup("dac", _DAC, paired=True, least=lambda features: 6, fewest=6),
        MetricGroup("variance-ratio", (_VARIANCE,)),
        MetricGroup("duplicates", (_DUPLICATES,), paired=True),
        MetricGroup("modes", _MODES, least=lambda features: 1, fewest=1),
        MetricGroup("memorization", (_GAP,), held_out=True, least=lambda features: 1, fewest=1),
    )
}
METRICS: Mapping[str, MetricInfo] = {info.name: info for group in GROUPS.values() for info in group.values}

MORE_SAMPLES = "use a larger --num"
"""The remedy for too few samples in `zoo eval`."""


def shortage(group: str, count: int, what: str, features: int, *, few: bool = False) -> str:
    """The sentence that `count` samples are too few for a group; empty if they are enough. `what` is their name."""
    info = GROUPS[group]
    least = info.fewest if few else info.least(features)
    if count >= least:
        return ""
    word, _, rest = what.partition(" ")
    noun = " ".join(filter(None, (word.removesuffix("s") if count == 1 else word, rest)))
    title = " and ".join(value.title for value in info.values)
    title += f" with {features:,} features" if group == "fid" else ""
    return f"{count:,} {noun} {'is' if count == 1 else 'are'} too few for {title}: at least {least:,} are needed"


def remedy(group: str, count: int, more: str = MORE_SAMPLES, *, few: bool | None = False) -> str:
    """The remedy for a shortage: `more` samples; with `count` samples, what else helps.

    That is --allow-few unless it is set; in training, where `few` is None, metrics that need two samples.
    """
    if few is None:
        return f"{more}, or --metrics variance-ratio,duplicates" if count >= 2 else more
    return f"{more}, or --allow-few, which the protocol records" if not few and count >= GROUPS[group].fewest else more


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

DUPLICATES, VARIANCE_RATIO, GAP, CROWDING = 0.1, 1 / 3, 0.5, 3.0
"""Thresholds of the warnings, relative to the values of real samples."""

ENOUGH = 20
"""With fewer samples, or fewer of the data, the rate of near-duplicates is chance."""

Record = Mapping[str, Any]


def warnings(records: Iterable[Record]) -> dict[str, str]:
    """Warnings about collapse and memorization by metric, from records of one evaluation.

    Each value is compared with that of equally many real samples, which a record has as `data`; in records without it,
    from earlier versions, real samples have 0.01 near-duplicates, all of the variance and all modes. A tenth more
    near-duplicates, three times as many of each sample, a third of the variance or half of the distance to training
    images are far beyond chance. Real images of a single digit of MNIST have 0.09 to 0.30 of the variance; early
    samples of a generator that draws all ten digits were measured from 0.42 on.
    """
    found = {short_name(str(record["name"])): record for record in records if record["value"] is not None}
    texts = {name: _WARNINGS[name](float(found[name]["value"]), found[name]) for name in _WARNINGS if name in found}
    return {name: text for name, text in texts.items() if text}


def _data(record: Record, key: str, default: float) -> float:
    data = record.get("data")
    value = data.get(key) if isinstance(data, Mapping) else None
    return float(value) if isinstance(value, int | float) else default


def _duplicates(rate: float, record: Record) -> str:
    stamp = record.get("protocol", {})
    if min(stamp.get("num", ENOUGH), stamp.get("reference_num", ENOUGH)) < ENOUGH:
        return ""
    data, crowding = _data(record, "value", 0.0), _data(record, "crowding", 1.0)
    least = DUPLICATES + max(0.0, data - (_DUPLICATES.ideal or 0.0))
    if rate > least:
        return f"collapse: {rate:.0%} of the samples are near-duplicates" + (
            f", and {data:.0%} of the data" if data > DUPLICATES else ""
        )
    if rate > DUPLICATES and crowding > CROWDING:
        return f"collapse: samples repeat {crowding:,.1f} times as often as the data, which repeat by nature"
    return ""


def _variance_ratio(ratio: float, record: Record) -> str:
    below = ratio < VARIANCE_RATIO * _data(record, "value", 1.0)
    return f"collapse: the samples have {ratio:.0%} of the data's variance" if below else ""


def _modes(modes: float, record: Record) -> str:
    """The number of modes that real samples miss varies by about its root."""
    total = int(record["protocol"]["settings"]["of"])
    missing = total - _data(record, "value", total)
    if total - modes <= missing + 3 * math.sqrt(missing):
        return ""
    shown = f", and {total - missing:,.0f} in equally many real samples" if missing > 0.5 else ""
    return f"collapse: {modes:,.0f} of {total:,} modes found{shown}"


def _gap(gap: float, record: Record) -> str:
    text = f"memorization: samples are {gap:.0%} as far from the training images as held-out images are"
    return text if gap < GAP else ""


_WARNINGS: Mapping[str, Callable[[float, Record], str]] = {
    "duplicates": _duplicates,
    "variance-ratio": _variance_ratio,
    "modes": _modes,
    "gap": _gap,
}
