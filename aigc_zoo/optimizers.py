"""Optimizers of players, and schedules of training progress. `game` re-exports all names."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from aigc_zoo.plays import MakeOptimizer, Schedule


def adam(
    lr: float, beta1: float = 0.9, beta2: float = 0.999, *, eps: float = 1e-8, weight_decay: float = 0.0
) -> MakeOptimizer:
    """Fused Adam, or AdamW with `weight_decay`. The learning rate is a tensor, so that schedules can change it.

    It is float64 on the CPU and float32 elsewhere, as the fused CUDA kernel requires and as MPS has no float64.
    """
    kind = torch.optim.AdamW if weight_decay else torch.optim.Adam

    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        device = parameters[0].device
        rate = torch.tensor(lr, dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)
        return kind(parameters, lr=rate, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, fused=True)

    return make


def rmsprop(lr: float, alpha: float = 0.99, *, eps: float = 1e-8) -> MakeOptimizer:
    """RMSprop, the optimizer of WGAN with weight clipping (Arjovsky et al., 2017)."""

    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(parameters, lr=lr, alpha=alpha, eps=eps)

    return make


def clipped(optimizer: MakeOptimizer, bound: float) -> MakeOptimizer:
    """`optimizer`, followed by clamping every weight to [-bound, bound] (Arjovsky et al., 2017, algorithm 1)."""

    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        made = optimizer(parameters)

        def clip(*_: Any) -> None:
            with torch.no_grad():
                for parameter in parameters:
                    parameter.clamp_(-bound, bound)

        made.register_step_post_hook(clip)
        return made

    return make


# --- schedules of training progress -----------------------------------------------------------------------------------


def linear(start: float, stop: float) -> Schedule:
    """Linear schedule from `start` at the first step to `stop` at the end of training."""
    return lambda nets, batch: start + (stop - start) * batch["t"]


def cosine(start: float, stop: float) -> Schedule:
    """Cosine schedule from `start` at the first step to `stop` at the end of training."""
    return lambda nets, batch: stop + (start - stop) * 0.5 * (1 + torch.cos(math.pi * batch["t"]))
