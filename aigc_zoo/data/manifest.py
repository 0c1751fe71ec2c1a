"""Manifests of image pools: the files that a pool was decoded from, one line each, which `zoo data verify` compares.

Each line is JSON: {"path", "size", "sha256", "mode"}, or {"path", "skipped": reason} for a file that was left out.
Tables of labels have no mode.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from aigc_zoo.errors import DataError


class Line(NamedTuple):
    """One file: relative name, bytes, SHA-256 and Pillow mode, or the reason why it was skipped."""

    path: str
    size: int = 0
    sha256: str = ""
    mode: str = ""
    skipped: str = ""


def line_of(name: str, open_file: Callable[[str], IO[bytes]]) -> Line:
    """The line of a file that is no image."""
    with open_file(name) as file:
        data = file.read()
    return Line(name, len(data), hashlib.sha256(data).hexdigest())


def text(lines: Iterable[Line]) -> bytes:
    """The manifest as it is stored, in ASCII, so that file names that are not UTF-8 survive."""
    return b"".join(json.dumps(_as_json(line)).encode() + b"\n" for line in lines)


def _as_json(line: Line) -> Mapping[str, Any]:
    if line.skipped:
        return {"path": line.path, "skipped": line.skipped}
    return {"path": line.path, "size": line.size, "sha256": line.sha256, "mode": line.mode}


def read(path: Path) -> list[Line]:
    """The lines of a manifest. Raises DataError for one that is missing or damaged."""
    try:
        return [Line(**json.loads(line)) for line in path.read_text("ascii").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read as a manifest ({error}): remove it, and the files are read again"
        ) from error


class Changes(NamedTuple):
    """Names of files that differ from a manifest."""

    changed: list[str]
    missing: list[str]
    added: list[str]

    def __bool__(self) -> bool:
        return any(self)


def compare(lines: Iterable[Line], names: Iterable[str], open_file: Callable[[str], IO[bytes]]) -> Changes:
    """Reads every file again and compares its SHA-256 with the manifest. Skipped files may have any content."""
    known, present = {line.path: line for line in lines}, set(names)
    changed = []
    for name, line in known.items():
        if name in present and not line.skipped:
            try:
                with open_file(name) as file:
                    same = hashlib.sha256(file.read()).hexdigest() == line.sha256
            except Exception:  # a damaged member of an archive can raise any exception
                same = False
            if not same:
                changed.append(name)
    missing = [name for name, line in known.items() if name not in present and not line.skipped]
    return Changes(changed, missing, sorted(present - known.keys()))
