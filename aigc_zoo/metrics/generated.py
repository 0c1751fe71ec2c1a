"""Generated samples as metrics read them: their features, and rows of entries, from one pass where memory allows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from aigc_zoo.errors import DataError
from aigc_zoo.metrics.features import BATCH, Extractor, Features, concatenate

Rows = Mapping[str, Tensor]
"""Consecutive rows (n, ...) of entries, with the precision of files; "fake" are the samples."""

Source = Callable[[], Iterator[Rows]]
"""Starts again at the first row each time it is called."""

Report = Callable[[int], None]
"""`report(done)`, called while rows are read for the first time."""

KEEP = 256 << 20
"""Bytes of rows that are kept in memory; more are generated again for each metric that reads them."""


class Generated:
    """The first `num` samples of a source.

    keep      names of the entries that metrics read besides features
    features  of extractors by id, if they are known already
    """

    def __init__(
        self,
        source: Source,
        num: int,
        keep: Iterable[str] = (),
        *,
        features: Mapping[str, Features] | None = None,
        report: Report = lambda done: None,
    ) -> None:
        self.num, self._source, self._report = num, source, report
        self._names = tuple(dict.fromkeys(keep))
        self._features = dict(features or {})
        self._kept: list[Rows] | None = None
        self._fits = True

    def features(self, extractor: Extractor) -> Features:
        """Features and logits of the samples."""
        if extractor.id not in self._features:
            self.compute_features([extractor])
        return self._features[extractor.id]

    def compute_features(self, extractors: Sequence[Extractor]) -> None:
        """Compute the features of several extractors in one pass."""
        new = [one for one in extractors if one.id not in self._features]
        parts: dict[str, list[Features]] = {one.id: [] for one in new}
        if not new:
            return
        for rows in self._read():
            for one in new:
                parts[one.id].append(one.extract_features(rows["fake"]))
        self._features |= {id: concatenate(found) for id, found in parts.items()}

    def rows(self, names: Sequence[str]) -> Iterator[Rows]:
        """Rows of these entries in chunks of at most 64, on the CPU."""
        for rows in self._read():
            if missing := [name for name in names if name not in rows]:
                known = ", ".join(sorted(rows))
                raise DataError(f"a metric reads the entry {missing[0]!r}, but samples come with {known}")
            yield {name: rows[name].cpu() for name in names}

    def _read(self) -> Iterator[Rows]:
        """All rows: those that were kept, else from the source, and then they are kept if they fit."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Rows] = []
        size = done = 0
        for rows in rebatched(first(self._source(), self.num), BATCH):
            done += len(rows["fake"])
            self._report(done)
            if self._names and self._fits:
                own = {name: rows[name].cpu() for name in ("fake", *self._names) if name in rows}
                size += sum(value.nbytes for value in own.values())
                kept.append(own)
                if size > KEEP:
                    self._fits, kept = False, []
            yield rows
        if done < self.num:
            raise DataError(f"{done:,} samples were given where {self.num:,} are needed: pass --num {done}")
        self._report = lambda done: None
        if self._names and self._fits:
            self._kept = kept


def first(chunks: Iterable[Rows], num: int) -> Iterator[Rows]:
    """Yield the first `num` rows, without requesting another chunk, which may be costly to generate."""
    for chunk in chunks:
        yield {name: value[:num] for name, value in chunk.items()}
        num -= len(chunk["fake"])
        if num <= 0:
            return


def rebatched(chunks: Iterable[Rows], size: int) -> Iterator[Rows]:
    """Yield the same rows in the same order, `size` at a time; the last batch may be smaller."""
    rest: Rows = {}
    for chunk in chunks:
        rest = {name: torch.cat((rest[name], value)) for name, value in chunk.items()} if rest else chunk
        while len(rest["fake"]) >= size:
            yield {name: value[:size] for name, value in rest.items()}
            rest = {name: value[size:] for name, value in rest.items()}
    if rest and len(rest["fake"]):
        yield rest
