"""The metrics by name: what each group measures, what it needs, which direction is good, when a value is a warning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aigc_zoo.errors import UsageError


@dataclass(frozen=True)
class Kind:
    """One value. `ideal` is what real samples read, where that is a number of its own."""

    name: str
    title: str
    better: Literal["lower", "higher", "near"]
    ideal: float | None = None


@dataclass(frozen=True)
class Group:
    """Values that are computed together, and what from: `features` and `held_out` of the data, `logits` of samples."""

    name: str
    values: tuple[Kind, ...]
    features: bool = False
    logits: bool = False
    held_out: bool = False


GROUPS: Mapping[str, Group] = {
    group.name: group
    for group in (
        Group("fid", (Kind("fid", "Frechet distance", "lower", 0.0),)),
        Group("kid", (Kind("kid", "kernel distance", "lower", 0.0),), features=True),
        Group("isc", (Kind("isc", "Inception Score", "higher"),), logits=True),
        Group("prc", (Kind("precision", "precision", "higher"), Kind("recall", "recall", "higher")), features=True),
        Group("dac", (Kind("density", "density", "higher"), Kind("coverage", "coverage", "higher")), features=True),
        Group("variance-ratio", (Kind("variance-ratio", "variance over the data's", "near", 1.0),)),
        Group("duplicates", (Kind("duplicates", "share of near copies of each other", "lower", 0.01),), features=True),
        Group("modes", (Kind("modes", "modes found", "higher"), Kind("kl", "KL of modes", "lower", 0.0))),
        Group("memorisation", (Kind("gap", "training gap", "near", 1.0),), features=True, held_out=True),
    )
}
KINDS: Mapping[str, Kind] = {kind.name: kind for group in GROUPS.values() for kind in group.values}

SMALL = 10_000
"""With fewer samples the kernel distance leads: it is unbiased, where the Frechet distance is not."""


def groups_of(names: Iterable[str]) -> tuple[str, ...]:
    """The groups that are meant by names of groups or of values, each once, in the order given; "all" means all.

    Raises UsageError for names that mean nothing.
    """
    found: dict[str, None] = {}
    for name in (name.strip() for name in names):
        if name == "all":
            found |= dict.fromkeys(GROUPS)
            continue
        group = next((g for g in GROUPS.values() if name == g.name or name in (k.name for k in g.values)), None)
        if group is None:
            raise UsageError(f"--metrics {name}: not known; there is {', '.join(GROUPS)}, or all")
        found[group.name] = None
    if not found:
        raise UsageError(f"--metrics: name at least one of {', '.join(GROUPS)}")
    return tuple(found)


def short_name(name: str) -> str:
    """A metric's name without its extractor: "variance-ratio" for "variance-ratio-zoo-grey28"."""
    known = [short for short in KINDS if name == short or name.startswith(f"{short}-")]
    return max(known, key=len, default=name.partition("-")[0])


def kind_of(name: str) -> Kind:
    """The kind of a metric's full name, as in "fid-zoo-grey28"; a stranger's metric is lower where it is better."""
    short = short_name(name)
    return KINDS.get(short) or Kind(short, short, "lower")


def improves(name: str, value: float, best: float) -> bool:
    """Whether `value` of this metric is better than `best`."""
    kind = kind_of(name)
    if kind.better == "near":
        ideal = kind.ideal or 0.0
        return abs(value - ideal) < abs(best - ideal)
    return value > best if kind.better == "higher" else value < best


def leading(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Records in the order in which people should read them: with few samples the kernel distance comes first."""
    found = list(records)
    small = any(int(record.get("protocol", {}).get("num", SMALL)) < SMALL for record in found)
    return sorted(found, key=lambda record: not (small and kind_of(str(record["name"])).name == "kid"))


# --- collapse and copying ---------------------------------------------------------------------------------------------

DUPLICATES, VARIANCE_RATIO, GAP = 0.1, 1 / 3, 0.5


def warnings(values: Mapping[str, float | None], modes: int | None = None) -> dict[str, str]:
    """What is wrong with samples of these values, a sentence for each kind; `modes` is how many the data have.

    Real samples read 0.01, 1 and 1: a tenth of near copies, a third of the variance or half of the distance to training
    pictures are far from anything that chance makes. Real pictures of a single digit of MNIST have 0.09 to 0.30 of the
    variance, drafts of a young generator that knows all ten were seen from 0.42 on.
    """
    short = {kind_of(name).name: value for name, value in values.items() if value is not None}
    found = {}
    if (duplicates := short.get("duplicates", 0.0)) > DUPLICATES:
        found["duplicates"] = f"collapse: {duplicates:.0%} of the samples are near copies of each other"
    if (ratio := short.get("variance-ratio", 1.0)) < VARIANCE_RATIO:
        found["variance-ratio"] = f"collapse: the samples have {ratio:.0%} of the data's variance"
    if modes and short.get("modes", modes) < modes:
        found["modes"] = f"collapse: {short['modes']:,.0f} of {modes:,} modes are found"
    if (gap := short.get("gap", 1.0)) < GAP:
        found["gap"] = f"copies: samples are {gap:.0%} as far from the training pictures as held-out pictures are"
    return found


def modes_of(records: Iterable[Mapping[str, Any]]) -> int | None:
    """How many modes the data have, as the protocol of the modes found states it."""
    for record in records:
        if kind_of(str(record["name"])).name == "modes":
            return int(record["protocol"]["settings"]["of"])
    return None
