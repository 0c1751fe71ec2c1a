"""A evaluator: metrics of samples against one split of a dataset, for training and for `zoo eval` alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.game import Samples
from aigc_zoo.metrics import coverage, fidelity
from aigc_zoo.metrics.features import BATCH, Extractor, Features, joined
from aigc_zoo.metrics.fidelity import Value
from aigc_zoo.metrics.kinds import GROUPS
from aigc_zoo.metrics.protocol import protocol
from aigc_zoo.metrics.reference import Progress, Reference, stored

__all__ = ["NUM", "REFERENCE_NUM", "Evaluator", "default_num", "stored"]

NUM = 2_048
POINTS = 2_500
REFERENCE_NUM = 60_000
SILENT: Progress = lambda what, done, total: None  # noqa: E731


def default_num(dimensions: int) -> int:
    """How many samples are judged unless said: enough for a covariance of so many features."""
    return max(NUM, 2 * dimensions)


class Evaluator:
    """Judges samples by what `extractor` makes of them and of `reference`; one look at each sample serves all metrics.

    `metrics` are names of groups in `kinds`. `num` samples are asked for (`evaluator.num`). They are compared with
    `reference_num` of the split, by default all up to 60,000, whose features are computed once and kept in the cache;
    what compares neighbours takes as many of these as there are samples. `held_out` is a split that was not trained on,
    for what tells copies. `allow_few` measures on fewer samples than a metric needs, and stamps it.

    Raises ConfigError where extractor, data and metrics do not fit, DataError for too few samples.
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
        progress: Progress = SILENT,
    ) -> None:
        points = extractor.id == "points"
        if reference.spec.modality != ("points" if points else "image"):
            what = "points" if points else "pictures"
            raise ConfigError(f"{extractor.id} looks at {what}, and {reference.name} holds {reference.spec.modality}")
        # A look at one black picture: what does not fit is said before anything is trained.
        kind = torch.float32 if points else torch.uint8
        sight = extractor.look(torch.zeros(1, *reference.spec.shape, dtype=kind))
        self.extractor, self.reference, self.progress, self.allow_few = extractor, reference, progress, allow_few
        self.dimensions = sight.features.shape[1]
        self.classes = 0 if sight.logits is None else sight.logits.shape[1]
        self.num = (POINTS if points else default_num(self.dimensions)) if num is None else num
        self.data = Reference(extractor, reference, reference_num or REFERENCE_NUM, progress)
        self.held_out = None if held_out is None else Reference(extractor, held_out, REFERENCE_NUM, progress)
        self.metrics: tuple[str, ...] = ()
        self.choose(metrics)

    def choose(self, metrics: Sequence[str]) -> None:
        """Measures these groups from now on. Raises ConfigError for one that cannot be, DataError for too few."""
        self.metrics = tuple(metrics)
        self._check()

    @property
    def reference_num(self) -> int:
        return self.data.num

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the metrics that `measure` returns, the first one being the run's own."""
        return tuple(self._name(kind.name) for group in self.metrics for kind in GROUPS[group].values)

    def can(self, group: str) -> str:
        """Why this evaluator cannot measure a group; empty where it can."""
        needs = GROUPS[group]
        if needs.logits and not self.classes:
            return f"{self.extractor.id} is no classifier, which {group} needs"
        if needs.held_out and self.held_out is None:
            return f"{self.reference.name} has no held-out split, which {group} needs"
        if group == "modes":
            if not self.reference.spec.classes:
                return f"{self.reference.name} has no labels, so its modes are not known"
            if self.reference.spec.modality != "points" and self.classes != self.reference.spec.classes:
                return (
                    f"{self.extractor.id} does not tell the {self.reference.spec.classes} classes of "
                    f"{self.reference.name} apart"
                )
        return ""

    def measure(
        self, chunks: Iterable[Tensor], *, weights: str, seed: int | None, num: int | None = None
    ) -> list[dict[str, Any]]:
        """Metrics of the first `num` samples, pictures as uint8 (n, C, H, W), in chunks of any size: a record for each,
        of name, value and protocol."""
        return self.score(self.look(chunks, num), weights=weights, seed=seed)

    def look(self, chunks: Iterable[Tensor], num: int | None = None) -> Features:
        """A look at the first `num` samples. Fewer, or of another shape than the data's, are an error."""
        num = self.num if num is None else num
        parts, done = [], 0
        for seen in self.extractor.stream(_first(chunks, num, self.reference.spec.shape)):
            parts.append(seen)
            done += len(seen.features)
            self.progress("samples", done, num)
        if done < num:
            raise DataError(f"{done:,} pictures came where {num:,} were to be judged: say --num {done}")
        return joined(parts)

    def score(self, seen: Features, *, weights: str, seed: int | None) -> list[dict[str, Any]]:
        """Metrics of samples that were looked at."""
        records = []
        for group in self.metrics:
            for kind, value in zip(GROUPS[group].values, self._values(group, seen), strict=True):
                stamp = self._stamp(kind.name, group, len(seen.features), value.settings, weights, seed)
                record = {"name": self._name(kind.name), "value": value.value, "protocol": stamp}
                if value.interval is not None:
                    record["interval"] = list(value.interval)
                records.append(record)
        return records

    # --- each group ---------------------------------------------------------------------------------------------------

    def _values(self, group: str, seen: Features) -> Sequence[Value]:
        features = seen.features
        if group in ("isc", "modes") and seen.logits is None and self.reference.spec.modality != "points":
            raise ConfigError(self.can(group))
        if group == "fid":
            made = fidelity.statistics(features, few=self.allow_few)
            return [Value(fidelity.frechet(made, self.data.statistics(few=self.allow_few)), None, {})]
        if group == "kid":
            if not self.allow_few:
                fidelity.check_kid_count(len(features), "samples")
            return [fidelity.kernel(features, self.data.features())]
        if group == "isc":
            assert seen.logits is not None
            return [fidelity.inception_score(seen.logits)]
        if group == "modes":
            return self._modes(seen)
        if group == "variance-ratio":
            sigma = self.data.statistics(few=True).sigma
            return [Value(float(features.double().var(0).sum() / sigma.trace()), None, {})]
        if group == "memorisation":
            assert self.held_out is not None
            gap = coverage.training_gap(features, self.data.features(), self.held_out.features())
            return [Value(gap, None, {"held_out": self.held_out.samples.split, "held_out_num": self.held_out.num})]
        like = self.data.features(len(features))
        if group == "prc":
            return fidelity.precision_recall(features, like)
        if group == "dac":
            settings = {"neighbours": coverage.NEIGHBOURS}
            return [Value(value, None, settings) for value in coverage.density_coverage(features, like)]
        assert group == "duplicates", group
        return [Value(coverage.duplicate_rate(features, like), None, {"near": coverage.NEAR})]

    def _modes(self, seen: Features) -> Sequence[Value]:
        """Modes found and the divergence of their shares from the data's: of points by distance, else by class."""
        classes, labels = self.reference.spec.classes, self.reference.fields["label"]
        expected = torch.bincount(labels, minlength=classes)
        settings: dict[str, Any] = {"of": classes}
        if seen.logits is None:
            centres, std = coverage.mixture_of(self.reference.fields["real"], labels, classes)
            counts = coverage.mode_counts(seen.features, centres, std)
            settings |= {"least": coverage.LEAST, "sigmas": coverage.SIGMAS, "std": round(std, 4)}
        else:
            counts = torch.bincount(seen.logits.argmax(1), minlength=classes)
            settings["least"] = 1
        found = int((counts >= settings["least"]).sum())
        return [Value(found, None, settings), Value(coverage.divergence(counts, expected), None, settings)]

    # --- stamps and refusals ------------------------------------------------------------------------------------------

    def _name(self, kind: str) -> str:
        return f"{kind}-{self.extractor.name}"

    def _check(self) -> None:
        for group in self.metrics:
            if reason := self.can(group):
                raise ConfigError(f"--metrics {group}: {reason}")
        if self.allow_few:
            return
        for count, what in ((self.num, "samples"), (self.data.num, f"pictures of {self.reference.name}")):
            if "fid" in self.metrics:
                fidelity.check_count(count, self.dimensions, what)
            if "kid" in self.metrics:
                fidelity.check_kid_count(count, what)

    def _stamp(
        self, kind: str, group: str, count: int, settings: dict[str, Any], weights: str, seed: int | None
    ) -> dict[str, Any]:
        least = min(count, self.data.num)
        few = (group == "fid" and least <= self.dimensions) or (group == "kid" and least < fidelity.KID_LEAST)
        # What compares neighbours takes equal numbers on both sides.
        paired = group in ("prc", "dac", "duplicates")
        alone = group == "isc"  # it looks at samples only
        return protocol(
            metric=kind,
            num=count,
            shape=self.reference.spec.shape,
            resize=self.reference.resize,
            extractor=self.extractor.id,
            extractor_sha256=self.extractor.digest,
            batch=BATCH,
            reference="" if alone else self.reference.name,
            split="" if alone else self.reference.split,
            reference_num=0 if alone else least if paired else self.data.num,
            reference_digest="" if alone else self.reference.digest,
            weights=weights,
            seed=seed,
            versions=self.extractor.versions,
            settings=settings,
            few=few,
        )


def _first(chunks: Iterable[Tensor], num: int, shape: tuple[int, ...]) -> Iterator[Tensor]:
    """The first `num` samples; no chunk is asked for after that, since a chunk may be costly to make."""
    for chunk in chunks:
        if chunk.shape[1:] != shape:
            seen, wanted = ("x".join(map(str, dims)) for dims in (chunk.shape[1:], shape))
            raise ConfigError(f"pictures of {seen} cannot be compared with data of {wanted}: say --size, or other data")
        yield chunk[:num]
        num -= len(chunk)
        if num <= 0:
            return
