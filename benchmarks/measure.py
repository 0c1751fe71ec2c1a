"""What a measurement needs: the circumstances it was taken in, and ratios of pairs instead of two runs."""

from __future__ import annotations

import os
import platform
import random
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent


def environment() -> dict[str, Any]:
    """All that a time depends on and that another machine or day may have otherwise. Ask before measuring: the load."""
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": cores,
        "cgroup_cpu_max": _read("/sys/fs/cgroup/cpu.max"),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load_before": load,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in ("aigc-zoo", "torch", "numpy", "pytest-benchmark")},
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_available() else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        **commit(),
    }


def commit(root: Path = ROOT) -> dict[str, Any]:
    """The commit of the code that is measured, and whether files differ from it; None outside of a repository."""
    try:
        head = _git(root, "rev-parse", "HEAD")
        return {"commit": head, "dirty": bool(_git(root, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


class Paired:
    """Times B beside each round of A: before it in even rounds, after it in odd ones, so that drift hits both alike.

    `setup` and `teardown` go to `benchmark.pedantic`, whose target is A.
    """

    def __init__(self, other: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> None:
        self._other, self._clock = other, clock
        self._round = 0
        self.seconds: list[float] = []

    def setup(self) -> None:
        if self._round % 2 == 0:
            self._time()

    def teardown(self) -> None:
        if self._round % 2 == 1:
            self._time()
        self._round += 1

    def _time(self) -> None:
        start = self._clock()
        self._other()
        self.seconds.append(self._clock() - start)

    def ratios(self, first: Sequence[float]) -> list[float]:
        """B's time over A's, by round: above 1 where A is the faster."""
        return [other / one for one, other in zip(first, self.seconds, strict=True)]


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
    """Times A and B as AB BA AB BA until the interval of the median ratio (B's time over A's) is within `width` of it.

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


def interval(values: Sequence[float], draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median."""
    chance = random.Random(seed)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws) - 1]
