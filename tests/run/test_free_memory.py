"""Free memory: of the system, of control groups of both versions, and of limits."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from aigc_zoo.run.free_memory import free_memory

CPU = torch.device("cpu")
GIB = 1 << 30


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": f"MemTotal: 99 kB\n\nMemAvailable: {64 << 20} kB\n", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V1 = {
    "proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/job/7\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{1 << 63}",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "5",
    "sys/fs/cgroup/memory/job/7/memory.limit_in_bytes": f"{8 * GIB}",
    "sys/fs/cgroup/memory/job/7/memory.usage_in_bytes": f"{3 * GIB}",
    "sys/fs/cgroup/memory/job/7/memory.stat": f"cache 7\ntotal_inactive_file {GIB}\n",
}
V2 = {
    "proc/self/cgroup": "0::/user.slice/job\n",
    "sys/fs/cgroup/user.slice/memory.max": f"{4 * GIB}\n",
    "sys/fs/cgroup/user.slice/memory.current": f"{GIB}\n",
    "sys/fs/cgroup/user.slice/memory.stat": "anon 3\ninactive_file 0\n",
    "sys/fs/cgroup/user.slice/job/memory.max": "max\n",
    "sys/fs/cgroup/user.slice/job/memory.current": "1\n",
}
CONTAINER = {
    "proc/self/cgroup": "0::/docker/0123\n",
    "sys/fs/cgroup/memory.max": f"{2 * GIB}\n",
    "sys/fs/cgroup/memory.current": f"{GIB}\n",
}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 64 * GIB),
        (V1, 6 * GIB),
        (V2, 3 * GIB),
        (CONTAINER, GIB),
        ({**CONTAINER, "sys/fs/cgroup/memory.current": f"{3 * GIB}"}, 0),
        ({"proc/self/cgroup": "0::/gone\n"}, 64 * GIB),
        ({"proc/meminfo": f"MemAvailable: {1 << 20} kB\n", **V1}, GIB),
    ],
)
def test_the_least_of_system_and_groups_is_free(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    assert free_memory(CPU, write(tmp_path, files)) == expected


def test_nothing_is_known_where_the_system_says_nothing(tmp_path: Path) -> None:
    assert free_memory(CPU, tmp_path) is None


@pytest.mark.parametrize(("kind", "used"), [(resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")])
def test_limits_of_the_process_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int, used: str) -> None:
    root = write(tmp_path, {"proc/self/status": f"Name:\tzoo\n{used}:\t{1 << 20} kB\n"})
    limits = {kind: (5 * GIB, resource.RLIM_INFINITY)}
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda asked: limits.get(asked, unlimited))
    assert free_memory(CPU, root) == 4 * GIB


def test_this_machine_has_memory() -> None:
    assert (free_memory(CPU) or GIB) > 1 << 20


def test_cached_memory_of_a_gpu_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * GIB, 8 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 2 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: GIB)
    assert free_memory(torch.device("cuda")) == 4 * GIB
