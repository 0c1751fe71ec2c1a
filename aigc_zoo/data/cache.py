"""Decoded pools, kept between runs: one safetensors file a source, written once, memory-mapped ever after."""

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

from aigc_zoo.artefacts.atomic import make_folder, replacing, write_bytes
from aigc_zoo.artefacts.lock import locked
from aigc_zoo.data.place import cache_folder
from aigc_zoo.data.samples import digest_of
from aigc_zoo.errors import StorageError

Array = np.ndarray[Any, Any]

MANIFEST = ".manifest.jsonl"

_KINDS = {"uint8": "U8", "int64": "I64"}
_UNKNOWN = "0" * 64


class Plan(NamedTuple):
    """What is to be kept: arrays "split/field" by (dtype, shape), texts beside them, and what fills the arrays.

    `manifest` is asked once they are filled; its bytes stand beside the pool before the pool does.
    """

    arrays: Mapping[str, tuple[str, tuple[int, ...]]]
    notes: Mapping[str, str]
    fill: Callable[[Mapping[str, Array]], None]
    manifest: Callable[[], bytes] | None = None


class Kept(NamedTuple):
    """`tensors` by "split/field", mapped from the file; `digests` of each split's fields; the file."""

    tensors: dict[str, Tensor]
    notes: dict[str, str]
    digests: dict[str, str]
    path: Path

    @property
    def manifest(self) -> Path:
        """Where the files are listed that the pool was read from."""
        return self.path.with_suffix(MANIFEST)

    def split(self, split: str) -> dict[str, Tensor]:
        return {name.partition("/")[2]: t for name, t in self.tensors.items() if name.startswith(f"{split}/")}


def remembered(name: str, source: str, state: str, plan: Callable[[], Plan]) -> Kept:
    """The pool of `source` in its present `state`: from the cache, else as `plan()` says, which is then kept.

    `name` is for people who look into the folder. The pool of an earlier state is removed. A file that is cut short or
    is not what it should be is made anew. Raises what `plan` and its `fill` raise, StorageError for a full disk.
    """
    stem = _stem(name, source)
    folder = cache_folder() / "pools"
    path = folder / f"{stem}-{_digest(state)[:16]}.safetensors"
    known = {"source": _digest(source), "state": _digest(state)}
    kept = _recall(path, known)
    if kept is not None:
        return kept
    try:
        make_folder(folder)
        with locked(folder / f"{stem}.lock"):
            kept = _recall(path, known)
            if kept is None:
                for kind in (f".{stem}-*.tmp", f"{stem}-*.safetensors", f"{stem}-*{MANIFEST}"):
                    for left in folder.glob(kind):
                        left.unlink(missing_ok=True)
                _keep(path, known, plan())
                kept = _recall(path, known)
    except StorageError as error:
        reason = str(error).splitlines()[0].partition(": free space")[0].partition(": choose another --out")[0]
        raise StorageError(
            f"{reason}\nthe pool of {name} is kept there: set ZOO_CACHE to a folder with room"
        ) from error
    assert kept is not None
    return kept


def manifest_of(name: str, source: str) -> Path | None:
    """The manifest of the last pool of a source, whatever state the source is in by now; None where there is none."""
    found = sorted((cache_folder() / "pools").glob(f"{_stem(name, source)}-*{MANIFEST}"))
    return found[-1] if found else None


def _stem(name: str, source: str) -> str:
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[:40]}-{_digest(source)[:12]}"


def _recall(path: Path, known: Mapping[str, str]) -> Kept | None:
    """What the file holds, mapped; None where it is absent, damaged or about something else."""
    try:
        with safe_open(path, framework="pt") as file:
            notes = dict(file.metadata() or {})
            if any(notes.pop(key, None) != value for key, value in known.items()):
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
    except (SafetensorError, OSError):
        return None
    digests = {name.partition("/")[2]: notes.pop(name) for name in list(notes) if name.startswith("digest/")}
    return Kept(tensors, notes, digests, path)


def _keep(path: Path, known: Mapping[str, str], plan: Plan) -> None:
    """Writes the file of a plan. Its arrays are filled in the file itself, so that they need not fit in memory."""
    # Arrays of large items first: all then begin at a multiple of their items' size.
    order = sorted(plan.arrays, key=lambda name: (-np.dtype(plan.arrays[name][0]).itemsize, name))
    splits = sorted({name.partition("/")[0] for name in order})
    notes = {**plan.notes, **known, **{f"digest/{split}": _UNKNOWN for split in splits}}
    entries: dict[str, dict[str, Any]] = {}
    end = 0
    for name in order:
        dtype, shape = plan.arrays[name]
        start, end = end, end + math.prod(shape) * np.dtype(dtype).itemsize
        entries[name] = {"dtype": _KINDS[dtype], "shape": list(shape), "data_offsets": [start, end]}
    first = len(_header(notes, entries))
    with replacing(path) as file:
        if hasattr(os, "posix_fallocate"):  # not on Windows and macOS
            # On a disk without room, a write through the mapping would end the process by a signal.
            os.posix_fallocate(file.fileno(), 0, first + end)
        else:
            file.truncate(first + end)
        whole = np.memmap(file.name, np.uint8, "r+", shape=(first + end,))
        arrays = {}
        for name, entry in entries.items():
            start, stop = (first + offset for offset in entry["data_offsets"])
            dtype, shape = plan.arrays[name]
            arrays[name] = whole[start:stop].view(dtype).reshape(shape)
        plan.fill(arrays)
        if plan.manifest is not None:
            write_bytes(path.with_suffix(MANIFEST), plan.manifest())
        for split in splits:
            fields = {n.partition("/")[2]: torch.from_numpy(a) for n, a in arrays.items() if n.startswith(f"{split}/")}
            notes[f"digest/{split}"] = digest_of(fields)
        whole.flush()
        file.write(_header(notes, entries))


def _header(notes: Mapping[str, str], entries: Mapping[str, Any]) -> bytes:
    """How a safetensors file begins; of the same length whatever the digests are."""
    text = json.dumps({"__metadata__": notes, **entries}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()  # names of files need not be UTF-8
