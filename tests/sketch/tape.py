"""A stand-in for CUDA graphs on the CPU: it records every operation once and replays it on the same memory.

Like a CUDA graph it does not run Python again: a value that Python computed while recording stays constant. Like a CUDA
graph it raises an error if a value is read back to the host.
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
    """Raises RuntimeError if a value is read back to the host, which on a GPU would synchronize."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READS:
            raise RuntimeError(f"{func} reads a value back to the host")
        return func(*args, **(kwargs or {}))


class Tape(NoReads):
    """The recorded operations in order, with their arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = super().__torch_dispatch__(func, types, args, kwargs)
        inputs = {t.untyped_storage().data_ptr() for t in trees.tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        leaves = [t for t in trees.tree_leaves(output) if isinstance(t, Tensor)]
        new = [t for t in leaves if t.untyped_storage().data_ptr() not in inputs]  # neither a view nor in place
        self.operations.append((func, args, kwargs, new if len(new) == len(leaves) else []))
        return output

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, results in self.operations:
            output = func(*args, **kwargs)
            for result, now in zip(
                results, (t for t in trees.tree_leaves(output) if isinstance(t, Tensor)), strict=False
            ):
                result.copy_(now)


class Tapes:
    """A `fast.Recorder`. Recording on a CPU executes the work, so all tensors of `state` are restored afterwards."""

    def __init__(self, state: Callable[[], list[Tensor]]) -> None:
        self._state, self.tapes = state, 0

    def warm_up(self, work: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        return work()

    def record(self, work: Callable[[], Mapping[str, Tensor]]) -> tuple[Callable[[], None], Mapping[str, Tensor]]:
        saved = [(value, value.detach().clone()) for value in self._state()]
        random_state = torch.get_rng_state()
        self.tapes += 1
        try:
            with Tape() as tape:
                terms = work()
        finally:
            torch.set_rng_state(random_state)
            with torch.no_grad():
                for value, before in saved:
                    value.copy_(before)
        return tape.replay, terms
