"""A pool of stored rows, on the device where they fit, else where they are. A batch is an index; nobody loads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from aigc_zoo.game import Batch, Samples
from aigc_zoo.random import generator, permutation

SHARE_OF_DEVICE = 0.25
"""Of the device's free memory, what rows may take: networks, moments and activations are to follow."""


class Pool:
    """Batches of one split. They are a function of (seed, number, batch size) alone: device, budget and whether a field
    is memory-mapped change nothing, and the ranks' batches are the slices of the whole one.

    `budget` is the memory of the device, in bytes, that the fields may take; a quarter of what is free unless told.
    Fields that do not fit stay where they are, and a thread fetches the rows of the next batch while this one is used.
    """

    def __init__(self, samples: Samples, device: torch.device | str, budget: int | None = None) -> None:
        self.samples, self.device = samples, torch.device(device)
        free = _free(self.device) if budget is None else budget
        self.resident = free is None or self._bytes() <= free
        self._fields = dict(samples.fields)
        if self.resident:
            self._fields = {name: field.to(self.device) for name, field in self._fields.items()}
        self._orders: dict[tuple[int, int, int], Tensor] = {}
        self._fetcher = None if self.resident else Fetcher(self.device)

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, seed: int, index: int, size: int, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
        """Batch `index` since the start of the run, the rows of this rank: decoded entries on the device.

        Sample p = index * size + j belongs to epoch p // N and is row permutation(seed, "rows", group, epoch)[p % N];
        a batch may span epochs. `size` counts the samples of all ranks.
        """
        first, last = rank * size // world, (rank + 1) * size // world

        def rows_of(number: int) -> dict[str, Tensor]:
            start, stop = number * size + first, number * size + last
            rows: dict[str, Tensor] = {}
            for group, names in enumerate(self.samples.groups):
                order = self._order(seed, group, start, stop)
                rows |= {name: self._fields[name].index_select(0, order) for name in names}
            return rows

        if self._fetcher is None:
            rows = rows_of(index)
        else:
            rows = self._fetcher.fetch((seed, index, size, rank, world), lambda: rows_of(index))
            self._fetcher.ahead((seed, index + 1, size, rank, world), lambda: rows_of(index + 1))
        streams: list[torch.Generator] = []

        def draw(*shape: int) -> Tensor:
            if not streams:  # few draw, and a stream costs more than most decoding
                streams.append(generator(seed, "decode", index))
            # All ranks draw for the whole batch, so that a sample's numbers do not depend on how many ranks there are.
            return moved(torch.rand(size, *shape, generator=streams[0])[first:last], self.device)

        return dict(self.samples.decode(rows, draw))

    def rows(self, indices: Tensor) -> dict[str, Tensor]:
        """Chosen rows as a batch, decoded without chance: every number that `draw` gives is 0.5.

        Groups may differ in length; indices beyond the end of one begin anew.
        """
        rows = {}
        for names in self.samples.groups:
            for name in names:
                field = self._fields[name]
                rows[name] = moved(field.index_select(0, indices.to(field.device) % len(field)), self.device)

        def draw(*shape: int) -> Tensor:
            return torch.full((len(indices), *shape), 0.5, device=self.device)

        return dict(self.samples.decode(rows, draw))

    def _order(self, seed: int, group: int, start: int, stop: int) -> Tensor:
        """The rows of the samples from `start` to `stop` since the run's start."""
        length = len(self.samples.fields[self.samples.groups[group][0]])
        parts = []
        while start < stop:
            epoch, within = divmod(start, length)
            taken = min(stop - start, length - within)
            parts.append(self._permutation(seed, group, epoch, length)[within : within + taken])
            start += taken
        return torch.cat(parts) if len(parts) != 1 else parts[0]

    def _permutation(self, seed: int, group: int, epoch: int, length: int) -> Tensor:
        key = (seed, group, epoch)
        if key not in self._orders:
            while len(self._orders) > 2 * len(self.samples.groups):
                del self._orders[next(iter(self._orders))]
            order = permutation(length, seed, "rows", group, epoch)
            self._orders[key] = moved(order, self.device) if self.resident else order
        return self._orders[key]

    def _bytes(self) -> int:
        return sum(field.nbytes for field in self.samples.fields.values())


Rows = dict[str, Tensor]
Key = tuple[int, ...]


class _Coming(NamedTuple):
    key: Key
    rows: Future[tuple[Rows, torch.cuda.Event | None]]


class Fetcher:
    """Brings rows to the device in a thread of its own, on a CUDA stream of its own: at most one batch ahead.

    Pages that are not in memory are read there, rows are copied to pinned memory there, and the device copies them
    while it computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._coming: _Coming | None = None
        self._thread = ThreadPoolExecutor(1, "rows")
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def ahead(self, key: Key, gather: Callable[[], Rows]) -> None:
        """Begins to fetch what is going to be asked for."""
        self._coming = _Coming(key, self._thread.submit(self._bring, gather))

    def fetch(self, key: Key, gather: Callable[[], Rows]) -> Rows:
        """The rows of `key`: those that were begun, if they are these."""
        coming = self._coming
        if coming is None or coming.key != key:
            coming = _Coming(key, self._thread.submit(self._bring, gather))
        rows, ready = coming.rows.result()
        if ready is not None:
            now = torch.cuda.current_stream(self._device)
            now.wait_event(ready)
            for value in rows.values():
                value.record_stream(now)  # else its memory might be given away while it is read
        return rows

    def _bring(self, gather: Callable[[], Rows]) -> tuple[Rows, torch.cuda.Event | None]:
        if self._stream is None:
            return gather(), None
        with torch.cuda.stream(self._stream):
            rows = {name: moved(value, self._device) for name, value in gather().items()}
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ready.record(self._stream)
        return rows, ready


def moved(value: Tensor, device: torch.device) -> Tensor:
    """The value on the device, without waiting for it: from pinned memory, which alone is copied while others work."""
    if value.device.type == device.type:
        return value
    return (value.pin_memory() if device.type == "cuda" else value).to(device, non_blocking=True)


def example(samples: Samples, n: int = 1) -> Batch:
    """The first `n` rows as a batch on the CPU: what entries there are, and of which shapes."""
    return Pool(samples, "cpu").rows(torch.arange(n))


def _free(device: torch.device) -> int | None:
    """What the fields may take of a device that has memory of its own; None where they are there already."""
    return int(torch.cuda.mem_get_info(device)[0] * SHARE_OF_DEVICE) if device.type == "cuda" else None
