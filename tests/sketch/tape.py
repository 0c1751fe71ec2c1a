"""A stand-in for CUDA graphs that runs on the CPU: it records every operation once, and repeats it on the same memory.

Like a graph it knows nothing of the host: a number that Python worked out while recording is what it was then, for
good. Like a graph it refuses to read a value back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as trees
from torch.utils._python_dispatch import TorchDispatchMode

READS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default, torch.ops.aten.equal.default)


class NoReads(TorchDispatchMode):
    """Raises where a value is read back to the host, which on a GPU would wait for it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READS:
            raise RuntimeError(f"{func} reads a value back to the host")
        return func(*args, **(kwargs or {}))


class Tape(NoReads):
    """What was done, in order: operations, what they were given, what they made."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = super().__torch_dispatch__(func, types, args, kwargs)
        given = {t.untyped_storage().data_ptr() for t in trees.tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        leaves = [t for t in trees.tree_leaves(made) if isinstance(t, Tensor)]
        new = [t for t in leaves if t.untyped_storage().data_ptr() not in given]  # neither a view nor in place
        self.done.append((func, args, kwargs, new if len(new) == len(leaves) else []))
        return made

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, results in self.done:
            made = func(*args, **kwargs)
            for mine, now in zip(results, (t for t in trees.tree_leaves(made) if isinstance(t, Tensor)), strict=False):
                mine.copy_(now)


class Tapes:
    """A `fast.Recorder`. Recording on a CPU does the work at once, so everything in `state` is put back afterwards."""

    def __init__(self, state: Callable[[], list[Tensor]]) -> None:
        self._state, self.tapes = state, 0

    def warm_up(self, work: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        return work()

    def record(self, work: Callable[[], Mapping[str, Tensor]]) -> tuple[Callable[[], None], Mapping[str, Tensor]]:
        kept = [(value, value.detach().clone()) for value in self._state()]
        dice = torch.get_rng_state()
        self.tapes += 1
        try:
            with Tape() as tape:
                found = work()
        finally:
            torch.set_rng_state(dice)
            with torch.no_grad():
                for value, before in kept:
                    value.copy_(before)
        return tape.replay, found
