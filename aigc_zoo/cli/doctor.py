"""`zoo doctor`: check this installation and this machine; its output belongs into every bug report."""

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
from aigc_zoo.distributions import canonical
from aigc_zoo.errors import ZooError

PAIRS = ("aigc-zoo", "torchvision", "torch-fidelity", "safetensors")
"""Distributions whose requirements are checked; each torchvision is built for one version of torch only."""
DISK, MEMORY = 2 << 30, 1 << 30
"""Free bytes of disk and memory below which there is a warning."""
SLOW_SYNC = 0.5
"""Seconds to sync a small file, above which there is a warning."""
EPOCH = 1_750_000_000
"""A time in the past (June 2025), in seconds since 1970: an earlier clock breaks HTTPS and file dates."""


class Finding(NamedTuple):
    """The result of one check; `state` is ok, warning or fault, and all but ok have a `fix`."""

    what: str
    state: str
    found: str
    fix: str = ""


@click.command()
@click.option("--full", is_flag=True, help="Also import torch and train two steps on each device.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.pass_obj
def command(zoo: Globals, full: bool, as_json: bool) -> int:
    """Check this installation and this machine: versions, plugins, processors, disk, memory, clock.

    Takes less than a second and does not import torch; --full checks torch in a child process. The exit code is 1 if
    there is a fault. Bug reports should contain the output.
    """
    findings = list(_findings(zoo))
    if full:
        from aigc_zoo.cli.probe import probe

        findings += [Finding(*row) for row in probe()]
    if as_json:
        print_json({"schema": 1, "items": [finding._asdict() for finding in findings]})
    else:
        click.echo(table([(finding.what, finding.state, finding.found) for finding in findings], cut=2))
        for finding in findings:
            if finding.fix:
                click.echo(f"{finding.what}: {finding.fix}")
    return 1 if any(finding.state == "fault" for finding in findings) else 0


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
    wrong = time.time() < EPOCH
    yield Finding(
        "clock", "fault" if wrong else "ok", clock, "set the clock; downloads fail until then" if wrong else ""
    )


def _versions() -> Iterator[Finding]:
    """Installed versions against required ones, from metadata alone."""
    from packaging.requirements import Requirement

    for name in ("torch", "numpy", "pillow", "torch-fidelity", "torchvision", "safetensors"):
        found = _version(name)
        needs = [(owner, Requirement(line)) for owner in PAIRS for line in _requires(owner)]
        wrong = [
            (owner, need)
            for owner, need in needs
            if found and canonical(need.name) == name and not need.marker
            if not need.specifier.contains(found, prereleases=True)
        ]
        fix = f'python -m pip install "{wrong[0][1]}"' if wrong else ""
        if not found:
            fix = f"python -m pip install {name}"
        state = "fault" if fix else "ok"
        yield Finding(
            name, state, "; ".join([found or "not installed", *(f"{owner} needs {need}" for owner, need in wrong)]), fix
        )


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
        yield Finding(
            "plugins", "fault", str(error).splitlines()[0], "correct this plugin, or leave out --plugin and ZOO_STRICT"
        )
        return
    yield Finding("plugins", "ok", f"{sum(record.status == 'ok' for record in records)} ok")
    for record in records:
        if record.status not in ("ok", "disabled"):
            fix = f"python -m pip uninstall {record.distribution}"
            fix += f", or set ZOO_DISABLE_PLUGINS={record.entry_point}" if record.entry_point else ""
            yield Finding("plugin", "warning", str(record), fix)


def _processors() -> Finding:
    """Usable cores and their load; Windows has no load average."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] / usable if hasattr(os, "getloadavg") else 0.0
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    text = f"{usable} usable, OMP_NUM_THREADS {threads}, load {load:.1f} per core"
    busy = load > 1.5
    fix = "other processes use them and slow down training: stop these" if busy else ""
    return Finding("processors", "warning" if busy else "ok", text, fix)


def _driver() -> Finding:
    """The version of the NVIDIA driver, which only Linux states in /proc."""
    if sys.platform != "linux":
        return Finding("GPU driver", "ok", f"not known on {sys.platform} without --full")
    try:
        first = Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
    except (OSError, IndexError):
        return Finding("GPU driver", "ok", "no NVIDIA driver: training uses the CPU")
    return Finding("GPU driver", "ok", first.removeprefix("NVRM version: "))


def _folders() -> Iterator[tuple[str, Path, str]]:
    yield "working directory", Path.cwd(), "free space, or write runs to another disk with --out"
    yield "cache", cache_folder(), "free space, or set ZOO_CACHE to another folder"


def _disk(what: str, folder: Path, fix: str) -> Iterator[Finding]:
    """Free space, and the time to sync a small file to disk, which every checkpoint waits for."""
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(existing).free
    low = free < DISK
    if not os.access(existing, os.W_OK):
        yield Finding(what, "fault", f"{folder}: not writable", fix)
        return
    try:
        seconds = min(_sync(existing) for _ in range(3))
    except OSError as error:
        yield Finding(what, "fault", f"{folder}: {error.strerror}", fix)
        return
    slow = seconds > SLOW_SYNC
    text = f"{folder}: {free >> 30} GiB free, {1000 * seconds:.1f} ms to sync a file"
    fix = fix if low else "the disk is slow: save less often (--save-every)" if slow else ""
    yield Finding(what, "warning" if low or slow else "ok", text, fix)


def _sync(folder: Path) -> float:
    """Seconds until a file of 4 KiB is synced to disk."""
    import tempfile

    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(4096))
        file.flush()
        start = time.perf_counter()
        os.fsync(file.fileno())
        return time.perf_counter() - start


def _memory() -> Finding:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return Finding("memory", "ok", f"not known on {sys.platform}")
    low = free < MEMORY
    fix = "close other programs, or reduce --batch-size" if low else ""
    return Finding("memory", "warning" if low else "ok", f"{free / 2**30:.1f} GiB free", fix)
