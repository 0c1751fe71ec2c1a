"""The environment of a measurement: processor, load, threads, versions and commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent.parent

BUSY = 0.5
"""Load per core before a measurement above which times are not reliable."""


def environment() -> dict[str, Any]:
    """Everything that times depend on outside of the code. Call it before measuring, since it includes the load."""
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
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_available() else None,  # type: ignore[no-untyped-call]
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        **commit(),
    }


def commit(root: Path = ROOT) -> dict[str, Any]:
    """The commit of the measured code, and whether files differ from it; None outside of a repository."""
    if not (root / ".git").exists():  # installed: an enclosing repository would be another one
        return {"commit": None, "dirty": None}
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


def busy(environment: dict[str, Any]) -> str:
    """A warning if the machine was busy before the measurement, empty otherwise."""
    load = environment["load_before"] / max(1, environment["cores"])
    return (
        f"the machine was busy (load of {load:.1f} per core before the measurement): times are not reliable"
        if load > BUSY
        else ""
    )
