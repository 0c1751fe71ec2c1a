"""A view in memory, through which checks and tests of metrics measure samples without a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from aigc_zoo.game import Spec
from aigc_zoo.metric import Part
from aigc_zoo.testing.fixtures import noise

DIMENSIONS = 64
"""Features of a sample, at most."""

SPREAD = 0.3
"""Standard deviation of the features: small, as those of networks are. KID of samples and themselves is below
0 by an amount that grows with the third power of the variance.
"""

CERTAIN = 10.0
"""The logit of the right class."""


class MemoryView:
    """An `aigc_zoo.modality.View` of entries (N, ...) by name, with the precision of files.

    entries   of the generated samples; "fake" are the samples themselves, which have to be there
    real      the reference, stored samples (N, ...)
    held_out  other real samples, for metrics that need them
    labels    (N,) int64 of the reference, if it has any
    chunk     rows at a time, at most 64

    Features are a fixed projection of the stored values of a sample, with a deviation of SPREAD. Logits are those of a
    classifier that knows the labels; without labels they are a fixed projection of the features.
    """

    def __init__(
        self,
        spec: Spec,
        entries: Mapping[str, Tensor],
        real: Tensor,
        *,
        held_out: Tensor | None = None,
        labels: Tensor | None = None,
        classes: tuple[str, ...] = (),
        chunk: int = 64,
        few: bool = False,
    ) -> None:
        self.spec, self.classes, self.few = spec, classes, few
        self.num = len(entries["fake"])
        self._entries, self._labels, self._chunk = dict(entries), labels, min(chunk, 64)
        self._parts: dict[str, Tensor] = {"generated": entries["fake"], "reference": real}
        if held_out is not None:
            self._parts["held_out"] = held_out

    def features(self, which: Part = "generated", count: int | None = None) -> Tensor:
        real, values = (self._parts[name].flatten(1).float() for name in ("reference", which))
        if values.shape[1] > DIMENSIONS:
            real, values = (one @ noise(one.shape[1], DIMENSIONS) for one in (real, values))
        values = SPREAD * (values - real.mean()) / real.std().clamp(min=1e-6)
        if count is None or count >= len(values):
            return values
        return values[torch.randperm(len(values), generator=torch.Generator().manual_seed(0))[:count]]

    def logits(self, which: Part = "generated") -> Tensor:
        features = self.features(which)
        if self._labels is not None and len(self._labels) == len(features):
            return CERTAIN * torch.nn.functional.one_hot(self._labels, max(2, len(self.classes))).float()
        return features @ (noise(features.shape[1], max(2, len(self.classes))) / math.sqrt(features.shape[1]))

    def predictions(self, which: Part = "generated") -> Tensor:
        return self.logits(which).argmax(1)

    def labels(self) -> Tensor:
        if self._labels is None:
            raise ValueError("the reference has no labels")
        return self._labels

    def class_counts(self) -> Tensor:
        return torch.bincount(self.labels(), minlength=len(self.classes))

    def samples(self, which: Part = "generated") -> Iterator[Tensor]:
        yield from torch.split(self._parts[which], self._chunk)

    def chunks(self, *names: str) -> Iterator[Mapping[str, Tensor]]:
        for start in range(0, self.num, self._chunk):
            yield {name: self._entries[name][start : start + self._chunk] for name in names}

    def cached(self, name: str, compute: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        return compute()
