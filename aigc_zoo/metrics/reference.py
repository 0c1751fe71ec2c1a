"""What metrics compare with: the features of one split of a dataset, computed once and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.data.place import cache_folder
from aigc_zoo.data.pool import Pool
from aigc_zoo.data.writers import to_uint8
from aigc_zoo.errors import DataError, StorageError
from aigc_zoo.game import Samples
from aigc_zoo.metrics.features import BATCH, Extractor, Features, joined
from aigc_zoo.metrics.fidelity import Statistics, statistics
from aigc_zoo.random import permutation

Progress = Callable[[str, int, int], None]
"""`progress(what, done, all)`: told while pictures are looked at; what it raises ends the evaluation."""


class Reference:
    """The first `num` of a fixed choice of `samples`, as `extractor` sees them; all by default.

    Features and statistics are kept in the cache under a key of all that they depend on.
    """

    def __init__(
        self,
        extractor: Extractor,
        samples: Samples,
        num: int | None = None,
        progress: Progress = lambda what, done, total: None,
    ) -> None:
        self.extractor, self.samples, self.progress = extractor, samples, progress
        self.num = len(samples) if num is None else min(num, len(samples))
        self._statistics: Statistics | None = None
        self._chosen: tuple[int, Tensor] | None = None

    def statistics(self, *, few: bool = False) -> Statistics:
        """Mean and covariance; DataError for too few pictures unless `few`."""
        if self._statistics is None:
            kept = self._recall("statistics", {"mu", "sigma"}) or self._made(few)
            self._statistics = Statistics(kept["mu"], kept["sigma"], self.num)
        return self._statistics

    def look(self, *, logits: bool = False) -> Features:
        """Features (num, D), and logits where they are asked for and the extractor has them."""
        kept = self._recall("features", {"features"}) or self._recall("features", {"features", "logits"})
        if kept is None or (logits and "logits" not in kept and self.extractor.has_logits(self.samples.spec.shape)):
            seen = self._pass()
            kept = {"features": seen.features}
            if logits and seen.logits is not None:
                kept["logits"] = seen.logits
            self._keep("features", kept)
        return Features(kept["features"], kept.get("logits"))

    def features(self, count: int | None = None) -> Tensor:
        """Features (num, D), or of a fixed choice of `count`, which is kept in memory."""
        if count is None or count >= self.num:
            return self.look().features
        if self._chosen is None or self._chosen[0] != count:
            rows = permutation(self.num, "reference features")[:count].sort().values
            self._chosen = count, self.look().features[rows]
        return self._chosen[1]

    def rows(self) -> Tensor:
        """The rows of the dataset that are compared with, in order."""
        return chosen(len(self.samples), self.num)

    def key(self) -> dict[str, Any]:
        """All that the features depend on."""
        return {
            "digest": self.samples.digest,
            "split": self.samples.split,
            "num": self.num,
            "of": len(self.samples),
            "shape": list(self.samples.spec.shape),
            "resize": self.samples.resize,
            "extractor": self.extractor.id,
            "extractor_sha256": self.extractor.digest,
            "batch": BATCH,
            "versions": self.extractor.versions,
        }

    def _made(self, few: bool) -> dict[str, Tensor]:
        found = statistics(self.look().features, f"pictures of {self.samples.name}", few=few)
        made = {"mu": found.mu, "sigma": found.sigma}
        self._keep("statistics", made)
        return made

    def _pass(self) -> Features:
        parts, done = [], 0
        for seen in self.extractor.stream(stored(self.samples, self.num)):
            parts.append(seen)
            done += len(seen.features)
            self.progress(f"{self.samples.name} {self.samples.split}", done, self.num)
        return joined(parts)

    def _path(self, what: str) -> Any:
        name = sha256(json.dumps({"what": what, **self.key()}).encode()).hexdigest()[:32]
        return cache_folder() / what / f"{name}.safetensors"

    def _recall(self, what: str, names: set[str]) -> dict[str, Tensor] | None:
        """From the cache; None when it is not there, damaged, or of another key."""
        try:
            tensors, card = checkpoint.load(self._path(what))
        except (DataError, StorageError):
            return None
        return tensors if card == self.key() and set(tensors) == names else None

    def _keep(self, what: str, tensors: dict[str, Tensor]) -> None:
        path = self._path(what)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.save(path, tensors, self.key())
        except (OSError, StorageError):
            pass  # a cache that cannot be written costs time at the next evaluation, and must not cost this one


def chosen(length: int, num: int | None = None) -> Tensor:
    """Rows of a fixed random choice of `num` among `length`, in stored order.

    A choice, since the first ones of a folder of classes would all be of one class.
    """
    if num is None or num >= length:
        return torch.arange(length)
    return permutation(length, "reference")[:num].sort().values


def stored(
    samples: Samples, num: int | None = None, *, rows: Tensor | None = None, entry: str = "real"
) -> Iterator[Tensor]:
    """Samples of a dataset, all, the chosen `num` or these `rows`: pictures as uint8 (n, C, H, W), others as they
    are."""
    pool = Pool(samples, "cpu")
    rows = chosen(len(samples), num) if rows is None else rows
    for first in range(0, len(rows), BATCH):
        made = pool.rows(rows[first : first + BATCH])[entry]
        yield to_uint8(made, samples.spec) if samples.spec.modality == "image" else made
