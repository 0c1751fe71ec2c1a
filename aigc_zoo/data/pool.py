"""Batches by index from a pool of stored rows, which is on the device if it fits there. There are no loader workers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from aigc_zoo import devices
from aigc_zoo.game import Batch, Samples
from aigc_zoo.random import generator, permutation, row_uniforms

MEMORY_FRACTION = 0.25
"""Fraction of the free device memory that rows may use; networks, optimizer states and activations need the rest."""


class Pool:
    """Batches of one split, as a function of (seed, index, batch size) alone.

    Device, budget and memory-mapping change nothing, and the batches of the ranks are slices of the global batch.
    `budget` is the device memory, in bytes, that the fields may use, by default a quarter of the free memory. Fields
    that do not fit stay in host memory or on the disk, and a thread prefetches the rows of the next batch.
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
        """The shard of this rank of batch number `index` since the start of the run: decoded entries on the device.

        Sample p = index * size + j belongs to epoch p // N and is row permutation(seed, "rows", group, epoch)[p % N];
        a batch may span epochs. `size` is the global batch size.
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
            self._fetcher.prefetch((seed, index + 1, size, rank, world), lambda: rows_of(index + 1))
        streams: list[torch.Generator] = []

        def draw(*shape: int) -> Tensor:
            if not streams:  # few datasets draw, and creating a stream costs more than decoding most of them
                streams.append(generator(seed, "decode", index))
            # Every rank draws for the global batch, so that a sample's numbers do not depend on the world size.
            return to_device(torch.rand(size, *shape, generator=streams[0])[first:last], self.device)

        return dict(self.samples.decode(rows, draw))

    def rows(self, indices: Tensor) -> dict[str, Tensor]:
        """The rows with these indices as a batch. The numbers from `draw` are functions of the row: the same crop of a
        row is evaluated and shown every time.

        Groups may differ in length; indices wrap around at the end of each.
        """
        rows, calls = {}, itertools.count()
        for names in self.samples.groups:
            for name in names:
                field = self._fields[name]
                rows[name] = to_device(field.index_select(0, indices.to(field.device) % len(field)), self.device)

        def draw(*shape: int) -> Tensor:
            found = row_uniforms(indices, math.prod(shape), "decode", next(calls))
            return to_device(found.reshape(len(indices), *shape), self.device)

        return dict(self.samples.decode(rows, draw))

    def _order(self, seed: int, group: int, start: int, stop: int) -> Tensor:
        """Row numbers of the samples from `start` to `stop`, counted since the start of the run."""
        length = len(self.samples.fields[self.samples.groups[group][0]])
        parts = []
        while start < stop:
            epoch, within = divmod(start, length)
            count = min(stop - start, length - within)
            parts.append(self._permutation(seed, group, epoch, length)[within : within + count])
            start += count
        return torch.cat(parts) if len(parts) != 1 else parts[0]

    def _permutation(self, seed: int, group: int, epoch: int, length: int) -> Tensor:
        key = (seed, group, epoch)
        if key not in self._orders:
            while len(self._orders) > 2 * len(self.samples.groups):
                del self._orders[next(iter(self._orders))]
            order = permutation(length, seed, "rows", group, epoch)
            self._orders[key] = to_device(order, self.device) if self.resident else order
        return self._orders[key]

    def _bytes(self) -> int:
        return sum(field.nbytes for field in self.samples.fields.values())


Rows = dict[str, Tensor]
Key = tuple[int, ...]


class _Pending(NamedTuple):
    key: Key
    rows: Future[tuple[Rows, torch.cuda.Event | None]]


class Fetcher:
    """Copies rows to the device in a separate thread and on a separate CUDA stream, at most one batch ahead.

    The thread reads pages that are not in memory and copies rows to pinned memory, from which the device copies them
    while it computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pending: _Pending | None = None
        self._thread = ThreadPoolExecutor(1, "rows")
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def prefetch(self, key: Key, gather: Callable[[], Rows]) -> None:
        """Starts to fetch the rows of the next call of `fetch`."""
        self._pending = _Pending(key, self._thread.submit(self._copy, gather))

    def fetch(self, key: Key, gather: Callable[[], Rows]) -> Rows:
        """The rows of `key`, prefetched if the last call of `prefetch` had this key."""
        pending = self._pending
        if pending is None or pending.key != key:
            pending = _Pending(key, self._thread.submit(self._copy, gather))
        rows, ready = pending.rows.result()
        if ready is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(ready)
            for value in rows.values():
                value.record_stream(current)  # otherwise its memory could be reused while it is read
        return rows

    def _copy(self, gather: Callable[[], Rows]) -> tuple[Rows, torch.cuda.Event | None]:
        if self._stream is None:
            return {name: to_device(value, self._device) for name, value in gather().items()}, None
        with torch.cuda.stream(self._stream):
            rows = {name: to_device(value, self._device) for name, value in gather().items()}
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ready.record(self._stream)
        return rows, ready


def to_device(value: Tensor, device: torch.device) -> Tensor:
    """The value on the device. Copies to CUDA are asynchronous, which needs pinned memory."""
    if value.device.type == device.type:
        return value
    return value.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else value.to(device)


def example(samples: Samples, n: int = 1) -> Batch:
    """The first `n` rows as a batch on the CPU, which shows its entries and their shapes."""
    return Pool(samples, "cpu").rows(torch.arange(n))


def _free(device: torch.device) -> int | None:
    """Bytes that the fields may use on a GPU; None on the CPU, where the fields are already."""
    free = devices.free_memory(device)
    return None if free is None else int(free * MEMORY_FRACTION)
