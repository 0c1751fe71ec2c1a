"""Non-finite losses and gradients skip the update: each turn is checked for NaN and Inf before its optimizer step.

Every turn checks the loss and the gradients averaged over the ranks; the last turn of a step also checks the buffers of
all networks. The entries of the batch are checked on a GPU always, on a CPU only once something else is non-finite. The
order entries, buffers, loss, gradients names the cause rather than a consequence. After the first non-finite value no
optimizer steps on any rank, and no EMA averages a non-finite value.

On a CPU the optimizer step is skipped. On a GPU reading a value would wait for the device, so a flag on the device
makes fused optimizers leave parameters and moments unchanged. An optimizer without a fused form does step; the
resulting non-finite weights are found when a checkpoint is written.
"""

from __future__ import annotations

import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence, Set
from typing import Any

import torch
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors
from torch.utils.hooks import RemovableHandle

from aigc_zoo.engine.state import buffer_refs

NamedTensor = tuple[str, Tensor]

_SPAN = 1 << 20
"""A finding is encoded as turn * _SPAN + position, the position of a tensor in the order of checks."""

_ON_ANOTHER_RANK = _SPAN - 1
"""The position that stands for a finding of another rank: the largest, so that the minimum over ranks is the cause."""

_LARGE = 1 << 17
"""Elements of a parameter whose gradient (0.5 MB) is worth checking by a hook of its own."""


class Guard(ABC):
    """Checks each turn of `players` on the networks `nets`; the first finding is kept.

    In each turn the trainer calls `begin_turn`, `turn` calls `check` before gradients are averaged over the ranks, and
    `allows_step` before the optimizer step. A finding is an integer, which `describe` turns into a sentence.
    """

    def __init__(self, players: Sequence[str], nets: nn.Module, device: torch.device, world: int = 1) -> None:
        self._players, self._world = tuple(players), world
        self._parameter_names = {id(parameter): name for name, parameter in nets.named_parameters()}
        self._buffers = [ref for ref in buffer_refs(nets) if ref.value.is_floating_point() and ref.value.numel()]
        self._first = torch.full((), -1, dtype=torch.int64, device=device)
        self._inputs: Sequence[NamedTensor] = ()
        self._controlled: dict[int, Sequence[nn.Parameter]] = {}

    def begin_turn(
        self, player: int, step: Tensor, parameters: Sequence[nn.Parameter], inputs: Sequence[NamedTensor], last: bool
    ) -> Guard:
        """Start a turn of the player with this index: its step (int64 tensor), the parameters that it updates, the
        real entries of its batch, and whether it is the last turn of the step. Returns the guard."""
        self._player, self._step, self._parameters, self._last = player, step, parameters, last
        self._inputs = inputs
        self._controlled[player] = parameters
        return self

    @abstractmethod
    def check(self, loss: Tensor) -> Tensor | None:
        """Return 1 if this rank found a non-finite value, else 0, as a float tensor to be averaged over the ranks
        together with the gradients; None if the result is not needed."""

    @abstractmethod
    def allows_step(self, found: Tensor | None) -> bool:
        """Return True if the optimizer may step. `found` is the result of `check`, averaged over the ranks."""

    @property
    def tripped(self) -> bool:
        """True if something non-finite was found and this is known without waiting for the device."""
        return False

    @abstractmethod
    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Connect an optimizer that steps whatever was found to the flag that stops it."""

    def buffer_target(self, average: Tensor, value: Tensor) -> Tensor:
        """The tensor that a buffer of an EMA moves towards: `value`, or `average` itself after a finding."""
        return value

    @property
    def first(self) -> Tensor:
        """The first finding, -1 for none: an int64 scalar on the device."""
        return self._first

    def describe(self, finding: int) -> str:
        """A sentence for a finding, which may be another rank's."""
        turn, position = divmod(finding, _SPAN)
        step, number = divmod(turn, len(self._players))
        player = self._players[number]
        names = self._names(number)
        if position >= len(names):
            return f"a value on another rank, in a turn of player {player}, is not finite at step {step}"
        name = names[position]
        where = f", in a turn of player {player}," if name.startswith("the gradient") else ""
        return f"{name}{where} is not finite at step {step}"

    def _names(self, player: int) -> list[str]:
        """The names of all tensors that turns of a player check, by position."""
        with_gradient = [p for p in self._controlled.get(player, ()) if p.grad is not None and p.numel()]
        return [
            *(f"the batch's entry {name!r}" for name, _ in self._float_inputs()),
            *(f"the buffer {ref.name}" for ref in self._buffers),
            f"the loss of player {self._players[player]}",
            *(f"the gradient of {self._parameter_names[id(parameter)]}" for parameter in with_gradient),
        ]

    def _float_inputs(self) -> list[NamedTensor]:
        return [(name, value) for name, value in self._inputs if value.is_floating_point()]

    def _buffers_and_loss(self, loss: Tensor) -> list[Tensor]:
        """The tensors besides the inputs that are checked before gradients are averaged; buffers in the last turn."""
        return [*(ref.value for ref in self._buffers if self._last), loss]

    def _position(self, index: Any) -> Any:
        """The position of the tensor with this index among the checked ones, which may not include buffers."""
        skipped = 0 if self._last else len(self._buffers)
        return index + (index >= len(self._float_inputs())) * skipped

    def _encode(self, position: Any) -> Any:
        return (self._step * len(self._players) + self._player) * _SPAN + position


class HostGuard(Guard):
    """The guard for CPUs, where reading a value waits for nothing.

    A large gradient is checked by a hook when it has just been written and is still in the caches of the processor:
    fetching it again took as long as all other checks together. With several ranks gradients are averaged first.
    """

    _tripped = _in_turn = False

    def __init__(self, players: Sequence[str], nets: nn.Module, device: torch.device, world: int = 1) -> None:
        super().__init__(players, nets, device, world)
        self._bad_gradient = torch.zeros(1)
        large = [p for p in nets.parameters() if p.requires_grad and p.numel() >= _LARGE]
        self._hooked = large if world == 1 else []
        self._hooked_ids = {id(parameter) for parameter in self._hooked}
        self._handles: list[RemovableHandle] = []
        self.add_hooks()

    def add_hooks(self) -> None:
        """Add the hooks that check large gradients."""
        self.remove_hooks()
        own = weakref.ref(self)  # a strong reference would make a cycle that keeps the networks until it is collected

        def check_gradient(parameter: Tensor) -> None:
            guard = own()
            if guard is not None and guard._in_turn and parameter.grad is not None:
                _flag_non_finite(_as_real([parameter.grad]), guard._bad_gradient)

        for parameter in self._hooked:
            handle = parameter.register_post_accumulate_grad_hook(check_gradient)  # type: ignore[no-untyped-call]  # torch gives it no types
            self._handles.append(handle)

    def remove_hooks(self) -> None:
        """Remove the hooks, to measure what they cost."""
        while self._handles:
            self._handles.pop().remove()

    def begin_turn(
        self, player: int, step: Tensor, parameters: Sequence[nn.Parameter], inputs: Sequence[NamedTensor], last: bool
    ) -> Guard:
        self._bad_gradient.zero_()
        self._in_turn = True
        return super().begin_turn(player, step, parameters, inputs, last)

    def check(self, loss: Tensor) -> Tensor | None:
        self._checked = self._buffers_and_loss(loss)
        if self._world == 1:
            return None
        return torch.tensor(float(not self._tripped and not _all_finite(self._checked)))

    def allows_step(self, found: Tensor | None) -> bool:
        self._in_turn = False
        if self._tripped:
            return False
        # Inputs are not checked at first: a non-finite input shows in the loss. They are checked to name the cause.
        on_another_rank = found is not None and float(found) > 0
        _flag_non_finite(_gradients(self._parameters, self._hooked_ids), self._bad_gradient)
        if _all_finite(self._checked) and not self._bad_gradient.item() and not on_another_rank:
            return True
        inputs = [value for _, value in self._float_inputs()]
        index = _first_non_finite([*inputs, *self._checked, *_gradients(self._parameters)])
        on_this_rank = 0 <= index < len(inputs) + len(self._checked)
        if index < 0 and not on_another_rank:
            return True  # large values, only the sum of which has overflowed
        position = _ON_ANOTHER_RANK if on_another_rank and not on_this_rank else self._position(index)
        self._first.fill_(int(self._encode(position)))
        self._tripped = True
        return False

    @property
    def tripped(self) -> bool:
        return self._tripped

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Do nothing: the step is skipped instead."""


class DeviceGuard(Guard):
    """The guard for GPUs: it never reads a value on the host, so all of it can be recorded in a CUDA graph."""

    def __init__(self, players: Sequence[str], nets: nn.Module, device: torch.device, world: int = 1) -> None:
        super().__init__(players, nets, device, world)
        self._found_inf = torch.zeros((), device=device)

    def check(self, loss: Tensor) -> Tensor | None:
        tensors = [*(value for _, value in self._float_inputs()), *self._buffers_and_loss(loss)]
        self._found_at, self._count = self._position(_index_of_non_finite(tensors)), len(tensors)
        return torch.where(self._found_at >= 0, 1.0, 0.0)

    def allows_step(self, found: Tensor | None) -> bool:
        assert found is not None
        index = _index_of_non_finite(_gradients(self._parameters))
        in_gradients = torch.where(index >= 0, self._position(index + self._count), -1)
        elsewhere = torch.where(found > 0, torch.full_like(in_gradients, _ON_ANOTHER_RANK), in_gradients)
        position = torch.where(self._found_at >= 0, self._found_at, elsewhere)
        self._first.copy_(torch.where((self._first < 0) & (position >= 0), self._encode(position), self._first))
        self._found_inf.copy_(self._first >= 0)
        return True

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        optimizer.found_inf = self._found_inf  # type: ignore[attr-defined]  # the attribute that GradScaler sets

    def buffer_target(self, average: Tensor, value: Tensor) -> Tensor:
        return torch.where(self._found_inf > 0, average, value)


def guard_for(device: torch.device) -> type[Guard]:
    """The class of guard for a device."""
    return HostGuard if device.type == "cpu" else DeviceGuard


def _gradients(parameters: Sequence[nn.Parameter], exclude: Set[int] = frozenset()) -> list[Tensor]:
    """The gradients of the parameters whose ids are not in `exclude`."""
    return _as_real([p.grad for p in parameters if p.grad is not None and p.numel() and id(p) not in exclude])


def _as_real(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [torch.view_as_real(tensor) if tensor.is_complex() else tensor for tensor in tensors]


_ONE = torch.ones(1)


def _flag_non_finite(gradients: Sequence[Tensor], flag: Tensor) -> None:
    """Set `flag` to 1 if a gradient contains NaN or Inf."""
    # The function that GradScaler uses: one pass over all gradients, here scaled by one. Half the time of sums.
    torch._amp_foreach_non_finite_check_and_unscale_(list(gradients), flag, _ONE)


def _all_finite(tensors: Sequence[Tensor]) -> bool:
    """Return False if the sum of the tensors, which are few and small, is NaN or Inf."""
    # One sum over all tensors, as one call per tensor would take longer than the additions.
    total = tensors[0]
    if len(tensors) > 1:
        total = _flatten_dense_tensors(tensors).sum()  # type: ignore[no-untyped-call]  # torch gives it no types
    return math.isfinite(total.item())


def _first_non_finite(tensors: Sequence[Tensor]) -> int:
    """The index of the first tensor that contains NaN or Inf, -1 for none."""
    return next((index for index, tensor in enumerate(tensors) if not bool(tensor.isfinite().all())), -1)


def _index_of_non_finite(tensors: Sequence[Tensor]) -> Tensor:
    """`_first_non_finite` on the device in few kernels: an int64 scalar."""
    norms = torch.stack([norm.float() for norm in torch._foreach_norm(list(tensors), math.inf)])
    bad = ~torch.isfinite(norms)
    return torch.where(bad.any(), bad.to(torch.int64).argmax(), -1)
