"""Evaluator: metrics of samples against one split of a dataset, for training and for `zoo eval`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.data.modalities import alike, modality
from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.game import Samples
from aigc_zoo.metric import Measured
from aigc_zoo.metrics import known
from aigc_zoo.metrics.classifier import unfit_reason
from aigc_zoo.metrics.features import BATCH, NO_WEIGHTS, Extractor, load_extractor
from aigc_zoo.metrics.generated import Generated, Rows, Source
from aigc_zoo.metrics.known import MORE_SAMPLES, Known, Metrics
from aigc_zoo.metrics.protocol import protocol, versions_of
from aigc_zoo.metrics.reference import Progress, Reference, dataset_batches
from aigc_zoo.metrics.view import Extraction, SplitView
from aigc_zoo.options import explain_errors

__all__ = ["NUM", "REFERENCE_NUM", "Evaluator", "dataset_batches", "default_num"]

NUM = 2_048
REFERENCE_NUM = 60_000
SILENT: Progress = lambda what, done, total: None  # noqa: E731

HasEntry = Callable[[str], bool]


def default_num(dimensions: int) -> int:
    """Default number of samples: enough for a covariance of this many features."""
    return max(NUM, 2 * dimensions)


class Evaluator:
    """Computes metrics of samples against `reference`; features are extracted once for all metrics.

    extractor      of the metrics that name none of their own; without it only metrics without features are measured
    metrics        their names, by default the first of those that the modality states for training
    num            number of samples per evaluation
    reference_num  rows of the split that they are compared with, by default all up to 60,000, whose features are
                   computed once and cached
    held_out       a split that was not trained on, for metrics that compare with it
    has_entry      whether samples come with an entry of this name beside "fake"
    allow_few      admits fewer samples than a metric needs, which the protocol records; None in training, which has no
                   such option
    available      number of samples that there are, if the source is not a generator
    more           how to evaluate more, for messages

    Raises ConfigError if extractor, dataset and metrics do not fit together, DataError for too few samples.
    """

    def __init__(
        self,
        extractor: Extractor | None,
        reference: Samples,
        *,
        metrics: Sequence[str] | None = None,
        num: int | None = None,
        reference_num: int | None = None,
        held_out: Samples | None = None,
        has_entry: HasEntry = lambda name: False,
        allow_few: bool | None = False,
        available: int | None = None,
        more: str = MORE_SAMPLES,
        progress: Progress = SILENT,
        installed: Metrics | None = None,
    ) -> None:
        self.installed = installed or known.installed()
        self.reference, self.progress = reference, progress
        self.allow_few, self.more = allow_few, more
        self._held_out, self._reference_num, self._has_entry = held_out, reference_num, has_entry
        self._extractions: dict[str, Extraction] = {}
        self.extraction = self._extraction(extractor)
        own = default_num(self.extraction.dimensions)
        if extractor is not None:
            own = extractor.num or own
            if extractor.coarse:  # they are compared with equally many samples, of which there may be a dozen
                own = max(2, min(own, len(reference)))
        self.num = num or min(own, own if available is None else available)
        self.metrics: tuple[str, ...] = ()
        self.choose([one.name for one in self.installed.defaults(reference.spec)][:1] if metrics is None else metrics)

    @property
    def extractor(self) -> Extractor | None:
        """The extractor of the metrics that name none of their own."""
        return self.extraction.extractor

    @property
    def data(self) -> Reference:
        """The rows that samples are compared with."""
        return self.extraction.data

    def _extraction(self, extractor: Extractor | None) -> Extraction:
        """An extractor with the splits, after features of one sample: one that does not fit raises before training."""
        name = "" if extractor is None else extractor.id
        if name not in self._extractions:
            dimensions = logits = 0
            if extractor is not None:
                self._require_modality(extractor)
                probe = extractor.extract_features(next(dataset_batches(self.reference, rows=torch.tensor([0]))))
                dimensions = probe.values.shape[1]
                logits = 0 if probe.logits is None else probe.logits.shape[1]
            own = REFERENCE_NUM if extractor is None else extractor.reference_num or REFERENCE_NUM
            data = Reference(extractor, self.reference, self._reference_num or own, self.progress)
            held_out = None
            if self._held_out is not None:
                held_out = Reference(extractor, self._held_out, REFERENCE_NUM, self.progress)
            self._extractions[name] = Extraction(extractor, dimensions, logits, data, held_out)
        return self._extractions[name]

    def _require_modality(self, extractor: Extractor) -> None:
        own = self.installed.catalogue
        references = extractor.modality, self.reference.spec.modality
        if not alike(own, *references):
            taken, held = (modality(own, one) for one in references)
            fault = f"accepts {taken.units}, and {self.reference.name} holds {held.units}"
            raise ConfigError(f"extractor {extractor.id} {fault}: leave --extractor out")

    def extraction_of(self, metric: Known) -> Extraction:
        """The run's extractor, or one of the metric's own."""
        if not metric.metric.extractor:
            return self.extraction
        find, device = self.installed.catalogue.find, "cpu" if self.extractor is None else self.extractor.device
        own = find("extractor", metric.metric.extractor, metric.entry.namespace).entry.id
        if own not in self._extractions:
            self._extractions[own] = self._extraction(load_extractor(self.installed.catalogue, own, device=device))
        return self._extractions[own]

    # --- which can be measured ----------------------------------------------------------------------------------------

    def choose(self, metrics: Sequence[str]) -> None:
        """Set the metrics to measure. Raises ConfigError for an unavailable one, DataError for too few samples."""
        self.metrics = tuple(self.installed.find(name).name for name in metrics)
        for name in self.metrics:
            if reason := self.unavailable_reason(name):
                raise ConfigError(f"--metrics {name}: {reason}")
        for name in self.metrics:
            if shortage := self.shortage(name):
                raise DataError("\n".join(shortage))

    def shortage(self, name: str, num: int | None = None) -> tuple[str, str] | None:
        """The sentence that there are too few samples or reference samples for a metric, and the remedy; None if not.

        `num` is the number of samples, by default that of each evaluation.
        """
        num = self.num if num is None else num
        reason = self._shortage(name, num)
        if not reason:
            return None
        metric, count = self.installed.find(name), min(num, self.data.num)
        more = self.more if num < self._least(metric) else f"use more of these {self._units}"
        enough = ""
        if self.allow_few is None:
            others = (one.name for one in self.installed.defaults(self.reference.spec))
            enough = ",".join(
                one for one in others if not self.unavailable_reason(one) and not self._shortage(one, num)
            )
        return reason, known.remedy(metric, count, more, few=self.allow_few, other=enough)

    def suffices(self, name: str) -> bool:
        """Whether there are as many samples as a metric needs, even if fewer are admitted."""
        return not self._shortage(name, self.num, few=False)

    def _shortage(self, name: str, num: int, few: bool | None = None) -> str:
        metric = self.installed.find(name)
        few = bool(self.allow_few) if few is None else few
        counts = [(num, "samples")]
        if metric.metric.needs & {"features", "labels", "held_out"}:
            counts.append((self.extraction_of(metric).data.num, f"{self._units} of {self.reference.name}"))
        dimensions = self.extraction_of(metric).dimensions
        found = (known.shortage(metric, count, what, dimensions, few=few) for count, what in counts)
        return next(filter(None, found), "")

    @cached_property
    def _units(self) -> str:
        return modality(self.installed.catalogue, self.reference.spec.modality).units

    def _least(self, metric: Known) -> int:
        return metric.metric.fewest if self.allow_few else metric.metric.least(self.extraction_of(metric).dimensions)

    @property
    def reference_num(self) -> int:
        return self.data.num

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values that `measure` returns; the first one selects the best generator of a run."""
        chosen = map(self.installed.find, self.metrics)
        return tuple(self._name(metric, value.name) for metric in chosen for value in metric.metric.values)

    def unavailable_reason(self, name: str) -> str:
        """Why this evaluator cannot measure a metric; empty if it can."""
        metric = self.installed.find(name)
        spec, needs, of = self.reference.spec, metric.metric.needs, metric.metric
        if not self.installed.measures(metric, spec.modality):
            return f"it measures {' and '.join(of.modalities)}, and {self.reference.name} holds {spec.modality}"
        if needs & {"features", "logits"}:
            extraction = self.extraction_of(metric)
            if extraction.extractor is None:
                start = f"{self.reference.name} has no extractor, and no installed one accepts such samples"
                return f"{start} ({spec.modality}): leave {metric.name} out"
            if extraction.extractor.coarse and not of.coarse:
                return f"it needs the features of a network, and {extraction.extractor.note or 'these are coarse'}"
            if "logits" in needs and not extraction.logits:
                return f"{extraction.extractor.id} is not a classifier, which {metric.name} needs"
        if "held_out" in needs and self._held_out is None:
            return f"{self.reference.name} has no held-out split, which {metric.name} needs"
        if "labels" in needs and not spec.classes:
            return f"{self.reference.name} has no labels, which {metric.name} needs"
        if missing := [one for one in of.entries if not self._has_entry(one)]:
            return f"it reads the entry {missing[0]!r}, which these samples do not come with"
        if {"labels", "logits"} <= needs and (unfit := self._unfit(metric)):
            return unfit
        return of.refuses(spec)

    def _unfit(self, metric: Known) -> str:
        extraction = self.extraction_of(metric)
        assert extraction.extractor is not None
        if extraction.extractor.id not in self._unfit_reasons:
            self._unfit_reasons[extraction.extractor.id] = unfit_reason(
                extraction.extractor, self.reference, extraction.logits
            )
        return self._unfit_reasons[extraction.extractor.id]

    @cached_property
    def _unfit_reasons(self) -> dict[str, str]:
        return {}

    # --- measuring ----------------------------------------------------------------------------------------------------

    def measure(
        self, chunks: Iterable[Tensor], *, weights: str, seed: int | None, num: int | None = None
    ) -> list[dict[str, Any]]:
        """Metrics of the first `num` samples with the precision of files, images as uint8 (n, C, H, W), in chunks of
        any size.

        Returns a record of name, value and protocol for each value.
        """
        generated = self.generated(lambda: ({"fake": chunk} for chunk in chunks), num)
        return self.score(generated, weights=weights, seed=seed)

    @property
    def extractors(self) -> list[Extractor]:
        """The extractors of the chosen metrics."""
        found: dict[str, Extractor] = {}
        for metric in map(self.installed.find, self.metrics):
            extractor = self.extraction_of(metric).extractor
            if metric.metric.needs & {"features", "logits"} and extractor is not None:
                found[extractor.id] = extractor
        return list(found.values())

    @property
    def entries(self) -> set[str]:
        """Names of the entries whose rows the chosen metrics read."""
        metrics = [self.installed.find(name).metric for name in self.metrics]
        read = {name for metric in metrics for name in metric.entries}
        return read | {"fake"} if read or any("samples" in metric.needs for metric in metrics) else set()

    def generated(self, source: Source, num: int | None = None, entries: Iterable[str] | None = None) -> Generated:
        """The first `num` samples of a source, for `score`; `entries` are those that are read, by default by the chosen
        metrics.
        """
        count = self.num if num is None else num
        found = Generated(
            lambda: self._checked(source()),
            count,
            self.entries if entries is None else entries,
            report=lambda done: self.progress("samples", done, count),
        )
        found.compute_features(self.extractors)
        return found

    def _checked(self, chunks: Iterable[Rows]) -> Iterator[Rows]:
        """Raise for samples of another shape than the data have."""
        wanted = self._stored_shape
        for chunk in chunks:
            if chunk["fake"].shape[1:] != wanted:
                got, own = ("x".join(map(str, dims)) for dims in (chunk["fake"].shape[1:], wanted))
                raise ConfigError(f"samples of {got} cannot be compared with data of {own}: pass --size, or other data")
            yield chunk

    @cached_property
    def _stored_shape(self) -> torch.Size:
        return next(dataset_batches(self.reference, rows=torch.tensor([0]))).shape[1:]

    def score(
        self,
        generated: Generated,
        *,
        weights: str,
        seed: int | None,
        failed: Callable[[str, ConfigError], None] | None = None,
    ) -> list[dict[str, Any]]:
        """Metrics of samples. `failed(name, error)` receives those whose plugin fails; else the error is raised."""
        records: list[dict[str, Any]] = []
        for name in self.metrics:
            if shortage := self.shortage(name, generated.num):
                raise DataError("\n".join(shortage))
            try:
                records += self._records(self.installed.find(name), generated, weights, seed)
            except ConfigError as error:
                if failed is None:
                    raise
                failed(name, error)
        return records

    def _records(self, metric: Known, generated: Generated, weights: str, seed: int | None) -> Iterator[dict[str, Any]]:
        extraction = self.extraction_of(metric)
        # What another package caches is its own, and of this version or content of its file.
        space = "" if metric.entry.namespace == "zoo" else f"{metric.entry.namespace}-{metric.entry.version}-"
        view = SplitView(extraction, self.reference, generated, few=bool(self.allow_few), space=space)
        with explain_errors(metric.entry):
            values = metric.metric.measure(view)
            lacking = [value.name for value in metric.metric.values if not isinstance(values.get(value.name), Measured)]
        if lacking:
            raise ConfigError(f"metric {metric.entry.id} of {metric.entry.distribution} measures no {lacking[0]!r}")
        for value in metric.metric.values:
            found = values[value.name]
            yield {
                "name": self._name(metric, value.name),
                "value": found.value,
                "protocol": self._protocol(value.name, metric, view, found, weights, seed),
                **({"interval": list(found.interval)} if found.interval is not None else {}),
                **({"data": dict(found.data)} if found.data else {}),
                **({"of": found.settings["of"]} if value.counts else {}),
            }

    def _name(self, metric: Known, short: str) -> str:
        extractor, short = self.extraction_of(metric).extractor, metric.full(short)
        named = extractor is not None and metric.metric.needs & {"features", "logits"}
        return f"{short}-{extractor.name}" if named and extractor is not None else short

    def _protocol(
        self, short: str, metric: Known, view: SplitView, found: Measured, weights: str, seed: int | None
    ) -> dict[str, Any]:
        extraction = self.extraction_of(metric)
        extractor = extraction.extractor if metric.metric.needs & {"features", "logits"} else None
        few = bool(known.shortage(metric, min(view.num, extraction.data.num), "samples", extraction.dimensions))
        settings = dict(found.settings)
        if "held_out" in metric.metric.needs and extraction.held_out is not None:
            settings |= {"held_out": extraction.held_out.samples.split, "held_out_num": extraction.held_out.num}
        versions = versions_of() if extractor is None else extractor.versions
        if metric.entry.namespace != "zoo":
            # A plugin file is known by its content; a package's version is the one that is installed.
            own = metric.entry.distribution if metric.entry.file is None else metric.entry.namespace
            versions = {**versions, own: metric.entry.version}
        return protocol(
            metric=metric.full(short),
            num=view.num,
            shape=self.reference.spec.shape,
            resize=self.reference.resize,
            extractor="" if extractor is None else extractor.id,
            extractor_sha256=NO_WEIGHTS if extractor is None else extractor.digest,
            batch=BATCH,
            reference=self.reference.name if view.compared else "",
            split=self.reference.split if view.compared else "",
            reference_num=view.compared,
            reference_digest=self.reference.digest if view.compared else "",
            weights=weights,
            seed=seed,
            versions=versions,
            settings=settings,
            few=few,
        )
