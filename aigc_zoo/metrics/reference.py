"""Reference features and statistics: extracted once from a split of a dataset and cached."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.data.place import cache_folder
from aigc_zoo.data.pool import Pool
from aigc_zoo.errors import DataError, StorageError
from aigc_zoo.game import Samples
from aigc_zoo.metrics.features import BATCH, Extractor, Features, concatenate
from aigc_zoo.random import permutation

Progress = Callable[[str, int, int], None]
"""`progress(what, done, total)`, called while features are extracted; an exception in it ends the evaluation."""


class Reference:
    """Features of `num` fixed random rows of `samples`, by default of all rows.

    Features, and what metrics compute of them, are cached on disk under a key of everything that they depend on.
    Without an extractor there are rows alone.
    """

    def __init__(
        self,
        extractor: Extractor | None,
        samples: Samples,
        num: int | None = None,
        progress: Progress = lambda what, done, total: None,
    ) -> None:
        self.extractor, self.samples, self.progress = extractor, samples, progress
        self.num = len(samples) if num is None else min(num, len(samples))
        self._computed: dict[str, Mapping[str, Tensor]] = {}
        self._subset: tuple[int, Tensor] | None = None

    def cached(self, what: str, compute: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """The tensors that `compute` returns for this reference, from the cache if they are there."""
        if what not in self._computed:
            tensors = self._load(what)
            if tensors is None:
                tensors = dict(compute())
                self._save(what, tensors)
            self._computed[what] = tensors
        return self._computed[what]

    def extract_features(self, *, logits: bool = False) -> Features:
        """Features (num, D), with logits if they are requested and the extractor is a classifier."""
        tensors = self._load("features")
        if tensors is None or "features" not in tensors or (logits and "logits" not in tensors):
            features = self._extract_all()
            tensors = {"features": features.values}
            if logits and features.logits is not None:
                tensors["logits"] = features.logits
            self._save("features", tensors)
        return Features(tensors["features"], tensors.get("logits"))

    def features(self, count: int | None = None) -> Tensor:
        """Features (num, D), or those of `count` fixed random rows, which are kept in memory."""
        if count is None or count >= self.num:
            return self.extract_features().values
        if self._subset is None or self._subset[0] != count:
            rows = permutation(self.num, "reference features")[:count].sort().values
            self._subset = count, self.extract_features().values[rows]
        return self._subset[1]

    def rows(self) -> Tensor:
        """The rows of the dataset whose features these are, in ascending order."""
        return fixed_rows(len(self.samples), self.num)

    def key(self) -> dict[str, Any]:
        """Everything that the features depend on."""
        assert self.extractor is not None
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

    def _extract_all(self) -> Features:
        assert self.extractor is not None
        parts, done = [], 0
        for part in self.extractor.stream(dataset_batches(self.samples, self.num)):
            parts.append(part)
            done += len(part.values)
            self.progress(f"{self.samples.name} {self.samples.split}", done, self.num)
        return concatenate(parts)

    def _path(self, what: str) -> Path:
        name = sha256(json.dumps({"what": what, **self.key()}).encode()).hexdigest()[:32]
        return cache_folder() / what / f"{name}.safetensors"

    def _load(self, what: str) -> dict[str, Tensor] | None:
        """Load tensors from the cache; None if the file is missing, damaged or has another key."""
        try:
            tensors, key = checkpoint.load(self._path(what))
        except (DataError, StorageError):
            return None
        return tensors if key == self.key() else None

    def _save(self, what: str, tensors: dict[str, Tensor]) -> None:
        path = self._path(what)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.save(path, tensors, self.key())
        except (OSError, StorageError):
            pass  # without a writable cache the features are extracted again next time


def fixed_rows(length: int, num: int | None = None) -> Tensor:
    """`num` fixed random rows of `length`, in ascending order; all rows by default.

    The rows are random because the first ones of a folder of classes would all be of one class.
    """
    if num is None or num >= length:
        return torch.arange(length)
    return permutation(length, "reference")[:num].sort().values


def dataset_batches(
    samples: Samples, num: int | None = None, *, rows: Tensor | None = None, entry: str = "real"
) -> Iterator[Tensor]:
    """Yield batches of a dataset: all rows, `num` fixed random ones or the given `rows`.

    They have the precision of files: images are uint8 (n, C, H, W).
    """
    pool = Pool(samples, "cpu")
    rows = fixed_rows(len(samples), num) if rows is None else rows
    for first in range(0, len(rows), BATCH):
        batch = pool.rows(rows[first : first + BATCH])[entry]
        yield batch if samples.quantize is None else samples.quantize(batch)
