"""The circumstances that a measurement was taken in: what another machine or another day may have otherwise."""

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
"""Load of a core beforehand above which times are worthless."""


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
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_available() else None,  # type: ignore[no-untyped-call]
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        **commit(),
    }


def commit(root: Path = ROOT) -> dict[str, Any]:
    """The commit of the code that is measured, and whether files differ from it; None outside of a repository."""
    if not (root / ".git").exists():  # installed: a repository around it would be somebody else's
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
    """A warning where the machine had other work before the measurement; empty where it was idle."""
    share = environment["load_before"] / max(1, environment["cores"])
    return (
        f"the machine was busy: a load of {share:.1f} on each core beforehand, so times are worthless"
        if share > BUSY
        else ""
    )
