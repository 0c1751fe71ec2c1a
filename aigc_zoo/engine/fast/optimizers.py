"""Fused optimizers whose learning rate and state stay on the device."""

from __future__ import annotations

import torch
from torch import Tensor

_FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


def tune(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Make an optimizer fused unless the recipe chose otherwise, and on CUDA keep its step count on the device.

    The learning rate becomes a tensor if the optimizer accepts one, so that a schedule can set it on the device.
    """
    for group in optimizer.param_groups:
        if isinstance(optimizer, _FUSED) and not group.get("foreach") and group.get("fused") is None:
            group["fused"] = True
        on_device = bool(group.get("fused"))
        if device.type == "cuda" and "capturable" in group:
            group["capturable"] = on_device = True
        if on_device and not isinstance(group["lr"], Tensor):
            # The fused CUDA kernel reads float32, and MPS has no float64.
            dtype = torch.float64 if device.type == "cpu" else torch.float32
            group["lr"] = torch.tensor(group["lr"], dtype=dtype, device=device)


def set_lr(optimizer: torch.optim.Optimizer, lr: Tensor | float) -> None:
    """Set the learning rate of all parameter groups, without a synchronization where `tune` made it a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor) and isinstance(lr, Tensor):
            group["lr"].copy_(lr.detach())
        elif isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)  # a copy from the host would wait for the device
        else:
            group["lr"] = float(lr)


def has_host_state(optimizer: torch.optim.Optimizer) -> bool:
    """Return True if the optimizer may count or branch on the host, which a graph would not repeat."""
    return not isinstance(optimizer, torch.optim.SGD) and not all(g.get("capturable") for g in optimizer.param_groups)
