"""What a measurement needs: circumstances and pairs, which live in `aigc_zoo.bench`, and what only these files use."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from aigc_zoo.bench.environment import commit, environment
from aigc_zoo.bench.pairing import Paired, interval

__all__ = ["Paired", "commit", "environment", "interval", "pairs", "peak_memory"]


def pairs(
    a: Callable[[], object],
    b: Callable[[], object],
    *,
    width: float = 0.02,
    least: int = 20,
    most: int = 400,
    warm_up: int = 3,
    wait: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Times A and B as AB BA AB BA until the interval of the median ratio (B's time over A's) is no wider than `width`.

    `wait` is called after each, before the clock is read: on a GPU it has to synchronise.
    """

    def timed(do: Callable[[], object]) -> float:
        start = clock()
        do()
        wait()
        return clock() - start

    for do in (a, b) * warm_up:
        timed(do)
    times: tuple[list[float], list[float]] = ([], [])
    ratios: list[float] = []
    low = high = 0.0
    while len(ratios) < most:
        order = (0, 1) if len(ratios) % 2 == 0 else (1, 0)
        for which in order:
            times[which].append(timed((a, b)[which]))
        ratios.append(times[1][-1] / times[0][-1])
        if len(ratios) >= least and len(ratios) % 10 == 0:
            low, high = interval(ratios)
            if high - low <= width * statistics.median(ratios):
                break
    low, high = interval(ratios)
    return {
        "median": statistics.median(ratios),
        "interval_95": [low, high],
        "pairs": len(ratios),
        "seconds_a": statistics.median(times[0]),
        "seconds_b": statistics.median(times[1]),
    }


def peak_memory(device: torch.device) -> int:
    """Bytes: of the device since its last reset, or of this process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
