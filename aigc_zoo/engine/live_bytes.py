"""The memory of tensors from operation to operation, without values: steps run on tensors that only have shapes.

torch's fake tensors have a shape, a dtype and a device but no memory, and no operation computes anything. A training
step on them takes a few tenths of a second whatever its size, and allocates and frees what the real step would.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

_READS = 10_000
"""Values that may be read on the host. More are taken for a loop that waits for a value."""


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch gives it no types
    """Counts the bytes of the fake tensors that are alive: `live` now, and `peak` at most since the last `reset`.

    A value that is read on the host is 1, as fake tensors have none.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # nor this
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self._bound = self._peak = self._reads = 0

    @property
    def live(self) -> int:
        self._forget_freed()
        return self._bound

    @property
    def peak(self) -> int:
        return self._peak

    def reset(self) -> None:
        self._peak = self.live

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            self._reads += 1
            if self._reads > _READS:
                raise RuntimeError("a loop waits for a value")
            return 1
        if not func._schema.returns:  # it writes in place, as fused optimizers do, which do not accept fake tensors
            return None
        output = func(*args, **(kwargs or {}))
        for value in pytree.tree_leaves(output):
            if isinstance(value, Tensor):
                self._add(value.untyped_storage())
        return output

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata  # a weak reference keeps it from being used again
        if key in self._storages:
            return
        self._storages[key] = StorageWeakRef(storage), storage.nbytes()  # type: ignore[no-untyped-call]  # as above
        self._bound += storage.nbytes()
        if self._bound > self._peak:  # only then does it matter which storages are freed
            self._peak = max(self._peak, self.live)

    def _forget_freed(self) -> None:
        for key in [key for key, (storage, _) in self._storages.items() if storage.expired()]:  # type: ignore[no-untyped-call]
            self._bound -= self._storages.pop(key)[1]


class _Copies(TorchFunctionMode):
    """Copies fake tensors without what belongs to the mode that made them, and refuses the address of their values.

    torch's `deepcopy` of a fake tensor copies the mode, too, which corrupted memory (torch 2.14).
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__deepcopy__:
            tensor, memo = args
            if id(tensor) not in memo:
                memo[id(tensor)] = _fake_like(tensor)
            return memo[id(tensor)]
        if func is Tensor.data_ptr:
            raise RuntimeError("a fake tensor's values have no address")
        return func(*args, **(kwargs or {}))


@contextmanager
def without_values() -> Iterator[LiveBytes]:
    """Within the block every new tensor is fake, and its bytes are counted.

    Raises what torch raises where code needs values, as for a result whose shape depends on them.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode  # imports half a second, which optimizers import as well

    # A first backward on fake tensors would start a thread for the device that they pretend, and torch then refuses to
    # compute gradients in forked processes.
    torch.autograd.backward(torch.ones(1, requires_grad=True))
    live, fake = LiveBytes(), FakeTensorMode(allow_non_fake_inputs=True, allow_fallback_kernels=False)
    with fake, live, _Copies():
        yield live


def fake_copy(net: nn.Module) -> nn.Module:
    """A copy of a network with new fake parameters and buffers on the CPU; call it in `without_values`."""
    memo: dict[int, Any] = {id(tensor): _fake_like(tensor) for tensor in (*net.parameters(), *net.buffers())}
    return copy.deepcopy(net, memo)


def _fake_like(tensor: Tensor) -> Tensor:
    fake = torch.empty_like(tensor, device="cpu", requires_grad=False)
    return nn.Parameter(fake, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fake
