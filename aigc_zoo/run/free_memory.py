"""The memory that this process can still allocate: of the system, its control groups, its own limits, or a GPU."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from aigc_zoo.errors import DataError


def free_memory(device: torch.device, root: Path = Path("/")) -> int | None:
    """Bytes that this process can still allocate on a device; None where the system does not say.

    On a CPU the least of the system's available memory, the memory left in the control groups of containers and
    batch systems, and what `ulimit -v` and `ulimit -d` leave. Swap does not count, as training from it takes days.
    `root` is the root of the file system.
    """
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    found = [*_available(root), *_left_in_groups(root), *_left_in_limits(root)]
    return max(0, min(found)) if found else None


def require_free(count: int, each: int, what: str, fix: str) -> None:
    """Raises DataError where `count` things of `each` bytes exceed the free memory of the system; names how many fit.

    `what` starts with the option that states the number, and `fix` ends with a colon or a comma.
    """
    free = free_memory(torch.device("cpu"))
    if free is not None and count * each > free:
        raise DataError(
            f"{what} need {size_text(count * each)} of memory, and {size_text(free)} are free\n"
            f"{fix}use at most {free // each:,}"
        )


def size_text(count: int) -> str:
    """Bytes in GiB, or in MiB where they are fewer."""
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"


def _available(root: Path) -> Iterator[int]:
    """The memory that the kernel can provide without swapping."""
    values = _table(root / "proc/meminfo")
    if "MemAvailable" in values:
        yield values["MemAvailable"] << 10


def _left_in_groups(root: Path) -> Iterator[int]:
    """The memory left in each memory-limited control group of this process, and in the groups that contain it.

    Pages of files that were not used recently count as free, since the kernel drops them first.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        if not controllers:
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        parts = Path(name.lstrip("/")).parts
        # In a container the group may be mounted as the top, whatever its name is outside.
        for folder in (top.joinpath(*parts[:count]) for count in range(len(parts) + 1)):
            limit, used = (_number(_text(folder / name)) for name in names[:2])
            if limit is not None and used is not None:
                yield limit - used + _table(folder / "memory.stat").get(names[2], 0)


def _left_in_limits(root: Path) -> Iterator[int]:
    """What the limits of the process leave of its address space and its data."""
    if sys.platform == "win32":
        return
    import resource

    status = _table(root / "proc/self/status")
    for kind, used in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY and used in status:
            yield limit - (status[used] << 10)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _number(text: str) -> int | None:
    """A number of bytes; None for "max", which is no limit, and for a file that does not exist."""
    return int(text) if text.strip().isdigit() else None


def _table(path: Path) -> dict[str, int]:
    """Lines such as `MemAvailable: 100 kB` or `inactive_file 100` as numbers by name."""
    found = {}
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[1].isdigit():
            found[words[0].rstrip(":")] = int(words[1])
    return found
