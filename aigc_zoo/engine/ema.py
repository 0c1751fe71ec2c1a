"""Exponential averages (EMA) of network weights, and what becomes of the buffers beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aigc_zoo.engine.power_iteration import renewals, renewed_buffers
from aigc_zoo.engine.state import BufferRef, buffer_refs
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Batch, Nets, Schedule

STATISTICS = ("running_mean", "running_var")
"""torch's names of the statistics of normalization layers, which are averages in any module."""


class EmaUpdater:
    """Updates `ema`, copies of some of the networks in `nets`, with a decay for each of them.

    A constant decay d has a warm-up: it is min(d, (1 + n) / (10 + n)) at step n. A schedule `(nets, batch) -> decay` is
    used unchanged. The pairs of tensors are listed once here: listing them at every step would take as long as the
    update itself. Raises ConfigError if a module's `ema_buffers` does not name float buffers of it.
    """

    def __init__(self, ema: Nets, nets: Nets, decays: Mapping[str, float | Schedule]) -> None:
        self._nets, self._decays = nets, decays
        self._networks = {name: _Network.of(net, nets[name]) for name, net in ema.items()}

    def constant_decays(self, step: int, dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
        """The constant decays with their warm-up at this step, as scalars by network, filled on the device."""
        warm_up = (1 + step) / (10 + step)
        return {
            name: torch.full((), min(decay, warm_up), dtype=dtype, device=device)
            for name, decay in self._decays.items()
            if not callable(decay)
        }

    @torch.no_grad()
    def update(
        self,
        batch: Batch,
        constant_decays: Mapping[str, Tensor],
        dtype: torch.dtype,
        buffer_target: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        """average = decay * average + (1 - decay) * value for parameters and the buffers that are averages.

        All other buffers are copied, or renewed from the averaged weights (docs/decisions/0064). Schedules get `batch`,
        the last of the step. `buffer_target(average, value)` is the tensor that a float buffer takes or moves towards
        in place of `value`.
        """
        for name, schedule in self._decays.items():
            decay = schedule(self._nets, batch) if callable(schedule) else constant_decays[name]
            weight = 1 - (decay.to(dtype) if isinstance(decay, Tensor) else decay)
            network = self._networks[name]
            for averaged, parameter in network.parameters:
                averaged.lerp_(parameter, weight)
            for ema_ref, net_ref in network.averages:
                average, value = ema_ref.value, net_ref.value
                average.lerp_(buffer_target(average, value), weight)
            for ema_ref, net_ref in network.copies:
                copy, value = ema_ref.value, net_ref.value
                copy.copy_(buffer_target(copy, value) if copy.is_floating_point() else value)
            for renew in network.renewals:
                renew()


class _Network(NamedTuple):
    """The tensors of an EMA and those of its network in pairs, and the functions that renew the other buffers."""

    parameters: list[tuple[nn.Parameter, nn.Parameter]]
    averages: list[tuple[BufferRef, BufferRef]]
    copies: list[tuple[BufferRef, BufferRef]]
    renewals: list[Callable[[], object]]

    @classmethod
    def of(cls, ema: nn.Module, net: nn.Module) -> _Network:
        averaged, renewed = averaged_buffers(net), renewed_buffers(net)
        pairs = list(zip(buffer_refs(ema), buffer_refs(net), strict=True))
        return cls(
            list(zip(ema.parameters(), net.parameters(), strict=True)),
            [pair for pair in pairs if pair[1].name in averaged],
            [pair for pair in pairs if pair[1].name not in averaged | renewed],
            renewals(ema),
        )


def averaged_buffers(net: nn.Module) -> set[str]:
    """The names of the float buffers that are averages: running statistics, and those that `ema_buffers` names."""
    found = set()
    for path, module in net.named_modules(remove_duplicate=False):
        floats = {key: one for key, one in module._buffers.items() if one is not None and one.is_floating_point()}
        declared = getattr(module, "ema_buffers", ())
        if not isinstance(declared, tuple | list | set) or not floats.keys() >= set(declared):
            raise ConfigError(
                f"ema_buffers of {type(module).__name__} is {declared!r}, which is no tuple of names of its float "
                f"buffers; these are {', '.join(floats) or 'none'}"
            )
        prefix = f"{path}." if path else ""
        found |= {prefix + key for key in (*STATISTICS, *declared) if key in floats}
    return found
