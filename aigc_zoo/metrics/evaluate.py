"""Evaluator: metrics of samples against one split of a dataset, for training and for `zoo eval`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.data.pool import example
from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.game import Samples
from aigc_zoo.metrics import coverage, fidelity, kinds
from aigc_zoo.metrics.classifier import class_counts, unfit_reason
from aigc_zoo.metrics.features import BATCH, Extractor, Features, concatenate
from aigc_zoo.metrics.fidelity import Value
from aigc_zoo.metrics.kinds import GROUPS, MORE_SAMPLES
from aigc_zoo.metrics.protocol import protocol
from aigc_zoo.metrics.reference import Progress, Reference, dataset_batches

__all__ = ["NUM", "REFERENCE_NUM", "Evaluator", "dataset_batches", "default_num"]

NUM = 2_048
REFERENCE_NUM = 60_000
COUNTS = {"points": (2_500, REFERENCE_NUM), "pixels": (512, 4_096)}
"""Default numbers of samples and of reference samples for extractors without a network. Pixels are those of any image,
however large, so fewer are read."""
SILENT: Progress = lambda what, done, total: None  # noqa: E731


def default_num(dimensions: int) -> int:
    """Default number of samples: enough for a covariance of this many features."""
    return max(NUM, 2 * dimensions)


class Evaluator:
    """Compute metrics from features of samples and of `reference`; features are extracted once for all metrics.

    `metrics` are names of groups in `kinds`. `num` is the number of samples per evaluation. They are compared with
    `reference_num` rows of the split, by default all up to 60,000, whose features are computed once and cached; metrics
    of neighbours use as many of these as there are samples. `held_out` is a split that was not trained on, for the
    memorization metric. `allow_few` admits fewer samples than a metric needs, and records it in the protocol; it is
    None in training, which has no such option. No more than `available` samples are evaluated by default. `more` says
    how to evaluate more.

    Raises ConfigError if extractor, dataset and metrics do not fit together, DataError for too few samples.
    """

    def __init__(
        self,
        extractor: Extractor,
        reference: Samples,
        *,
        metrics: Sequence[str] = ("fid",),
        num: int | None = None,
        reference_num: int | None = None,
        held_out: Samples | None = None,
        allow_few: bool | None = False,
        available: int | None = None,
        more: str = MORE_SAMPLES,
        progress: Progress = SILENT,
    ) -> None:
        points = extractor.id == "points"
        if reference.spec.modality != ("points" if points else "image"):
            fault = f"accepts {'points' if points else 'images'}, and {reference.name} holds {reference.spec.modality}"
            raise ConfigError(f"extractor {extractor.id} {fault}: leave --extractor out")
        # Features of one black image: an extractor that does not fit raises before anything is trained.
        dtype = torch.float32 if points else torch.uint8
        probe = extractor.extract_features(torch.zeros(1, *reference.spec.shape, dtype=dtype))
        self.extractor, self.reference, self.progress = extractor, reference, progress
        self.allow_few, self.more = allow_few, more
        self.dimensions = probe.values.shape[1]
        self.classes = 0 if probe.logits is None else probe.logits.shape[1]
        own_num, own_reference_num = COUNTS.get(extractor.id, (default_num(self.dimensions), REFERENCE_NUM))
        if extractor.id == "pixels":  # they are compared with equally many images, of which there may be a dozen
            own_num = max(2, min(own_num, len(reference)))
        self.num = num or min(own_num, own_num if available is None else available)
        self.data = Reference(extractor, reference, reference_num or own_reference_num, progress)
        self.held_out = None if held_out is None else Reference(extractor, held_out, REFERENCE_NUM, progress)
        self.metrics: tuple[str, ...] = ()
        self.choose(metrics)

    def choose(self, metrics: Sequence[str]) -> None:
        """Set the groups to measure. Raises ConfigError for an unavailable one, DataError for too few samples."""
        self.metrics = tuple(metrics)
        for group in self.metrics:
            if reason := self.unavailable_reason(group):
                raise ConfigError(f"--metrics {group}: {reason}")
        for group in self.metrics:
            if shortage := self.shortage(group):
                raise DataError("\n".join(shortage))

    def shortage(self, group: str, num: int | None = None) -> tuple[str, str] | None:
        """The sentence that there are too few samples or reference samples for a group, and the remedy; None if not.

        `num` is the number of samples, by default that of each evaluation.
        """
        num = self.num if num is None else num
        counts = [(num, "samples", self.more)]
        if group != "isc":
            counts.append((self.data.num, f"images of {self.reference.name}", "use more of these images"))
        for count, what, more in counts:
            if reason := kinds.shortage(group, count, what, self.dimensions, few=bool(self.allow_few)):
                return reason, kinds.remedy(group, min(num, self.data.num), more, few=self.allow_few)
        return None

    @property
    def reference_num(self) -> int:
        return self.data.num

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the metrics that `measure` returns; the first one selects the best generator of a run."""
        return tuple(self._name(info.name) for group in self.metrics for info in GROUPS[group].values)

    def unavailable_reason(self, group: str) -> str:
        """Why this evaluator cannot measure a group; empty if it can."""
        spec, own = self.reference.spec, self.extractor.groups
        if own and group not in own:
            return f"it needs the features of a network, and {self.extractor.note}"
        if GROUPS[group].logits and not self.classes:
            return f"{self.extractor.id} is not a classifier, which {group} needs"
        if GROUPS[group].held_out and self.held_out is None:
            return f"{self.reference.name} has no held-out split, which {group} needs"
        if group == "modes" and not spec.classes:
            return f"{self.reference.name} has no labels, which {group} needs"
        if group == "modes" and spec.modality != "points":
            return self._unfit
        return ""

    @cached_property
    def _unfit(self) -> str:
        return unfit_reason(self.extractor, self.reference, self.classes)

    def measure(
        self, chunks: Iterable[Tensor], *, weights: str, seed: int | None, num: int | None = None
    ) -> list[dict[str, Any]]:
        """Metrics of the first `num` samples, images as uint8 (n, C, H, W), in chunks of any size.

        Returns a record of name, value and protocol for each metric.
        """
        return self.score(self.extract_features(chunks, num), weights=weights, seed=seed)

    def extract_features(self, chunks: Iterable[Tensor], num: int | None = None) -> Features:
        """Features of the first `num` samples. Raises for fewer samples, or samples of another shape than the data."""
        num = self.num if num is None else num
        parts, done = [], 0
        for part in self.extractor.stream(_first(chunks, num, self.reference.spec.shape)):
            parts.append(part)
            done += len(part.values)
            self.progress("samples", done, num)
        if done < num:
            raise DataError(f"{done:,} samples were given where {num:,} are needed: pass --num {done}")
        return concatenate(parts)

    def score(self, generated: Features, *, weights: str, seed: int | None) -> list[dict[str, Any]]:
        """Metrics of samples from their features."""
        records = []
        for group in self.metrics:
            if shortage := self.shortage(group, len(generated.values)):
                raise DataError("\n".join(shortage))
            values = _COMPUTE[group](self, generated)
            for info, value in zip(GROUPS[group].values, values, strict=True):
                stamp = self._protocol(info.name, group, len(generated.values), value.settings, weights, seed)
                record = {"name": self._name(info.name), "value": value.value, "protocol": stamp}
                if value.interval is not None:
                    record["interval"] = list(value.interval)
                if value.data:
                    record["data"] = dict(value.data)
                records.append(record)
        return records

    def _name(self, short: str) -> str:
        return f"{short}-{self.extractor.name}"

    def _protocol(
        self, metric: str, group: str, count: int, settings: Mapping[str, Any], weights: str, seed: int | None
    ) -> dict[str, Any]:
        least = min(count, self.data.num)
        few = bool(kinds.shortage(group, least, "samples", self.dimensions))
        no_reference = group == "isc"  # it depends on the samples only
        return protocol(
            metric=metric,
            num=count,
            shape=self.reference.spec.shape,
            resize=self.reference.resize,
            extractor=self.extractor.id,
            extractor_sha256=self.extractor.digest,
            batch=BATCH,
            reference="" if no_reference else self.reference.name,
            split="" if no_reference else self.reference.split,
            reference_num=0 if no_reference else least if GROUPS[group].paired else self.data.num,
            reference_digest="" if no_reference else self.reference.digest,
            weights=weights,
            seed=seed,
            versions=self.extractor.versions,
            settings=settings,
            few=few,
        )


def _first(chunks: Iterable[Tensor], num: int, shape: tuple[int, ...]) -> Iterator[Tensor]:
    """Yield the first `num` samples, without requesting another chunk, which may be costly to generate."""
    for chunk in chunks:
        if chunk.shape[1:] != shape:
            got, wanted = ("x".join(map(str, dims)) for dims in (chunk.shape[1:], shape))
            raise ConfigError(f"samples of {got} cannot be compared with data of {wanted}: pass --size, or other data")
        yield chunk[:num]
        num -= len(chunk)
        if num <= 0:
            return


# --- one function for each group --------------------------------------------------------------------------------------


def _fid(evaluator: Evaluator, generated: Features) -> Sequence[Value]:
    few = bool(evaluator.allow_few)
    statistics = fidelity.statistics(generated.values, few=few)
    return [Value(fidelity.frechet(statistics, evaluator.data.statistics(few=few)))]


def _kid(evaluator: Evaluator, generated: Features) -> Sequence[Value]:
    return [fidelity.kid(generated.values, evaluator.data.features())]


def _isc(evaluator: Evaluator, generated: Features) -> Sequence[Value]:
    assert generated.logits is not None
    return [fidelity.inception_score(generated.logits)]


def _prc(evaluator: Evaluator, generated: Features) -> Sequence[Value]:
    return fidelity.precision_recall(generated.values, evaluator.data.features(len(generated.values)))


def _dac(evaluator: Evaluator, generated: Features) -> Sequence[Value]:
    values = coverage.density_coverage(generated.values, evaluator.data.features(len(generated.values)))
    return [Value(value, settings={"neighbours": coverage.NEIGHBOURS}) for value in values]


def _variance_ratio(evaluator: Evaluator, generated: Features) -> Sequence[Value]:
    total = evaluator.data.statistics(few=True).sigma.trace()
    ratio, data = (
        float(values.double().var(0).sum() / total)
        for values in (generated.values, evaluator.data.features(len(generated.values)))
    )
    return [Value(ratio, data={"value": data})]


def _duplicates(evaluator: Evaluator, generated: Features) -> Sequence[Value]:
    found = coverage.near_duplicates(generated.values, evaluator.data.features(len(generated.values)))
    data = {"value": found.data} | ({"crowding": found.crowding} if found.data > coverage.REPEATS else {})
    return [Value(found.rate, settings={"near": coverage.NEAR}, data=data)]


def _modes(evaluator: Evaluator, generated: Features) -> Sequence[Value]:
    """Modes found and the divergence of their frequencies from the data's; a mode is a centre of points, or a class."""
    reference = evaluator.reference
    classes = reference.spec.classes
    expected = shown = (torch.tensor(reference.frequencies, dtype=torch.float64) * len(reference)).round()
    settings: dict[str, Any] = {"of": classes}
    if reference.spec.modality == "points":
        points = example(reference, len(reference))
        centres, std = coverage.mixture_of(points["real"], points["label"].argmax(1), classes)
        counts = coverage.mode_counts(generated.values, centres, std)
        shown = coverage.mode_counts(points["real"], centres, std)
        settings |= {"least": coverage.LEAST, "sigmas": coverage.SIGMAS, "std": round(std, 4)}
    else:
        assert generated.logits is not None
        counts = class_counts(evaluator.extractor, reference, generated.logits)
        settings["least"] = 1
    missing = coverage.expected_missing(shown, len(generated.values), len(reference), settings["least"])
    found = int((counts >= settings["least"]).sum())
    return [
        Value(found, settings=settings, data={"value": classes - missing}),
        Value(coverage.divergence(counts, expected), settings=settings),
    ]


def _memorization(evaluator: Evaluator, generated: Features) -> Sequence[Value]:
    held_out = evaluator.held_out
    assert held_out is not None
    gap = coverage.training_gap(generated.values, evaluator.data.features(), held_out.features())
    return [Value(gap, settings={"held_out": held_out.samples.split, "held_out_num": held_out.num})]


_COMPUTE: Mapping[str, Callable[[Evaluator, Features], Sequence[Value]]] = {
    "fid": _fid,
    "kid": _kid,
    "isc": _isc,
    "prc": _prc,
    "dac": _dac,
    "variance-ratio": _variance_ratio,
    "duplicates": _duplicates,
    "modes": _modes,
    "memorization": _memorization,
}
