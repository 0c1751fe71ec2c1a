"""A batch of a training step, and the fakes that the players of the step share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.game import Batch

Generate = Callable[[Batch], Mapping[str, Tensor]]
"""`Recipe.generate` with its networks bound."""


class StepBatch:
    """One micro-batch of a step. Its fakes are generated at most once, when a loss first needs a key of `generate`.

    Players that control a generator get fakes with their autograd graph, all others get them detached. `version` counts
    the updates of generators in this step: a graph of an older version belongs to weights that have changed since, so
    the fakes are then generated again.
    """

    def __init__(self, entries: Mapping[str, Tensor], generate: Generate, keep_graph: bool) -> None:
        """`entries` are all tensors but the fakes; `keep_graph` keeps the graph of the first fakes, for a later player
        that controls a generator."""
        self.entries = dict(entries)
        self._generate = generate
        self._keep_graph = keep_graph
        self._fakes: dict[str, Tensor] | None = None
        self._graph_version = -1  # the version whose graph the fakes carry, -1 for none

    def view(self, with_graph: bool, version: int) -> Batch:
        """The batch for one turn of a player; `with_graph` if the player controls a generator."""
        return _LazyBatch(self.entries, lambda: self._generated(with_graph, version))

    def _generated(self, with_graph: bool, version: int) -> dict[str, Tensor]:
        if self._fakes is None or (with_graph and self._graph_version != version):
            graph = with_graph or self._keep_graph
            with torch.set_grad_enabled(graph):
                self._fakes = dict(self._generate(self.entries))
            self._graph_version = version if graph else -1
        return self._fakes if with_graph else {name: value.detach() for name, value in self._fakes.items()}


class _LazyBatch(MutableMapping[str, Tensor]):
    """A full mapping of the entries of a batch and its fakes.

    The fakes are generated when a key is requested that is not an entry, or when all keys are requested (iteration,
    `len`, `keys`, `{**batch}`, `batch | ...`). A key that `generate` returns although it is an entry keeps the entry's
    value, so that no value depends on the order of the reads. Values that a loss assigns are seen by this turn alone.
    """

    def __init__(self, entries: Mapping[str, Tensor], generate: Callable[[], Mapping[str, Tensor]]) -> None:
        self._entries = dict(entries)
        self._generate: Callable[[], Mapping[str, Tensor]] | None = generate

    def __getitem__(self, key: str) -> Tensor:
        if key in self:
            return self._entries[key]
        raise KeyError(f"{key!r} is not in this batch, which has {', '.join(sorted(self))}")

    def __contains__(self, key: object) -> bool:
        return key in self._entries or key in self._complete()

    def get(self, key: str, default: Any = None) -> Any:  # that of Mapping hides a KeyError of `generate`
        return self._entries[key] if key in self else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._complete())

    def __len__(self) -> int:
        return len(self._complete())

    def __setitem__(self, key: str, value: Tensor) -> None:
        self._complete()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._complete()[key]

    def __or__(self, other: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.copy() | dict(other) if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(other) | self.copy() if isinstance(other, Mapping) else NotImplemented

    def copy(self) -> dict[str, Tensor]:
        """All entries and fakes, as a dictionary."""
        return dict(self._complete())

    __copy__ = copy

    def __repr__(self) -> str:
        return repr(self._complete())

    def _complete(self) -> dict[str, Tensor]:
        """The entries and the fakes, which are generated at most once."""
        if self._generate is not None:
            fakes, self._generate = self._generate(), None
            for name, value in fakes.items():
                self._entries.setdefault(name, value)
        return self._entries


def split_batch(batch: Mapping[str, Tensor], rows: int, count: int) -> list[Mapping[str, Tensor]]:
    """Split a batch of `rows` samples into `count` equal micro-batches.

    An entry whose first dimension is not `rows` is not split but belongs to every micro-batch.
    """
    if count == 1:
        return [batch]
    size = rows // count
    return [
        {name: value[first : first + size] if value.shape[:1] == (rows,) else value for name, value in batch.items()}
        for first in range(0, rows, size)
    ]
