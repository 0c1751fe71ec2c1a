"""Cache of decoded datasets: one safetensors file per source, written once and memory-mapped afterwards."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from aigc_zoo.artefacts.atomic import ELSEWHERE, make_folder, replacing, write_bytes
from aigc_zoo.artefacts.lock import locked
from aigc_zoo.data.place import cache_folder
from aigc_zoo.data.samples import digest_of
from aigc_zoo.errors import StorageError

Array = np.ndarray[Any, Any]

MANIFEST = ".manifest.jsonl"

_DTYPES = {"uint8": "U8", "int64": "I64"}
_UNKNOWN = "0" * 64


class Plan(NamedTuple):
    """Content of a pool: (dtype, shape) of the arrays "split/field", texts, and the function that fills the arrays.

    `manifest` is called after that; its bytes are written beside the pool, before the pool gets its name.
    """

    arrays: Mapping[str, tuple[str, tuple[int, ...]]]
    notes: Mapping[str, str]
    fill: Callable[[Mapping[str, Array]], None]
    manifest: Callable[[], bytes] | None = None


class CachedPool(NamedTuple):
    """A memory-mapped pool: `tensors` by "split/field", texts, the digest of each split's fields, and the file."""

    tensors: dict[str, Tensor]
    notes: dict[str, str]
    digests: dict[str, str]
    path: Path

    @property
    def manifest(self) -> Path:
        """The file that lists the image files that the pool was read from."""
        return self.path.with_suffix(MANIFEST)

    def split(self, split: str) -> dict[str, Tensor]:
        """The tensors of one split by field."""
        return {name.partition("/")[2]: t for name, t in self.tensors.items() if name.startswith(f"{split}/")}


def cached_pool(name: str, source: str, state: str, plan: Callable[[], Plan]) -> CachedPool:
    """The pool of `source` in its current `state`, from the cache; otherwise it is written there by `plan()`.

    `name` makes the file name readable. The pool of an earlier state is deleted, and a damaged file is written again.
    Raises any exception of `plan` and its `fill`, and StorageError for a full disk.
    """
    stem = _stem(name, source)
    folder = cache_folder() / "pools"
    path = folder / f"{stem}-{_digest(state)[:16]}.safetensors"
    identity = {"source": _digest(source), "state": _digest(state)}
    pool = _open(path, identity)
    if pool is not None:
        return pool
    try:
        make_folder(folder)
        with locked(folder / f"{stem}.lock"):
            pool = _open(path, identity)
            if pool is None:
                for pattern in (f".{stem}-*.tmp", f"{stem}-*.safetensors", f"{stem}-*{MANIFEST}"):
                    for old in folder.glob(pattern):
                        old.unlink(missing_ok=True)
                _write(path, identity, plan())
                pool = _open(path, identity)
    except StorageError as error:
        reason = str(error).splitlines()[0].partition(": free space")[0].partition(f": {ELSEWHERE}")[0]
        raise StorageError(
            f"{reason}\nthe decoded dataset {name} is cached there: set ZOO_CACHE to a folder with enough space"
        ) from error
    assert pool is not None
    return pool


def file_state(status: os.stat_result) -> str:
    """Size, times and inode of a file, by which the cache sees a change.

    A program can restore the modification time of a file that it rewrites, but not the time of its last status change;
    a file that is put in the place of another has another inode.
    """
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_dev}:{status.st_ino}"


def manifest_of(name: str, source: str) -> Path | None:
    """The manifest of the last pool of a source, even if the source has changed since; None where there is none."""
    found = sorted((cache_folder() / "pools").glob(f"{_stem(name, source)}-*{MANIFEST}"))
    return found[-1] if found else None


def _stem(name: str, source: str) -> str:
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[:40]}-{_digest(source)[:12]}"


def _open(path: Path, identity: Mapping[str, str]) -> CachedPool | None:
    """The pool in the file, memory-mapped; None where the file is absent, damaged or of another source or state."""
    try:
        with safe_open(path, framework="pt") as file:
            notes = dict(file.metadata() or {})
            if any(notes.pop(key, None) != value for key, value in identity.items()):
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (the file is not a mapping)
    except (SafetensorError, OSError):
        return None
    digests = {name.partition("/")[2]: notes.pop(name) for name in list(notes) if name.startswith("digest/")}
    return CachedPool(tensors, notes, digests, path)


def _write(path: Path, identity: Mapping[str, str], plan: Plan) -> None:
    """Writes the file of a plan. The arrays are filled in the file itself, so they need not fit in memory."""
    # Arrays with large items first, so that each begins at a multiple of its item size.
    order = sorted(plan.arrays, key=lambda name: (-np.dtype(plan.arrays[name][0]).itemsize, name))
    splits = sorted({name.partition("/")[0] for name in order})
    notes = {**plan.notes, **identity, **{f"digest/{split}": _UNKNOWN for split in splits}}
    entries: dict[str, dict[str, Any]] = {}
    end = 0
    for name in order:
        dtype, shape = plan.arrays[name]
        start, end = end, end + math.prod(shape) * np.dtype(dtype).itemsize
        entries[name] = {"dtype": _DTYPES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    first = len(_header(notes, entries))
    with replacing(path) as file:
        if hasattr(os, "posix_fallocate"):  # not on Windows and macOS
            # On a disk without room, a write through the mapping would end the process by a signal.
            os.posix_fallocate(file.fileno(), 0, first + end)
        else:
            file.truncate(first + end)
        content = np.memmap(file.name, np.uint8, "r+", shape=(first + end,))
        arrays = {}
        for name, entry in entries.items():
            start, stop = (first + offset for offset in entry["data_offsets"])
            dtype, shape = plan.arrays[name]
            arrays[name] = content[start:stop].view(dtype).reshape(shape)
        plan.fill(arrays)
        if plan.manifest is not None:
            write_bytes(path.with_suffix(MANIFEST), plan.manifest())
        for split in splits:
            fields = {n.partition("/")[2]: torch.from_numpy(a) for n, a in arrays.items() if n.startswith(f"{split}/")}
            notes[f"digest/{split}"] = digest_of(fields)
        content.flush()
        file.write(_header(notes, entries))


def _header(notes: Mapping[str, str], entries: Mapping[str, Any]) -> bytes:
    """The header of a safetensors file, whose length does not depend on the digests."""
    text = json.dumps({"__metadata__": notes, **entries}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()  # file names need not be UTF-8
