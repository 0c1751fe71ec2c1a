"""Exponential averages (EMA) of network weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from aigc_zoo.engine.state import buffer_refs
from aigc_zoo.game import Batch, Nets, Schedule


class EmaUpdater:
    """Updates `ema`, copies of some of the networks in `nets`, with a decay for each of them.

    A constant decay d has a warm-up: it is min(d, (1 + n) / (10 + n)) at step n. A schedule `(nets, batch) -> decay` is
    used unchanged. The pairs of tensors are listed once here: listing them at every step would take as long as the
    update itself.
    """

    def __init__(self, ema: Nets, nets: Nets, decays: Mapping[str, float | Schedule]) -> None:
        self._nets, self._decays = nets, decays
        self._parameters = {
            name: list(zip(net.parameters(), nets[name].parameters(), strict=True)) for name, net in ema.items()
        }
        self._buffers = {
            name: list(zip(buffer_refs(net), buffer_refs(nets[name]), strict=True)) for name, net in ema.items()
        }

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
        """average = decay * average + (1 - decay) * value for parameters and float buffers; copy integer buffers.

        Schedules get `batch`, the last of the step. `buffer_target(average, value)` is the tensor that a float buffer
        moves towards in place of `value`.
        """
        for name, schedule in self._decays.items():
            decay = schedule(self._nets, batch) if callable(schedule) else constant_decays[name]
            weight = 1 - (decay.to(dtype) if isinstance(decay, Tensor) else decay)
            for averaged, parameter in self._parameters[name]:
                averaged.lerp_(parameter, weight)
            for ema_ref, net_ref in self._buffers[name]:
                average, value = ema_ref.value, net_ref.value
                if average.is_floating_point():
                    average.lerp_(buffer_target(average, value), weight)
                else:
                    average.copy_(value)
