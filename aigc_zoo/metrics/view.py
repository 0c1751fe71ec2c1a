"""What metrics see of an evaluation: generated samples, and the split that they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from aigc_zoo.data.pool import Pool
from aigc_zoo.game import Samples
from aigc_zoo.metric import Part
from aigc_zoo.metrics.classifier import class_indices
from aigc_zoo.metrics.features import Extractor, Features
from aigc_zoo.metrics.generated import Generated, Rows
from aigc_zoo.metrics.reference import Reference, dataset_batches


@dataclass(frozen=True)
class Extraction:
    """An extractor, the dimension of its features, its number of logits, and the splits that it compares with.

    Without an extractor both numbers are 0, and the splits are rows alone.
    """

    extractor: Extractor | None
    dimensions: int
    logits: int
    data: Reference
    held_out: Reference | None


class SplitView:
    """An `aigc_zoo.metric.View` of one evaluation.

    compared  rows of the reference that the metric has used, for its protocol
    """

    def __init__(
        self, extraction: Extraction, reference: Samples, generated: Generated, *, few: bool = False, space: str = ""
    ) -> None:
        self.spec, self.classes, self.num, self.few = reference.spec, reference.classes, generated.num, few
        self.compared = 0
        self._extraction, self._reference, self._generated, self._space = extraction, reference, generated, space

    def features(self, which: Part = "generated", count: int | None = None) -> Tensor:
        if which == "reference":
            data = self._extraction.data
            self._compared(data.num if count is None else min(count, data.num))
            return data.features(count)
        return self._features(which).values

    def logits(self, which: Part = "generated") -> Tensor:
        if which == "reference":
            self._compared(self._extraction.data.num)
        found = self._features(which, logits=True).logits
        assert found is not None, "only metrics that need logits are given an extractor without them"
        return found

    def predictions(self, which: Part = "generated") -> Tensor:
        indices = class_indices(self._extractor, self._reference)
        return indices[self.logits(which).argmax(1)]

    def labels(self) -> Tensor:
        self._compared(self._extraction.data.num)
        pool = Pool(self._reference, "cpu")
        parts = torch.split(self._extraction.data.rows(), 1_024)
        return torch.cat([pool.rows(rows)["label"].argmax(1) for rows in parts])

    def class_counts(self) -> Tensor:
        self._compared(self._extraction.data.num)
        frequencies = torch.tensor(self._reference.frequencies, dtype=torch.float64)
        return (frequencies * len(self._reference)).round().long()

    def samples(self, which: Part = "generated") -> Iterator[Tensor]:
        if which == "generated":
            yield from (rows["fake"] for rows in self._generated.rows(("fake",)))
            return
        if which == "reference":
            self._compared(self._extraction.data.num)
        split = self._split(which)
        yield from dataset_batches(split.samples, rows=split.rows())

    def chunks(self, *names: str) -> Iterator[Rows]:
        if set(names) & {"real", "label", *self.spec.entries}:
            self._compared(min(self.num, len(self._reference)))
        yield from self._generated.rows(names)

    def cached(self, name: str, compute: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        self._compared(self._extraction.data.num)
        return self._extraction.data.cached(f"{self._space}{name}", compute)

    def _features(self, which: Part, *, logits: bool = False) -> Features:
        if which == "generated":
            return self._generated.features(self._extractor)
        return self._split(which).extract_features(logits=logits)

    @property
    def _extractor(self) -> Extractor:
        assert self._extraction.extractor is not None, "only metrics that state the need get features"
        return self._extraction.extractor

    def _split(self, which: Part) -> Reference:
        found = self._extraction.data if which == "reference" else self._extraction.held_out
        assert found is not None, "only metrics that state the need get a held-out split"
        return found

    def _compared(self, rows: int) -> None:
        self.compared = max(self.compared, rows)
