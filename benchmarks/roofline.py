"""Roofline of a step: its operations and bytes, and the measured peak throughput and bandwidth of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as trees
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

VIEWS = frozenset({"view", "t", "transpose", "permute", "expand", "slice", "select", "detach", "unsqueeze", "squeeze",
                   "as_strided", "alias", "split", "_unsafe_view", "empty", "empty_like"})  # fmt: skip


class Counter(TorchDispatchMode):
    """Counts floating-point operations of products and convolutions, and the bytes of all operations as eager kernels.

    torch's FlopCounterMode counts the former with the same formulas, but it tracks modules with hooks on tensors, which
    fail with gradient penalties (torch 2.14).
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.flops += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=output)
        if func._schema.name.partition("::")[2] not in VIEWS:
            tensors = [t for t in trees.tree_leaves((args, kwargs, output)) if isinstance(t, torch.Tensor)]
            self.bytes += sum(t.numel() * t.element_size() for t in tensors)
        return output


def work(step: Callable[[], object]) -> tuple[int, int]:
    """Floating-point operations (of products and convolutions, forward and backward) and bytes of one step."""
    with Counter() as counter:
        step()
    return counter.flops, counter.bytes


def ceilings(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> tuple[float, float]:
    """Operations per second of the fastest matrix product, and bytes per second of the fastest copy, measured now."""
    side, size = (8192, 1 << 30) if device.type == "cuda" else (2048, 1 << 27)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * side**3 / _best(lambda: a @ b, device, seconds), 2 * size / _best(
        lambda: target.copy_(source), device, seconds
    )


def _best(do: Callable[[], object], device: torch.device, seconds: float) -> float:
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    do()
    wait()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        do()
        wait()
        times.append(time.perf_counter() - start)
    return min(times)


def report(step: Callable[[], object], seconds: float, device: torch.device, precision: str) -> dict[str, float | str]:
    """Work of a step that takes `seconds`, the ceilings, and the fractions of both that the step achieves."""
    flops, moved = work(step)
    peak, bandwidth = ceilings(device, torch.bfloat16 if precision == "bf16" else torch.float32)
    bounds = {"arithmetic": flops / peak, "memory": moved / bandwidth}
    limit = max(bounds, key=lambda name: bounds[name])
    return {
        "flops": flops,
        "bytes": moved,
        "peak_flops_per_second": peak,
        "bytes_per_second": bandwidth,
        "share_of_arithmetic": bounds["arithmetic"] / seconds,
        "share_of_memory": bounds["memory"] / seconds,
        "limited_by": limit,
    }
