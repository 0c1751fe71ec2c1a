"""What is not finite moves no weight: each turn is looked at before its optimiser's step.

Looked at are the real entries of a batch when it is played for the first time, every loss, every gradient that the
ranks have averaged, and in the last turn of a step the buffers of the networks; in an order that names the cause and
not what follows from it: entries, buffers, loss, gradients. From the first bad turn on no
optimiser steps, on any rank, and no average takes in what is not finite. On a CPU the step is left out. A GPU would
have to be waited for, so there a flag on the device makes fused optimisers leave weights and moments as they are; one
that has no fused form goes on, and what it does is caught by the check of everything that is written to a file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

Named = tuple[str, Tensor]

_SPAN = 1 << 20
_ELSEWHERE = _SPAN - 1
"""The place of what another rank has found: the largest, so that the least of all ranks' is the cause."""


class Guard:
    """Looks at turn after turn of `players` on the networks `nets`; what it found first stays found.

    For each turn `begin` is called, then `look` before gradients are averaged, then `admits` before the optimiser's
    step. What is found is a number, the same for all ranks that find the same: `said` puts it into words.
    """

    def __init__(self, players: Sequence[str], nets: nn.Module, device: torch.device, world: int = 1) -> None:
        self._world = world
        self._players = tuple(players)
        self._weights = {id(weight): f"the gradient of {name}" for name, weight in nets.named_parameters()}
        self._places = [
            (f"the buffer {prefix}.{key}", module, key)
            for prefix, module in nets.named_modules()
            for key, buffer in module.named_buffers(recurse=False)
            if buffer.is_floating_point() and buffer.numel()
        ]
        self._names: dict[int, list[str]] = {}
        self._first = torch.full((), -1, dtype=torch.int64, device=device)

    def begin(self, number: int, step: Tensor, inputs: Sequence[Named], last: bool) -> Guard:
        """The turn that comes: whose, at which step, which entries are new in it, and whether it is the step's last."""
        self._number, self._step, self._last = number, step, last
        self._inputs = [(f"the batch's entry {name!r}", value) for name, value in inputs if value.is_floating_point()]
        return self

    def look(self, lowered: Tensor) -> Tensor | None:
        """1 where this rank has found something, else 0, to be averaged over the ranks with the gradients; None where
        that is known already, and there are no others."""
        raise NotImplementedError

    def admits(self, params: Sequence[nn.Parameter], wrong: Tensor | None) -> bool:
        """Whether the optimiser may step. `wrong` is what `look` returned, averaged over the ranks."""
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        """Whether something was found, where that costs nothing to know."""
        return False

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Lets the optimiser know of the flag, where it steps whatever was found."""

    def sound(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """What an average's buffer may move to."""
        return theirs

    @property
    def first(self) -> Tensor:
        """What was found first, -1 for nothing: int64, on the device."""
        return self._first

    def said(self, found: int) -> str:
        """A number that `first` had on some rank, in words."""
        turn, place = divmod(found, _SPAN)
        step, number = divmod(turn, len(self._players))
        player, names = self._players[number], self._names.get(number, [])
        what = names[place] if place < len(names) else "what another rank saw"
        of = f", in a turn of player {player}," if what.startswith(("the gradient", "what")) else ""
        return f"{what}{of} is not finite at step {step}"

    def _before(self, lowered: Tensor) -> list[Tensor]:
        """What is looked at before the gradients are there."""
        places = self._places if self._last else ()
        seen = [*self._inputs, *((name, getattr(module, key)) for name, module, key in places)]
        self._names[self._number] = [name for name, _ in seen] + [f"the loss of player {self._players[self._number]}"]
        return [value for _, value in seen] + [lowered]

    def _gradients(self, params: Sequence[nn.Parameter]) -> list[Tensor]:
        seen = [weight for weight in params if weight.grad is not None and weight.numel()]
        self._names[self._number] += [self._weights[id(weight)] for weight in seen]
        return [weight.grad for weight in seen if weight.grad is not None]


class HostGuard(Guard):
    """Reads what it looks at: on a CPU nobody has to be waited for."""

    _closed = False

    def look(self, lowered: Tensor) -> Tensor | None:
        self._place = -1 if self._closed else _first_bad(self._before(lowered))
        return torch.tensor(float(self._place >= 0)) if self._world > 1 else None

    def admits(self, params: Sequence[nn.Parameter], wrong: Tensor | None) -> bool:
        if self._closed:
            return False
        place = self._place
        if place < 0 and wrong is not None and float(wrong) > 0:
            place = _ELSEWHERE
        if place < 0:
            before = len(self._names[self._number])
            place = _first_bad(self._gradients(params))
            place += before if place >= 0 else 0
        if place >= 0:
            self._first.fill_((int(self._step) * len(self._players) + self._number) * _SPAN + place)
            self._closed = True
        return place < 0

    @property
    def closed(self) -> bool:
        return self._closed


class DeviceGuard(Guard):
    """Never reads: all that it does can be recorded in a graph."""

    def __init__(self, players: Sequence[str], nets: nn.Module, device: torch.device, world: int = 1) -> None:
        super().__init__(players, nets, device, world)
        self._closed = torch.zeros((), device=device)

    def look(self, lowered: Tensor) -> Tensor | None:
        self._place = _place_of_bad(self._before(lowered))
        return (self._place >= 0).float()

    def admits(self, params: Sequence[nn.Parameter], wrong: Tensor | None) -> bool:
        assert wrong is not None
        before = len(self._names[self._number])
        later = _place_of_bad(self._gradients(params))
        place = torch.where(wrong > 0, _ELSEWHERE, -1)
        place = torch.where(later >= 0, later + before, place)
        place = torch.where(self._place >= 0, self._place, place)
        found = (self._step * len(self._players) + self._number) * _SPAN + place
        self._first.copy_(torch.where((self._first < 0) & (place >= 0), found, self._first))
        self._closed.copy_(self._first >= 0)
        return True

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        optimizer.found_inf = self._closed  # type: ignore[attr-defined]  # as torch's GradScaler hands it over

    def sound(self, ours: Tensor, theirs: Tensor) -> Tensor:
        return torch.where(self._closed > 0, ours, theirs)


def guard_for(device: torch.device) -> type[Guard]:
    """The kind of guard for a device."""
    return HostGuard if device.type == "cpu" else DeviceGuard


_SMALL = 4096


def _first_bad(tensors: Sequence[Tensor]) -> int:
    """The place of the first tensor that holds NaN or infinity, -1 for none. A sum is such if anything in it is."""
    # Most are a handful of numbers, of which a call each would cost more than all that is added.
    small = [value for value in tensors if value.numel() < _SMALL]
    sums = [value.sum() for value in tensors if value.numel() >= _SMALL]
    if len(small) == 1:
        sums += [small[0].sum()]
    elif small:
        sums += [torch.cat([value.reshape(-1) for value in small]).sum()]
    if all(math.isfinite(one) for one in map(float, sums)):
        return -1
    return next((place for place, value in enumerate(tensors) if not math.isfinite(float(value.sum()))), -1)


def _place_of_bad(tensors: Sequence[Tensor]) -> Tensor:
    """The same on the device, in few kernels: int64."""
    norms = torch.stack([norm.float() for norm in torch._foreach_norm(list(tensors), math.inf)])
    bad = ~torch.isfinite(norms)
    return torch.where(bad.any(), bad.to(torch.int64).argmax(), -1)
