"""The installed metrics: their names, the directions of their values, and warnings about these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from aigc_zoo.data.modalities import modality
from aigc_zoo.discovery import Entry
from aigc_zoo.errors import ConfigError, UsageError
from aigc_zoo.game import Spec
from aigc_zoo.metric import Metric, Record, Value
from aigc_zoo.options import bind
from aigc_zoo.plugins import Catalogue, catalogue

MORE_SAMPLES = "use a larger --num"
"""The remedy for too few samples in `zoo eval`."""

SMALL = 10_000
"""With fewer samples unbiased values are reported first."""

_SPELLINGS = {"memorisation": "memorization"}
"""Accepted spellings of names."""


@dataclass(frozen=True)
class Known:
    """An installed metric. `name` is what users write: the id, without `zoo/`."""

    name: str
    entry: Entry
    metric: Metric

    def full(self, value: str) -> str:
        """The name of a value in records: that of another package is preceded by its namespace."""
        return value if self.entry.namespace == "zoo" else f"{self.entry.namespace}/{value}"

    @property
    def title(self) -> str:
        return " and ".join(value.title for value in self.metric.values)


class Metrics:
    """The metrics of a catalogue, the zoo's first. What a package brings is imported when it is named or all are asked
    for, so that no installed package costs time or an error in runs that do not use it.

    A metric whose plugin raises is left out of all, and an error where it is named.
    """

    def __init__(self, found: Catalogue) -> None:
        self.catalogue = found
        self._loaded: dict[str, Known] = {}

    def of_namespace(self, space: str = "*") -> list[Known]:
        """Those of a namespace that can be built, by default of all."""
        found = []
        for entry in self.catalogue.items("metric", f"{space}/*"):
            with suppress(ConfigError):
                found.append(self._load(entry))
        return found

    @property
    def values(self) -> Mapping[str, Value]:
        """The values of all metrics by their names in records."""
        return _values(self.of_namespace())

    def __getitem__(self, name: str) -> Known:
        return self.find(name)

    def find(self, name: str, namespace: str | None = None) -> Known:
        """The metric of this name or id. Raises ConfigError where there is none, or where it cannot be built."""
        return self._load(self.catalogue.find("metric", name, namespace).entry)

    def _load(self, entry: Entry) -> Known:
        if entry.id not in self._loaded:
            metric = bind(self.catalogue, "metric", entry.id)[1]()
            if not isinstance(metric, Metric):
                raise ConfigError(f"metric {entry.id} returns a {type(metric).__name__}, not a metric.Metric")
            self._loaded[entry.id] = Known(_name(entry), entry, metric)
        return self._loaded[entry.id]

    # --- which are measured -------------------------------------------------------------------------------------------

    def measures(self, known: Known, modality: str) -> bool:
        """Whether it measures samples of a modality."""
        find, space = self.catalogue.find, known.entry.namespace
        own = [find("modality", one, space).entry.id for one in known.metric.modalities]
        held = find("modality", modality).entry.id
        return not own or held in own

    def defaults(self, spec: Spec, *, evaluation: bool = False) -> tuple[Known, ...]:
        """The metrics that a modality states for training, or for an evaluation."""
        entry = self.catalogue.find("modality", spec.modality).entry
        own = modality(self.catalogue, spec.modality)
        names = own.evaluation(spec) if evaluation else own.metrics(spec)
        return tuple(self.find(name, entry.namespace) for name in names)

    def of_samples(self, spec: Spec) -> tuple[Known, ...]:
        """All that measure such samples, the defaults first. One for any modality gives way to one for this with the
        same values.
        """
        fitting = [known for known in self.of_namespace() if self.measures(known, spec.modality)]
        special = {value.name for known in fitting if known.metric.modalities for value in known.metric.values}
        kept = (
            known
            for known in fitting
            if known.metric.modalities or not {value.name for value in known.metric.values} <= special
        )
        defaults = (*self.defaults(spec), *self.defaults(spec, evaluation=True))
        return tuple({known.name: known for known in (*defaults, *kept)}.values())

    def named(self, names: Iterable[str], spec: Spec) -> tuple[str, ...]:
        """The metrics that names of metrics or of their values refer to, without repetition, in the order given; "all"
        means all that measure such samples. Raises UsageError for unknown names.
        """
        found: dict[str, None] = {}
        for name in (_SPELLINGS.get(name.strip(), name.strip()) for name in names):
            if name == "all":
                found |= dict.fromkeys(known.name for known in self.of_samples(spec))
                continue
            found[self._named(name, spec).name] = None
        if not found:
            raise UsageError(f"--metrics: name at least one of {self._choices(spec)}")
        return tuple(found)

    def _choices(self, spec: Spec) -> str:
        return ", ".join(known.name for known in self.of_samples(spec))

    def _named(self, name: str, spec: Spec) -> Known:
        """Of the zoo's one that measures the modality, and rather one for it than one for any; else another package's
        of this name, else one with a value of this name.
        """
        ours = [one for one in self.of_namespace("zoo") if name in (one.name, one.entry.id, *_value_names(one))]
        if ours:
            fitting = [one for one in ours if self.measures(one, spec.modality)] or ours
            return max(fitting, key=lambda one: (bool(one.metric.modalities), name in (one.name, one.entry.id)))
        if self.catalogue.has("metric", name):
            return self.find(name)
        found = [one for one in self.of_namespace() if name in (*_value_names(one), *map(one.full, _value_names(one)))]
        if not found:
            raise UsageError(f"--metrics {name}: unknown metric; choose from {self._choices(spec)}, or all")
        if len(found) > 1:
            raise UsageError(
                f"--metrics {name}: {' and '.join(one.name for one in found)} measure it: write one of these"
            )
        return found[0]

    # --- values -------------------------------------------------------------------------------------------------------

    def short_name(self, name: str) -> str:
        """A value's name without its extractor: "variance-ratio" for "variance-ratio-zoo-grey28"."""
        known = [short for short in self.beside(name) if name == short or name.startswith(f"{short}-")]
        return max(known, key=len, default=name.partition("-")[0])

    def beside(self, name: str) -> Mapping[str, Value]:
        """The values of the package whose value has this name in records."""
        return _values(self.of_namespace(name.rpartition("/")[0] or "zoo"))

    def knows(self, name: str) -> bool:
        """Whether a metric that computes this value is installed."""
        return self.short_name(name) in self.beside(name)

    def value(self, name: str) -> Value:
        """The value of a full name such as "fid-zoo-grey28"; lower is better for values that are not known here."""
        short = self.short_name(name)
        return self.beside(name).get(short) or Value(short, short, "lower")

    def improves(self, name: str, value: float, best: float) -> bool:
        """Return whether `value` of this metric is better than `best`."""
        info = self.value(name)
        if info.better == "near":
            ideal = info.ideal or 0.0
            return abs(value - ideal) < abs(best - ideal)
        return value > best if info.better == "higher" else value < best

    def leading(self, records: Iterable[Record]) -> list[Record]:
        """Sort records for display: with few samples unbiased values come first."""
        found = list(records)
        small = any(int(record.get("protocol", {}).get("num", SMALL)) < SMALL for record in found)
        return sorted(found, key=lambda record: not (small and self.value(str(record["name"])).unbiased))

    def unbiased(self, records: Iterable[Record]) -> Record | None:
        """The first of these whose mean does not depend on the number of samples; None if there is none."""
        return next((record for record in records if self.value(str(record["name"])).unbiased), None)

    def warnings(self, records: Iterable[Record]) -> dict[str, str]:
        """Warnings about the samples, such as collapse and memorization, by value, from records of one evaluation.

        A warning compares the value with that of equally many real samples, which a record has as `data`.
        """
        found = {self.short_name(str(one["name"])): one for one in records if one["value"] is not None}
        texts = {
            name: warn(float(record["value"]), record)
            for name, record in found.items()
            if (warn := self.value(name).warn) is not None
        }
        return {name: text for name, text in texts.items() if text}

    def alarm(self, name: str) -> str:
        """The short form of the warning of a value; its name where it states none."""
        return self.value(name).alarm or name


def _values(metrics: Iterable[Known]) -> dict[str, Value]:
    return {known.full(value.name): value for known in reversed([*metrics]) for value in known.metric.values}


def _value_names(known: Known) -> tuple[str, ...]:
    return tuple(value.name for value in known.metric.values)


def _name(entry: Entry) -> str:
    return entry.name if entry.namespace == "zoo" else entry.id


@lru_cache(maxsize=8)
def installed(found: Catalogue | None = None) -> Metrics:
    """The metrics of a catalogue, by default of all packages that are installed."""
    return Metrics(found or catalogue())


# --- numbers of samples -----------------------------------------------------------------------------------------------


def shortage(known: Known, count: int, what: str, features: int, *, few: bool = False) -> str:
    """The sentence that `count` samples are too few for a metric; empty if they are enough. `what` is their name."""
    least = known.metric.fewest if few else known.metric.least(features)
    if count >= least:
        return ""
    word, _, rest = what.partition(" ")
    noun = " ".join(filter(None, (word.removesuffix("s") if count == 1 else word, rest)))
    grows = known.metric.least(2 * features) != known.metric.least(features)
    title = f"{known.title} with {features:,} features" if grows else known.title
    return f"{count:,} {noun} {'is' if count == 1 else 'are'} too few for {title}: at least {least:,} are needed"


def remedy(known: Known, count: int, more: str = MORE_SAMPLES, *, few: bool | None = False, other: str = "") -> str:
    """The remedy for a shortage: `more` samples; with `count` samples, what else helps.

    That is --allow-few unless it is set; in training, where `few` is None, the `other` metrics.
    """
    if few is None:
        return f"{more}, or --metrics {other}" if other else more
    return f"{more}, or --allow-few, which the protocol records" if not few and count >= known.metric.fewest else more
