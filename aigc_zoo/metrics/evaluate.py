"""Evaluator: metrics of samples against one split of a dataset, for training and for `zoo eval`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.data.pool import example
from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.game import Samples
from aigc_zoo.metrics import coverage, fidelity
from aigc_zoo.metrics.features import BATCH, Extractor, Features, concatenate
from aigc_zoo.metrics.fidelity import Value
from aigc_zoo.metrics.kinds import GROUPS
from aigc_zoo.metrics.protocol import protocol
from aigc_zoo.metrics.reference import Progress, Reference, dataset_batches
from aigc_zoo.metrics.shortage import EVALUATION, Advice, shortage

__all__ = ["NUM", "REFERENCE_NUM", "Evaluator", "dataset_batches", "default_num"]

NUM = 2_048
POINTS = 2_500
REFERENCE_NUM = 60_000
SILENT: Progress = lambda what, done, total: None  # noqa: E731


def default_num(dimensions: int) -> int:
    """Default number of samples: enough for a covariance of this many features."""
    return max(NUM, 2 * dimensions)


class Evaluator:
    """Compute metrics from features of samples and of `reference`; features are extracted once for all metrics.

    `metrics` are names of groups in `kinds`. `num` is the number of samples per evaluation. They are compared with
    `reference_num` rows of the split, by default all up to 60,000, whose features are computed once and cached; metrics
    of neighbours use as many of these as there are samples. `held_out` is a split that was not trained on, for the
    memorization metric. `allow_few` admits fewer samples than a metric needs, and records it in the protocol. `advice`
    has the options of the command that measures, for messages.

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
        allow_few: bool = False,
        advice: Advice = EVALUATION,
        progress: Progress = SILENT,
    ) -> None:
        points = extractor.id == "points"
        if reference.spec.modality != ("points" if points else "image"):
            accepted = "points" if points else "images"
            raise ConfigError(
                f"extractor {extractor.id} accepts {accepted}, and {reference.name} holds {reference.spec.modality}: "
                "choose another with --extractor"
            )
        # Features of one black image: an extractor that does not fit raises before anything is trained.
        dtype = torch.float32 if points else torch.uint8
        probe = extractor.extract_features(torch.zeros(1, *reference.spec.shape, dtype=dtype))
        self.extractor, self.reference, self.progress, self.allow_few = extractor, reference, progress, allow_few
        self.advice = advice
        self.dimensions = probe.values.shape[1]
        self.classes = 0 if probe.logits is None else probe.logits.shape[1]
        self.num = (POINTS if points else default_num(self.dimensions)) if num is None else num
        self.data = Reference(extractor, reference, reference_num or REFERENCE_NUM, progress)
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
            if reason := self.shortage(group):
                raise DataError(reason)

    def shortage(self, group: str) -> str:
        """Why there are too few samples or reference samples for a group, with the fix; empty if there are enough."""
        images = f"images of {self.reference.name}"
        counts = (self.num, "samples", self.advice.more), (self.data.num, images, "more of these images")
        return shortage(group, counts, self.dimensions, few=self.allow_few, advice=self.advice)

    @property
    def reference_num(self) -> int:
        return self.data.num

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the metrics that `measure` returns; the first one selects the best generator of a run."""
        return tuple(self._name(info.name) for group in self.metrics for info in GROUPS[group].values)

    def unavailable_reason(self, group: str) -> str:
        """Why this evaluator cannot measure a group; empty if it can."""
        spec = self.reference.spec
        if GROUPS[group].logits and not self.classes:
            return f"{self.extractor.id} is not a classifier, which {group} needs"
        if GROUPS[group].held_out and self.held_out is None:
            return f"{self.reference.name} has no held-out split, which {group} needs"
        if group == "modes" and not spec.classes:
            return f"{self.reference.name} has no labels, which {group} needs"
        if group == "modes" and spec.modality != "points" and self.classes != spec.classes:
            return f"{self.extractor.id} does not classify the {spec.classes} classes of {self.reference.name}"
        return ""

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
            values = _COMPUTE[group](self, generated)
            for info, value in zip(GROUPS[group].values, values, strict=True):
                stamp = self._protocol(info.name, group, len(generated.values), value.settings, weights, seed)
                record = {"name": self._name(info.name), "value": value.value, "protocol": stamp}
                if value.interval is not None:
                    record["interval"] = list(value.interval)
                records.append(record)
        return records

    def _name(self, short: str) -> str:
        return f"{short}-{self.extractor.name}"

    def _protocol(
        self, metric: str, group: str, count: int, settings: Mapping[str, Any], weights: str, seed: int | None
    ) -> dict[str, Any]:
        least = min(count, self.data.num)
        few = (group == "fid" and least <= self.dimensions) or (group == "kid" and least < fidelity.KID_LEAST)
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
    few = evaluator.allow_few
    statistics = fidelity.statistics(generated.values, few=few)
    return [Value(fidelity.frechet(statistics, evaluator.data.statistics(few=few)))]


def _kid(evaluator: Evaluator, generated: Features) -> Sequence[Value]:
    if not evaluator.allow_few:
        fidelity.check_kid_count(len(generated.values), "samples")
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
    sigma = evaluator.data.statistics(few=True).sigma
    return [Value(float(generated.values.double().var(0).sum() / sigma.trace()))]


def _duplicates(evaluator: Evaluator, generated: Features) -> Sequence[Value]:
    rate = coverage.duplicate_rate(generated.values, evaluator.data.features(len(generated.values)))
    return [Value(rate, settings={"near": coverage.NEAR})]


def _modes(evaluator: Evaluator, generated: Features) -> Sequence[Value]:
    """Modes found and the divergence of their frequencies from the data's; a mode is a centre of points, or a class."""
    reference = evaluator.reference
    classes = reference.spec.classes
    expected = (torch.tensor(reference.frequencies, dtype=torch.float64) * len(reference)).round()
    settings: dict[str, Any] = {"of": classes}
    if reference.spec.modality == "points":
        points = example(reference, len(reference))
        centres, std = coverage.mixture_of(points["real"], points["label"].argmax(1), classes)
        counts = coverage.mode_counts(generated.values, centres, std)
        settings |= {"least": coverage.LEAST, "sigmas": coverage.SIGMAS, "std": round(std, 4)}
    else:
        assert generated.logits is not None
        counts = torch.bincount(generated.logits.argmax(1), minlength=classes)
        settings["least"] = 1
    divergence = coverage.divergence(counts, expected)
    found = int((counts >= settings["least"]).sum())
    return [Value(found, settings=settings), Value(divergence, settings=settings)]


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
