"""What is not finite moves no weight: each turn is looked at before its optimiser's step.

Looked at are every loss, every gradient that the ranks have averaged, and in the last turn of a step the buffers of the
networks; on a GPU, and elsewhere once something is wrong, the real entries of the batch as well. The order names the
cause and not what follows from it: entries, buffers, loss, gradients. From the first bad turn on no optimiser steps, on
any rank, and no average takes in what is not finite. On a CPU the step is left out. A GPU would have to be waited for,
so there a flag on the device makes fused optimisers leave weights and moments as they are; one that has no fused form
goes on, and what it does is caught by the check of everything that is written to a file.
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

from aigc_zoo.engine.state import places

Named = tuple[str, Tensor]

_SPAN = 1 << 20
_ELSEWHERE = _SPAN - 1
"""The place of what another rank has found: the largest, so that the least of all ranks' is the cause."""


_LARGE = 1 << 17
"""Weights of a tensor whose gradient, half a megabyte, is worth a call of its own."""


class Guard(ABC):
    """Looks at turn after turn of `players` on the networks `nets`; what it found first stays found.

    For each turn `begin` is called, then `look` before gradients are averaged, then `admits` before the optimiser's
    step. What is found is a number, the same for all ranks that find the same: `said` puts it into words.
    """

    def __init__(self, players: Sequence[str], nets: nn.Module, device: torch.device, world: int = 1) -> None:
        self._players, self._world = tuple(players), world
        self._weights = {id(weight): name for name, weight in nets.named_parameters()}
        self._places = [one for one in places(nets) if one.now.is_floating_point() and one.now.numel()]
        self._first = torch.full((), -1, dtype=torch.int64, device=device)
        self._given: Sequence[Named] = ()
        self._controlled: dict[int, Sequence[nn.Parameter]] = {}

    def begin(
        self, number: int, step: Tensor, params: Sequence[nn.Parameter], inputs: Sequence[Named], last: bool
    ) -> Guard:
        """The turn that comes: whose, at which step, on which entries, and whether it is the step's last."""
        self._number, self._step, self._params, self._last, self._given = number, step, params, last, inputs
        self._controlled[number] = params
        return self

    @abstractmethod
    def look(self, lowered: Tensor) -> Tensor | None:
        """1 where this rank has found something, else 0, to be averaged over the ranks with the gradients; None where
        there are no others."""

    @abstractmethod
    def admits(self, wrong: Tensor | None) -> bool:
        """Whether the optimiser may step. `wrong` is what `look` returned, averaged over the ranks."""

    @property
    def closed(self) -> bool:
        """Whether something was found, where that costs nothing to know."""
        return False

    @abstractmethod
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
        player = self._players[number]
        names = self._names(number)
        what = names[place] if place < len(names) else "what another rank saw"
        of = f", in a turn of player {player}," if what.startswith(("the gradient", "what")) else ""
        return f"{what}{of} is not finite at step {step}"

    def _names(self, number: int) -> list[str]:
        """All that turns of the player look at, in the order of places."""
        graded = [weight for weight in self._controlled.get(number, ()) if weight.grad is not None and weight.numel()]
        return [
            *(f"the batch's entry {name!r}" for name, _ in self._entries()),
            *(f"the buffer {one.name}" for one in self._places),
            f"the loss of player {self._players[number]}",
            *(f"the gradient of {self._weights[id(weight)]}" for weight in graded),
        ]

    def _entries(self) -> list[Named]:
        """Those of the turn's entries that could be other than finite."""
        return [(name, value) for name, value in self._given if value.is_floating_point()]

    def _inside(self, lowered: Tensor) -> list[Tensor]:
        """What but the entries can be looked at before the gradients are averaged: buffers, in the last turn, and the
        loss."""
        buffers = [one.now for one in self._places] if self._last else []
        return [*buffers, lowered]

    def _placed(self, seen: Any) -> Any:
        """The place of the n-th that this turn looks at, which may leave out the buffers."""
        left_out = 0 if self._last else len(self._places)
        return seen + (seen >= len(self._entries())) * left_out

    def _found(self, place: Any) -> Any:
        return (self._step * len(self._players) + self._number) * _SPAN + place


class HostGuard(Guard):
    """Reads what it looks at: on a CPU nobody has to be waited for.

    A large gradient is looked at when it has just been written, and lies in the processor's caches still: to fetch it
    again took as long as all else together. Ranks have to average first.
    """

    _closed = _listening = False

    def __init__(self, players: Sequence[str], nets: nn.Module, device: torch.device, world: int = 1) -> None:
        super().__init__(players, nets, device, world)
        self._wrong = torch.zeros(1)
        large = [weight for weight in nets.parameters() if weight.requires_grad and weight.numel() >= _LARGE]
        self._large = large if world == 1 else []
        self._heard = {id(weight) for weight in self._large}
        self._handles: list[RemovableHandle] = []
        self.listen()

    def listen(self) -> None:
        """Hears of large gradients from now on."""
        self.unlisten()
        own = weakref.ref(self)  # or networks and guard would hold each other, and stay until somebody collects

        def hear(weight: Tensor) -> None:
            guard = own()
            if guard is not None and guard._listening and weight.grad is not None:
                _mark(_real([weight.grad]), guard._wrong)

        for weight in self._large:
            handle = weight.register_post_accumulate_grad_hook(hear)  # type: ignore[no-untyped-call]  # torch's, untyped
            self._handles.append(handle)

    def unlisten(self) -> None:
        """The opposite, for who wants to measure what it costs."""
        while self._handles:
            self._handles.pop().remove()

    def begin(
        self, number: int, step: Tensor, params: Sequence[nn.Parameter], inputs: Sequence[Named], last: bool
    ) -> Guard:
        self._wrong.zero_()
        self._listening = True
        return super().begin(number, step, params, inputs, last)

    def look(self, lowered: Tensor) -> Tensor | None:
        self._seen = self._inside(lowered)
        if self._world == 1:
            return None
        return torch.tensor(float(not self._closed and not _finite(self._seen)))

    def admits(self, wrong: Tensor | None) -> bool:
        self._listening = False
        if self._closed:
            return False
        # Entries are left out: what they spoil shows in the loss. Once it does they are looked at first, to be named.
        elsewhere = wrong is not None and float(wrong) > 0
        _mark(_gradients(self._params, self._heard), self._wrong)
        if _finite(self._seen) and not self._wrong.item() and not elsewhere:
            return True
        entries = [value for _, value in self._entries()]
        place = _first_bad([*entries, *self._seen, *_gradients(self._params)])
        ours = 0 <= place < len(entries) + len(self._seen)
        if place < 0 and not elsewhere:
            return True  # large numbers, whose sum alone has overflowed
        place = _ELSEWHERE if elsewhere and not ours else self._placed(place)
        self._first.fill_(int(self._found(place)))
        self._closed = True
        return False

    @property
    def closed(self) -> bool:
        return self._closed

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Nothing to know: its steps are left out."""


class DeviceGuard(Guard):
    """Never reads: all that it does can be recorded in a graph."""

    def __init__(self, players: Sequence[str], nets: nn.Module, device: torch.device, world: int = 1) -> None:
        super().__init__(players, nets, device, world)
        self._closed = torch.zeros((), device=device)

    def look(self, lowered: Tensor) -> Tensor | None:
        tensors = [*(value for _, value in self._entries()), *self._inside(lowered)]
        self._place, self._count = self._placed(_place_of_bad(tensors)), len(tensors)
        return torch.where(self._place >= 0, 1.0, 0.0)

    def admits(self, wrong: Tensor | None) -> bool:
        assert wrong is not None
        later = _place_of_bad(_gradients(self._params))
        later = torch.where(later >= 0, self._placed(later + self._count), -1)
        place = torch.where(wrong > 0, torch.full_like(later, _ELSEWHERE), later)
        place = torch.where(self._place >= 0, self._place, place)
        self._first.copy_(torch.where((self._first < 0) & (place >= 0), self._found(place), self._first))
        self._closed.copy_(self._first >= 0)
        return True

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        optimizer.found_inf = self._closed  # type: ignore[attr-defined]  # as torch's GradScaler hands it over

    def sound(self, ours: Tensor, theirs: Tensor) -> Tensor:
        return torch.where(self._closed > 0, ours, theirs)


def guard_for(device: torch.device) -> type[Guard]:
    """The kind of guard for a device."""
    return HostGuard if device.type == "cpu" else DeviceGuard


def _gradients(params: Sequence[nn.Parameter], but: Set[int] = frozenset()) -> list[Tensor]:
    """Those of the weights, without those of some ids."""
    return _real([w.grad for w in params if w.grad is not None and w.numel() and id(w) not in but])


def _real(gradients: Sequence[Tensor]) -> list[Tensor]:
    return [torch.view_as_real(gradient) if gradient.is_complex() else gradient for gradient in gradients]


_ONE = torch.ones(1)


def _mark(gradients: Sequence[Tensor], wrong: Tensor) -> None:
    """Sets `wrong` to 1 where a gradient holds NaN or infinity."""
    # What GradScaler calls: one pass over all gradients, which it multiplies by one. Half of what sums would take.
    torch._amp_foreach_non_finite_check_and_unscale_(list(gradients), wrong, _ONE)


def _finite(values: Sequence[Tensor]) -> bool:
    """Whether no value, of which there are few and small ones, holds NaN or infinity."""
    # A sum is such if anything in it is; all in one, as a call each would cost more than what it adds.
    total = values[0]
    if len(values) > 1:
        total = _flatten_dense_tensors(values).sum()  # type: ignore[no-untyped-call]  # torch gives it no types
    return math.isfinite(total.item())


def _first_bad(tensors: Sequence[Tensor]) -> int:
    """The place of the first tensor that holds NaN or infinity, -1 for none."""
    return next((place for place, value in enumerate(tensors) if not bool(value.isfinite().all())), -1)


def _place_of_bad(tensors: Sequence[Tensor]) -> Tensor:
    """The same on the device, in few kernels: int64."""
    norms = torch.stack([norm.float() for norm in torch._foreach_norm(list(tensors), math.inf)])
    bad = ~torch.isfinite(norms)
    return torch.where(bad.any(), bad.to(torch.int64).argmax(), -1)
