"""`zoo doctor`: whether this machine and this installation can do the work; what a report of a fault should contain."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import click

from aigc_zoo import __version__
from aigc_zoo.cli import Globals
from aigc_zoo.cli.text import print_json, table
from aigc_zoo.data.place import cache_folder
from aigc_zoo.errors import ZooError

PAIRS = ("aigc-zoo", "torchvision", "torch-fidelity", "safetensors")
"""Distributions whose stated requirements must hold together; torchvision is built for one torch alone."""
ROOM, MEMORY = 2 << 30, 1 << 30
"""Bytes of disk and of memory below which trouble is near."""
SLOW_SYNC = 0.5
EPOCH = 1_750_000_000
"""Seconds since 1970 of a day before this was written: a clock that is behind it breaks https and dates of files."""


class Finding(NamedTuple):
    """`state` is ok, warning or fault; a fault has a `fix`."""

    what: str
    state: str
    found: str
    fix: str = ""


@click.command()
@click.option("--full", is_flag=True, help="Also import torch, and train two steps on each device.")
@click.option("--json", "as_json", is_flag=True, help="For programs, and for reports of faults.")
@click.pass_obj
def command(zoo: Globals, full: bool, as_json: bool) -> int:
    """What is installed, and whether it can work here: versions, plugins, disk, memory, clock.

    Takes less than a second and imports no torch; --full asks torch in a process of its own. Ends with exit code 1
    where something is at fault.
    """
    findings = list(_findings(zoo))
    if full:
        from aigc_zoo.cli.probe import probe

        findings += [Finding(*row) for row in probe()]
    if as_json:
        print_json({"schema": 1, "items": [finding._asdict() for finding in findings]})
    else:
        click.echo(table([(one.what, one.state, one.found) for one in findings], cut=2))
        for one in findings:
            if one.fix:
                click.echo(f"{one.what}: {one.fix}")
    return 1 if any(one.state == "fault" for one in findings) else 0


def _findings(zoo: Globals) -> Iterator[Finding]:
    yield Finding("aigc_zoo", "ok", f"{__version__} on Python {platform.python_version()}, {platform.platform()}")
    yield from _versions()
    yield from _plugins(zoo)
    yield _processors()
    yield _driver()
    for what, folder, fix in _folders():
        yield from _disk(what, folder, fix)
    yield _memory()
    clock = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    late = time.time() < EPOCH
    yield Finding(
        "clock", "fault" if late else "ok", clock, "set it: downloads and dates of files fail" if late else ""
    )


def _versions() -> Iterator[Finding]:
    """What is installed against what is required, from metadata alone."""
    from packaging.requirements import Requirement

    for name in ("torch", "numpy", "pillow", "torch-fidelity", "torchvision", "safetensors"):
        found = _version(name)
        needs = [(owner, Requirement(line)) for owner in PAIRS for line in _requires(owner)]
        wrong = [
            (owner, need)
            for owner, need in needs
            if found and _canonical(need.name) == name and not need.marker
            if not need.specifier.contains(found, prereleases=True)
        ]
        fix = f'python -m pip install "{wrong[0][1]}"' if wrong else ""
        if not found:
            fix = f"python -m pip install {name}"
        state = "fault" if fix else "ok"
        yield Finding(
            name, state, "; ".join([found or "not installed", *(f"{owner} needs {need}" for owner, need in wrong)]), fix
        )


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _requires(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def _plugins(zoo: Globals) -> Iterator[Finding]:
    try:
        records = zoo.catalogue(quiet=True).records
    except ZooError as error:
        yield Finding("plugins", "fault", str(error).splitlines()[0], "zoo plugins says more")
        return
    yield Finding("plugins", "ok", f"{sum(one.status == 'ok' for one in records)} in order")
    for record in records:
        if record.status not in ("ok", "disabled"):
            fix = f"python -m pip uninstall {record.distribution}, or set ZOO_DISABLE_PLUGINS={record.entry_point}"
            yield Finding("plugin", "warning", str(record), fix)


def _processors() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] / usable
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    text = f"{usable} to use, OMP_NUM_THREADS {threads}, load {load:.1f} each"
    busy = load > 1.5
    return Finding(
        "processors", "warning" if busy else "ok", text, "others work here: runs will be slow" if busy else ""
    )


def _driver() -> Finding:
    try:
        first = Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
    except (OSError, IndexError):
        return Finding("GPU driver", "ok", "none of NVIDIA's: trains on the CPU")
    return Finding("GPU driver", "ok", first.removeprefix("NVRM version: "))


def _folders() -> Iterator[tuple[str, Path, str]]:
    yield "runs here", Path.cwd(), "free space, or choose another --out"
    yield "cache", cache_folder(), "free space, or set ZOO_CACHE to another folder"


def _disk(what: str, folder: Path, fix: str) -> Iterator[Finding]:
    """Room, and how long it takes until a small file is on the disk, which each checkpoint waits for."""
    there = next(one for one in (folder, *folder.parents) if one.is_dir())
    free = shutil.disk_usage(there).free
    low = free < ROOM
    if not os.access(there, os.W_OK):
        yield Finding(what, "fault", f"{folder}: nobody may write there", fix)
        return
    try:
        seconds = min(_sync(there) for _ in range(3))
    except OSError as error:
        yield Finding(what, "fault", f"{folder}: {error.strerror}", fix)
        return
    slow = seconds > SLOW_SYNC
    text = f"{folder}: {free >> 30} GiB free, {1000 * seconds:.1f} ms to sync a file"
    fix = fix if low else "its disk is slow: save less often (--save-every)" if slow else ""
    yield Finding(what, "warning" if low or slow else "ok", text, fix)


def _sync(folder: Path) -> float:
    import tempfile

    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(4096))
        file.flush()
        began = time.perf_counter()
        os.fsync(file.fileno())
        return time.perf_counter() - began


def _memory() -> Finding:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return Finding("memory", "ok", f"not known on {sys.platform}")
    low = free < MEMORY
    fix = "close what takes it, or choose a smaller --batch-size" if low else ""
    return Finding("memory", "warning" if low else "ok", f"{free / 2**30:.1f} GiB free", fix)
