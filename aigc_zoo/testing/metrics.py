"""Checks of metrics: their values have names, and real samples measured against themselves read the ideal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import get_args

import torch
from torch import Tensor

from aigc_zoo.data import resolve
from aigc_zoo.data.pool import Pool
from aigc_zoo.errors import ConfigError, DataError, StorageError
from aigc_zoo.game import Samples
from aigc_zoo.metric import Measured, Metric, Part, Value
from aigc_zoo.metrics.known import Known, shortage
from aigc_zoo.testing.assertions import offline, require
from aigc_zoo.testing.checks import CheckFailed, check
from aigc_zoo.testing.fixtures import seeded, target_of
from aigc_zoo.testing.subjects import ComponentSubject
from aigc_zoo.testing.views import DIMENSIONS, MemoryView

NEEDS = frozenset({"features", "logits", "samples", "labels", *get_args(Part)[2:]})
"""What a metric may need."""

ROWS = 512
"""Real samples that are measured, or as many more as a metric needs."""

TOLERANCE = 0.01
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def _metric(subject: ComponentSubject) -> Metric:
    metric = target_of(subject)()
    require(isinstance(metric, Metric), f"it returns a {type(metric).__name__}, not a modality.Metric")
    return metric  # type: ignore[no-any-return]


@check("V-STATES", needs="cpu", kinds=("metric",))
def metric_states_what_it_is(subject: ComponentSubject) -> str:
    """It names its values with titles and directions, and what it needs: modalities and an extractor that are
    installed, entries, and a number of samples that grows with the dimension of features.
    """
    metric = _metric(subject)
    require(metric.values, "it has no values: state at least one modality.Value")
    names = [value.name for value in metric.values]
    require(len(set(names)) == len(names), f"two of its values are called {max(names, key=names.count)}")
    for value in metric.values:
        _require_value(value)
    unknown = sorted(metric.needs - NEEDS)
    require(not unknown, f"it needs {', '.join(unknown)}, which is none of {', '.join(sorted(NEEDS))}")
    for kind, ids in (("modality", metric.modalities), ("extractor", (metric.extractor,) if metric.extractor else ())):
        require(isinstance(ids, tuple), f"`modalities` is a {type(ids).__name__}, not a tuple of ids")
        for id in ids:
            try:
                subject.catalogue.find(kind, id, subject.entry.namespace)
            except ConfigError as error:
                raise CheckFailed(f"it states the {kind} {id!r}: {' '.join(str(error).split())}") from error
    least = [metric.least(dimensions) for dimensions in (1, DIMENSIONS, 2048)]
    require(
        all(isinstance(one, int) and one > 0 for one in least) and least == sorted(least),
        f"`least` states {least} samples for 1, {DIMENSIONS} and 2048 features, not growing positive integers",
    )
    return f"values: {', '.join(names)}"


def _require_value(value: Value) -> None:
    require(isinstance(value, Value), f"{value!r:.60} is no modality.Value")
    require(_NAME.fullmatch(value.name), f"the name {value.name!r} of a value does not match {_NAME.pattern}")
    require(value.title, f"value {value.name} has no title for tables")
    require(value.better in ("lower", "higher", "near"), f"value {value.name}: better is {value.better!r}")
    stated = value.ideal is not None or value.better != "near"
    require(stated, f"value {value.name} is better near an ideal: state the ideal")
    require(value.ideal is None or math.isfinite(value.ideal), f"value {value.name} has the ideal {value.ideal}")


@check("V-IDEAL", needs="cpu", kinds=("metric",))
def reals_read_the_ideal(subject: ComponentSubject) -> str:
    """Real samples measured against themselves give every value that it states, finite, equal each time and for chunks
    of any size, and at the ideal of those that have one.
    """
    metric = _metric(subject)
    samples = next(_data(subject, metric), None)
    if samples is None:
        return "no dataset with what it measures is on this machine: only what it states is checked"
    measured = _measured(metric, samples, 64)
    names = [value.name for value in metric.values]
    returned = ", ".join(measured) or "nothing"
    require(sorted(measured) == sorted(names), f"`measure` returns {returned}, not {', '.join(names)}")
    for value in metric.values:
        found = measured[value.name]
        require(isinstance(found, Measured), f"`measure` returns a {type(found).__name__}, not a modality.Measured")
        number = float(found.value)
        require(math.isfinite(number), f"{value.name} of {samples.name} against itself is {number}")
        if value.ideal is not None:
            near = abs(number - value.ideal) <= TOLERANCE * max(1.0, abs(value.ideal))
            if found.interval is not None:
                near = near or found.interval[0] <= value.ideal <= found.interval[1]
            itself = f"{value.name} of {samples.name} against itself"
            require(near, f"{itself} is {number:.4g}, not its ideal {value.ideal:g}")
        if found.interval is not None:
            low, high = found.interval
            require(low <= number <= high, f"the interval of {value.name}, {low:.4g} to {high:.4g}, excludes its value")
    for chunk in (64, 7):
        again = _measured(metric, samples, chunk)
        for name in names:
            same = math.isclose(float(measured[name].value), float(again[name].value), rel_tol=1e-4, abs_tol=1e-6)
            require(same, f"{name} differs when it is measured again, in chunks of {chunk}: it keeps state or noise")
    return f"on {samples.name}: {', '.join(f'{name} {float(one.value):.4g}' for name, one in measured.items())}"


@check("V-LEAST", needs="cpu", kinds=("metric",))
def the_least_number_of_samples_is_enough(subject: ComponentSubject) -> str | None:
    """With exactly as many samples as `least` states, and with as few as `fewest` admits, its values are finite; an
    evaluation with fewer is refused.
    """
    metric = _metric(subject)
    samples = next(_data(subject, metric), None)
    if samples is None:
        return "no dataset with what it measures is on this machine: only what it states is checked"
    dimensions = _dimensions(metric, samples)
    require(0 < metric.fewest <= metric.least(dimensions), f"`fewest` is {metric.fewest}, and `least` is smaller")
    known = Known(subject.entry.name, subject.entry, metric)
    for count, few in ((metric.least(dimensions), False), (metric.fewest, True)):
        for name, one in _measured(metric, samples, 64, count).items():
            require(math.isfinite(float(one.value)), f"{name} of {count} samples is {one.value}: state more as `least`")
        require(shortage(known, count - 1, "samples", dimensions, few=few), f"{count - 1} samples are not refused")
    return None


def _dimensions(metric: Metric, samples: Samples) -> int:
    return _view(metric, samples, 64, 1).features().shape[1]


def _measured(metric: Metric, samples: Samples, chunk: int, rows: int | None = None) -> Mapping[str, Measured]:
    view = _view(metric, samples, chunk, rows)
    found = seeded(metric.measure, view, seed=chunk)
    require(isinstance(found, Mapping), f"`measure` returns a {type(found).__name__}, not a mapping of values")
    return found  # type: ignore[no-any-return]


def _view(metric: Metric, samples: Samples, chunk: int, rows: int | None = None) -> MemoryView:
    """The samples as the generated ones and as the reference. Where the metric needs a held-out split, rows after those
    of the reference are the held-out ones, and the generated ones as well: nobody trained on them.
    """
    wanted = max(ROWS, metric.least(DIMENSIONS)) if rows is None else rows
    count = min(len(samples) // 2 if "held_out" in metric.needs else len(samples), wanted)
    batch = Pool(samples, "cpu").rows(torch.arange(len(samples))[: 2 * count])
    quantize = samples.quantize or (lambda x: x)
    real = quantize(batch["real"])
    held_out = real[count:] if "held_out" in metric.needs else None
    entries: dict[str, Tensor] = {name: value[:count] for name, value in batch.items() if name != "real"}
    labels = batch["label"].argmax(1)[:count] if "label" in batch else None
    return MemoryView(
        samples.spec,
        entries | {"fake": real[:count] if held_out is None else held_out, "real": real[:count]},
        real[:count],
        held_out=held_out,
        labels=labels,
        classes=samples.classes,
        chunk=chunk,
    )


def _data(subject: ComponentSubject, metric: Metric) -> Iterator[Samples]:
    """Datasets that it measures: those of its own package, then those of others that need no files."""
    entries = subject.catalogue.items("dataset")
    find = subject.catalogue.find
    own = [entry for entry in entries if entry.distribution == subject.owner and entry.namespace != "zoo"]
    others = [entry for entry in entries if "offline" in entry.component.tags and entry not in own]
    for entry in (*own, *others):
        try:
            with offline():
                samples = resolve.load(subject.catalogue, entry.id)["train"]
        except (ConfigError, DataError, StorageError):  # the checks of datasets report it
            continue
        wanted = {find("modality", id, subject.entry.namespace).entry.id for id in metric.modalities}
        modality = find("modality", samples.spec.modality).entry.id
        lacking = {*metric.entries} - {"fake", "real", "label", *samples.spec.entries}
        fits = (not wanted or modality in wanted) and not lacking and (samples.classes or "labels" not in metric.needs)
        if fits and not metric.refuses(samples.spec):
            yield samples
