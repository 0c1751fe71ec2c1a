"""Timing helpers of the benchmarks: results of paired timing as JSON, and peak memory."""

from __future__ import annotations

import resource
import statistics
from collections.abc import Callable
from typing import Any

import torch

from aigc_zoo.bench.environment import commit, environment
from aigc_zoo.bench.pairing import Comparison, Paired, compare, interval

__all__ = ["Paired", "commit", "environment", "interval", "medians", "pairs", "peak_memory", "summary"]


def pairs(
    a: Callable[[], object], b: Callable[[], object], *, width: float = 0.02, warm_up: int = 3, **limits: Any
) -> dict[str, Any]:
    """Compare the times of A and B in pairs until the interval of the median ratio (B over A) is at most `width` wide.

    `limits` are keyword arguments of `aigc_zoo.bench.pairing.compare`.
    """
    found = compare(a, b, width=width / 2, warm_up=warm_up, **limits)
    first, second = medians(found)
    return {**summary(found), "seconds_a": first, "seconds_b": second}


def summary(found: Comparison) -> dict[str, Any]:
    """A comparison as it is written to a result."""
    return {"median": found.median, "interval_95": [found.low, found.high], "pairs": len(found.pairs)}


def medians(found: Comparison) -> tuple[float, float]:
    """The medians of the two measurements of a pair."""
    first, second = zip(*found.pairs, strict=True)
    return statistics.median(first), statistics.median(second)


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: of a GPU since its last reset, otherwise of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
