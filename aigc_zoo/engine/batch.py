"""A batch of a training step, and the fakes that the players of the step share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from aigc_zoo.game import Batch

Generate = Callable[[Batch], Mapping[str, Tensor]]
"""`Recipe.generate` with its networks bound."""


class StepBatch:
    """One micro-batch of a step. Its fakes are generated at most once, when a loss first reads a key of `generate`.

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


class _LazyBatch(dict[str, Tensor]):
    """A batch that generates its fakes when a key is read that it does not have yet."""

    def __init__(self, entries: Mapping[str, Tensor], generate: Callable[[], Mapping[str, Tensor]]) -> None:
        super().__init__(entries)
        self._generate: Callable[[], Mapping[str, Tensor]] | None = generate

    def __missing__(self, key: str) -> Tensor:
        if self._generate is not None:
            fakes, self._generate = self._generate(), None
            self.update(fakes)
            if key in self:
                return self[key]
        raise KeyError(f"{key!r} is not in this batch, which has {', '.join(sorted(self))}")


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
