"""Ranks: one flat all-reduce a turn over whatever group `torchrun` made; a single process needs none of it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as group
from torch import Tensor

TIMEOUT = timedelta(seconds=120)
"""How long a rank waits for the others before it gives up; the group's own default is minutes longer."""


@dataclass(frozen=True)
class Ranks:
    """This process's place among the ranks that train together."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, size: int) -> slice:
        """This rank's rows of a whole batch of `size`."""
        if size % self.world:
            raise ValueError(f"a batch of {size} does not divide over {self.world} ranks")
        rows = size // self.world
        return slice(self.rank * rows, (self.rank + 1) * rows)

    def all_reduce_mean(self, tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The means over ranks, in one collective for each dtype; None where there is no gradient, on every rank."""
        if self.world == 1:
            return list(tensors)
        reduced: list[Tensor | None] = [None] * len(tensors)
        for dtype in sorted({t.dtype for t in tensors if t is not None}, key=str):
            mine = [(i, t) for i, t in enumerate(tensors) if t is not None and t.dtype == dtype]
            flat = torch.cat([t.reshape(-1) for _, t in mine])
            group.all_reduce(flat)
            flat /= self.world
            for (i, t), part in zip(mine, torch.split(flat, [t.numel() for _, t in mine]), strict=True):
                reduced[i] = part.view(t.shape)
        return reduced

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrites the tensors with those of rank 0."""
        if self.world > 1:
            for tensor in tensors:
                group.broadcast(tensor, src=0)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensor of every rank, in order of rank, on every rank."""
        if self.world == 1:
            return [tensor]
        found = [torch.empty_like(tensor) for _ in range(self.world)]
        group.all_gather(found, tensor.contiguous())
        return found

    def any(self, value: bool) -> bool:
        """Whether it is true on any rank; a step boundary asks it, so that all ranks stop together."""
        if self.world == 1:
            return value
        return any(bool(flag) for flag in self.gather(torch.tensor([int(value)], device=_device())))

    def wait(self) -> None:
        """Until every rank is here."""
        if self.world > 1:
            group.barrier()


def _device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if group.get_backend() == "nccl" else torch.device("cpu")


def join(device: torch.device) -> Ranks:
    """Joins the group that `torchrun` announces in the environment; alone otherwise. NCCL on CUDA, gloo on the CPU."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return Ranks()
    if not group.is_initialized():
        # Its functions have the group that exists at its import as a default argument, and so keep it for good. Left to
        # the first optimiser to import, it outlives `leave`, gloo's threads with it: 19 of 120 runs of two ranks that
        # had done their work aborted at their exit (torch 2.15, a busy machine).
        importlib.import_module("torch.distributed.nn.functional")
        # torchrun keeps its store when it starts the ranks again, with the addresses of those that died in it: 2 of 2
        # jobs could not connect after a restart (torch 2.14). So each attempt has keys of its own.
        from torch.distributed import PrefixStore  # type: ignore[attr-defined]  # there, but not for type checkers
        from torch.distributed.rendezvous import rendezvous

        store, rank, world = next(rendezvous("env://", timeout=TIMEOUT))
        store = PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        group.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT, store=store, rank=rank, world_size=world
        )
    return Ranks(group.get_rank(), group.get_world_size())


def leave() -> None:
    """Leaves the group, if one was joined."""
    if group.is_available() and group.is_initialized():
        group.destroy_process_group()
