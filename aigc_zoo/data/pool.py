"""A pool of decoded rows, on the device where they fit, else where they are. A batch is an index; nobody loads."""

from __future__ import annotations

import torch
from torch import Tensor

from aigc_zoo.engine.seeds import generator, permutation
from aigc_zoo.game import Batch, Samples

SHARE_OF_DEVICE = 0.25


class Pool:
    """Batches of one split. They are a function of (seed, number, batch size) alone: device, budget and whether a field
    is memory-mapped change nothing, and the ranks' batches are the slices of the whole one.

    `budget` is the memory of the device, in bytes, that the fields may take; a quarter of what is free unless told.
    """

    def __init__(self, samples: Samples, device: torch.device | str, budget: int | None = None) -> None:
        self.samples, self.device = samples, torch.device(device)
        self.resident = self.device.type == "cpu" or self._bytes() <= (_free(self.device) if budget is None else budget)
        self._fields = dict(samples.fields)
        if self.resident:
            self._fields = {name: field.to(self.device) for name, field in self._fields.items()}
        self._orders: dict[tuple[int, int, int], Tensor] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, seed: int, index: int, size: int, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
        """Batch `index` since the start of the run, the rows of this rank: decoded entries on the device.

        Sample p = index * size + j belongs to epoch p // N and is row permutation(seed, "rows", group, epoch)[p % N];
        a batch may span epochs. `size` counts the samples of all ranks.
        """
        first, last = rank * size // world, (rank + 1) * size // world
        rows: dict[str, Tensor] = {}
        for group, names in enumerate(self.samples.groups):
            order = self._order(seed, group, index * size + first, index * size + last)
            rows |= {name: self._select(name, order) for name in names}
        stream = generator(seed, "decode", index)

        def draw(*shape: int) -> Tensor:
            # All ranks draw for the whole batch, so that a sample's numbers do not depend on how many ranks there are.
            return torch.rand(size, *shape, generator=stream)[first:last].to(self.device)

        return dict(self.samples.decode(rows, draw))

    def rows(self, indices: Tensor) -> dict[str, Tensor]:
        """Chosen rows as a batch, decoded without chance: every number that `draw` gives is 0.5.

        Groups may differ in length; indices beyond the end of one begin anew.
        """
        rows = {
            name: self._select(name, indices.to(self._fields[name].device) % len(self._fields[name]))
            for names in self.samples.groups
            for name in names
        }

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
            self._orders[key] = order.to(self.device) if self.resident else order
        return self._orders[key]

    def _select(self, name: str, indices: Tensor) -> Tensor:
        field = self._fields[name]
        selected = field.index_select(0, indices.to(field.device))
        if self.resident:
            return selected
        return (selected.pin_memory() if self.device.type == "cuda" else selected).to(self.device, non_blocking=True)

    def _bytes(self) -> int:
        return sum(field.nbytes for field in self.samples.fields.values())


def example(samples: Samples, n: int = 1) -> Batch:
    """The first `n` rows as a batch on the CPU: what entries there are, and of which shapes."""
    return Pool(samples, "cpu").rows(torch.arange(n))


def _free(device: torch.device) -> int:
    """What the fields may take of a device that has memory of its own."""
    return int(torch.cuda.mem_get_info(device)[0] * SHARE_OF_DEVICE) if device.type == "cuda" else 0
