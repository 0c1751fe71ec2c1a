"""Distributed training: the process group that `torchrun` starts, and the collectives that the trainer uses.

A single process is rank 0 of 1, needs no process group, and every collective returns its input.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

TIMEOUT = timedelta(seconds=120)
"""Time after which a rank stops waiting for the others; the default of a process group is minutes longer."""


@dataclass(frozen=True)
class Ranks:
    """The rank of this process and the number of ranks (`world`) that train together."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """True on rank 0, which alone writes files and prints."""
        return self.rank == 0

    def shard(self, batch_size: int) -> slice:
        """Return this rank's rows of a global batch. Raises ValueError if the ranks do not divide the batch size."""
        if batch_size % self.world:
            raise ValueError(f"a batch of {batch_size} does not divide over {self.world} ranks")
        rows = batch_size // self.world
        return slice(self.rank * rows, (self.rank + 1) * rows)

    def all_reduce_mean(self, tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Average tensors over all ranks, with one flat all-reduce per dtype.

        An entry may be None, for a parameter without a gradient; it then has to be None on every rank.
        """
        if self.world == 1:
            return list(tensors)
        means: list[Tensor | None] = [None] * len(tensors)
        for dtype in sorted({t.dtype for t in tensors if t is not None}, key=str):
            same_dtype = [(i, t) for i, t in enumerate(tensors) if t is not None and t.dtype == dtype]
            flat = torch.cat([t.reshape(-1) for _, t in same_dtype])
            dist.all_reduce(flat)
            flat /= self.world
            for (i, t), mean in zip(same_dtype, torch.split(flat, [t.numel() for _, t in same_dtype]), strict=True):
                means[i] = mean.view(t.shape)
        return means

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors in place with those of rank 0."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all ranks in order of rank, on every rank."""
        if self.world == 1:
            return [tensor]
        tensors = [torch.empty_like(tensor) for _ in range(self.world)]
        dist.all_gather(tensors, tensor.contiguous())
        return tensors

    def any(self, value: bool) -> bool:
        """Return True on every rank if `value` is true on any rank, so that all ranks stop after the same step."""
        if self.world == 1:
            return value
        return any(bool(flag) for flag in self.gather(torch.tensor([int(value)], device=_device())))

    def wait(self) -> None:
        """Block until every rank has called this method."""
        if self.world > 1:
            dist.barrier()


def _device() -> torch.device:
    """The device whose tensors the backend of the process group can send."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")


def join_group(device: torch.device) -> Ranks:
    """Join the process group that `torchrun` announces in the environment: NCCL on CUDA, gloo on the CPU.

    Without `torchrun` no group is joined, and the result is rank 0 of 1.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return Ranks()
    if not dist.is_initialized():
        # The functions of this module have the group that exists at its import as a default argument, and keep it
        # alive. If the first optimizer imports it, the group outlives `leave_group`, with the threads of gloo: 19 of
        # 120 runs of two ranks that had finished their work aborted at exit (torch 2.15, a busy machine).
        importlib.import_module("torch.distributed.nn.functional")
        # When torchrun restarts the ranks it keeps its store, which holds the addresses of the dead ranks: 2 of 2 jobs
        # could not connect after a restart (torch 2.14). So each attempt has its own keys.
        from torch.distributed import PrefixStore  # type: ignore[attr-defined]  # exists, but not in the type stubs
        from torch.distributed.rendezvous import rendezvous

        store, rank, world = next(rendezvous("env://", timeout=TIMEOUT))
        store = PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT, store=store, rank=rank, world_size=world
        )
    return Ranks(dist.get_rank(), dist.get_world_size())


def leave_group() -> None:
    """Destroy the process group, if one was joined."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
