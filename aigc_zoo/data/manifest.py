"""What a pool of images was read from: a line for each file, written when files are first decoded, checked on request.

A line of JSON: {"path", "size", "sha256", "mode"}, or {"path", "skipped": reason} for a file that was left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from aigc_zoo.errors import DataError


class Line(NamedTuple):
    """A file: its relative name, bytes, SHA-256 and Pillow's name for its kind of pixels; or why it was skipped."""

    path: str
    size: int = 0
    sha256: str = ""
    mode: str = ""
    skipped: str = ""


def text(lines: Iterable[Line]) -> bytes:
    """The manifest as it is stored. Names that are no UTF-8 come back as they were."""
    return b"".join(json.dumps(_plain(line)).encode() + b"\n" for line in lines)


def _plain(line: Line) -> Mapping[str, Any]:
    if line.skipped:
        return {"path": line.path, "skipped": line.skipped}
    return {"path": line.path, "size": line.size, "sha256": line.sha256, "mode": line.mode}


def read(path: Path) -> list[Line]:
    """Raises DataError for a manifest that is missing or damaged."""
    try:
        return [Line(**json.loads(line)) for line in path.read_text("ascii").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read as a manifest ({error}): remove it, and files are read anew") from error


class Changes(NamedTuple):
    """Names that differ from a manifest."""

    changed: list[str]
    missing: list[str]
    added: list[str]

    def __bool__(self) -> bool:
        return any(self)


def compare(lines: Iterable[Line], names: Iterable[str], open_file: Callable[[str], IO[bytes]]) -> Changes:
    """Reads every file again and says which are not what they were. Skipped ones may be anything."""
    known, present = {line.path: line for line in lines}, set(names)
    changed = []
    for name, line in known.items():
        if name in present and not line.skipped:
            try:
                with open_file(name) as file:
                    same = hashlib.sha256(file.read()).hexdigest() == line.sha256
            except Exception:  # a damaged member of an archive raises anything
                same = False
            if not same:
                changed.append(name)
    missing = [name for name, line in known.items() if name not in present and not line.skipped]
    return Changes(changed, missing, sorted(present - known.keys()))
