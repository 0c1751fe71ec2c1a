"""A judge: metrics of pictures against one split of a dataset, for training and for `zoo eval` alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.data.cache import cache_folder
from aigc_zoo.data.pool import Pool
from aigc_zoo.data.writers import to_uint8
from aigc_zoo.engine.seeds import permutation
from aigc_zoo.errors import ConfigError, DataError, StorageError
from aigc_zoo.game import Samples
from aigc_zoo.metrics.features import BATCH, Extractor
from aigc_zoo.metrics.fidelity import Statistics, check_count, frechet, statistics
from aigc_zoo.metrics.protocol import protocol

NUM = 2_048
REFERENCE_NUM = 60_000


def default_num(dimensions: int) -> int:
    """How many samples are judged unless said: enough for a covariance of so many features."""
    return max(NUM, 2 * dimensions)


class Judge:
    """Judges pictures by their distance from `reference`, as `extractor` sees them.

    `num` samples are asked for (`judge.num`). They are compared with `reference_num` pictures of the split, by default
    all up to 60,000, whose statistics are computed once and kept in the cache. `progress(n)` is called with the number
    of pictures seen since the last call; what it raises ends the evaluation.

    Raises ConfigError where extractor and data do not fit, DataError for too few pictures.
    """

    def __init__(
        self,
        extractor: Extractor,
        reference: Samples,
        *,
        num: int | None = None,
        reference_num: int | None = None,
        progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        if reference.spec.modality != "image":
            raise ConfigError(f"{extractor.id} looks at pictures, and {reference.name} holds {reference.spec.modality}")
        # A look at one black picture: what does not fit is said before anything is trained.
        dimensions = extractor.features(torch.zeros(1, *reference.spec.shape, dtype=torch.uint8)).shape[1]
        self.extractor, self.reference, self.progress = extractor, reference, progress
        self.num = default_num(dimensions) if num is None else num
        self.reference_num = min(len(reference), reference_num or REFERENCE_NUM)
        for count, what in ((self.num, "samples"), (self.reference_num, f"pictures of {reference.name}")):
            check_count(count, dimensions, what)
        self._statistics: Statistics | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the metrics that `measure` returns."""
        return (f"fid-{self.extractor.name}",)

    def measure(
        self, chunks: Iterable[Tensor], *, weights: str, seed: int | None, num: int | None = None
    ) -> list[dict[str, Any]]:
        """Metrics of the first `num` pictures, uint8 (n, C, H, W) in chunks of any size: name, value and protocol."""
        return self.score(self.features(chunks, num), weights=weights, seed=seed)

    def features(self, chunks: Iterable[Tensor], num: int | None = None) -> Tensor:
        """Features (N, D) of the first `num` pictures. Fewer, or of another shape than the data's, are an error."""
        num = self.num if num is None else num
        features = self._features(_first(chunks, num, self.reference.spec.shape))
        if len(features) < num:
            raise DataError(
                f"{len(features):,} pictures came where {num:,} were to be judged: say --num {len(features)}"
            )
        return features

    def score(self, features: Tensor, *, weights: str, seed: int | None) -> list[dict[str, Any]]:
        """Metrics of features (N, D)."""
        stamp = protocol(
            metric="fid",
            num=len(features),
            shape=self.reference.spec.shape,
            resize=self.reference.resize,
            extractor=self.extractor.id,
            extractor_sha256=self.extractor.digest,
            batch=BATCH,
            reference=self.reference.name,
            split=self.reference.split,
            reference_num=self.reference_num,
            reference_digest=self.reference.digest,
            weights=weights,
            seed=seed,
            versions=self.extractor.versions,
        )
        value = frechet(statistics(features), self.reference_statistics())
        return [{"name": self.names[0], "value": value, "protocol": stamp}]

    def reference_statistics(self) -> Statistics:
        """Mean and covariance of the data's features: from memory, else from the cache, else from the data."""
        if self._statistics is None:
            key = self._key()
            path = cache_folder() / "statistics" / f"{sha256(json.dumps(key).encode()).hexdigest()[:32]}.safetensors"
            self._statistics = _recall(path, key) or self._compute(path, key)
        return self._statistics

    def _key(self) -> dict[str, Any]:
        """All that the statistics depend on."""
        return {
            "digest": self.reference.digest,
            "split": self.reference.split,
            "num": self.reference_num,
            "of": len(self.reference),
            "shape": list(self.reference.spec.shape),
            "resize": self.reference.resize,
            "extractor": self.extractor.id,
            "extractor_sha256": self.extractor.digest,
            "batch": BATCH,
            "versions": self.extractor.versions,
        }

    def _compute(self, path: Path, key: dict[str, Any]) -> Statistics:
        features = self._features(stored(self.reference, self.reference_num))
        found = statistics(features, f"pictures of {self.reference.name}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.save(path, {"mu": found.mu, "sigma": found.sigma}, key)
        except (OSError, StorageError):
            pass  # a cache that cannot be written costs time at the next evaluation, and must not cost this one
        return found

    def _features(self, chunks: Iterable[Tensor]) -> Tensor:
        made = []
        for features in self.extractor.stream(chunks):
            made.append(features)
            self.progress(len(features))
        return torch.cat(made) if made else torch.zeros(0, 0)


def stored(samples: Samples, num: int | None = None, *, entry: str = "real") -> Iterator[Tensor]:
    """Pictures of a dataset, uint8 (n, C, H, W): all in stored order, or a fixed random choice of `num`.

    A choice, since the first ones of a folder of classes would all be of one class.
    """
    pool, rows = Pool(samples, "cpu"), torch.arange(len(samples))
    if num is not None and num < len(samples):
        rows = permutation(len(samples), "reference")[:num].sort().values
    for first in range(0, len(rows), BATCH):
        yield to_uint8(pool.rows(rows[first : first + BATCH])[entry], samples.spec)


def _first(chunks: Iterable[Tensor], num: int, shape: tuple[int, ...]) -> Iterator[Tensor]:
    """The first `num` pictures; no chunk is asked for after that, since a chunk may be costly to make."""
    for chunk in chunks:
        if chunk.shape[1:] != shape:
            seen, wanted = ("x".join(map(str, dims)) for dims in (chunk.shape[1:], shape))
            raise ConfigError(f"pictures of {seen} cannot be compared with data of {wanted}: say --size, or other data")
        yield chunk[:num]
        num -= len(chunk)
        if num <= 0:
            return


def _recall(path: Path, key: dict[str, Any]) -> Statistics | None:
    """Statistics from the cache; None when they are not there, damaged, or of another key."""
    try:
        tensors, card = checkpoint.load(path)
    except (DataError, StorageError):
        return None
    if card != key or set(tensors) != {"mu", "sigma"}:
        return None
    return Statistics(tensors["mu"], tensors["sigma"], key["num"])
