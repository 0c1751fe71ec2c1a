"""Atomic writes: a temporary file in the same folder, fsync, rename, fsync of the folder.

A process killed at any moment leaves the old file or the new one, and at most a temporary file that `sweep` removes.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from aigc_zoo.errors import StorageError

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
ELSEWHERE = "write to another place"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def explained(path: Path, elsewhere: str = ELSEWHERE) -> Iterator[None]:
    """Converts an OSError inside the block into a StorageError that names `path`, the reason and the fix.

    `elsewhere` says how the user chooses another place.
    """
    try:
        yield
    except OSError as error:
        reason = "a file of that name exists" if isinstance(error, FileExistsError) else error.strerror or str(error)
        fix = f"free space there, or {elsewhere}" if error.errno in _FULL else elsewhere
        raise StorageError(f"cannot write {path}: {reason}: {fix}") from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file for writing, which durably replaces `path` when the block ends without an error.

    Its mode follows the umask. Raises StorageError where the system refuses (permissions, a full disk).
    """
    with explained(path):
        if not path.name:  # "." or "/", and "" is "."
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` to `path` atomically. Raises StorageError."""
    with replacing(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` in UTF-8, atomically; a byte of a file name that is not UTF-8 becomes ?.

    Raises StorageError.
    """
    write_bytes(path, text.encode("utf-8", "replace"))


def write_json(path: Path, value: Any) -> None:
    """Writes `value` to `path` as indented JSON, atomically. Raises StorageError, and ValueError for NaN."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def append_line(path: Path, text: str, *, sync: bool = False) -> None:
    """Appends a line in one write, so that lines of two writers never mix; `sync` calls fsync. Raises StorageError."""
    data = text.encode() + b"\n"
    with explained(path):
        new = sync and not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            size = os.fstat(descriptor).st_size
            if os.write(descriptor, data) < len(data):
                # A full disk takes what fits. The incomplete line is removed, so that the next one starts a new line.
                os.ftruncate(descriptor, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            sync_folder(path.parent)  # otherwise a loss of power could lose the new file with all its lines


def make_folder(path: Path, elsewhere: str = ELSEWHERE) -> None:
    """Creates the folder and its parents, durably. Raises StorageError."""
    if path.is_dir():
        return
    make_folder(path.parent, elsewhere)
    with explained(path, elsewhere):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Calls fsync on the folder, before which a rename in it is not durable."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows cannot open a directory
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder and report it; PostgreSQL ignores the same two errors.
        if error.errno not in (errno.EINVAL, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def sweep(folder: Path, recursive: bool = False) -> list[Path]:
    """Removes temporary files that killed writers left, and returns them. Only the folder's one writer may call it."""
    found = folder.rglob("*.tmp") if recursive else folder.glob("*.tmp")
    left = sorted(path for path in found if _TEMPORARY.fullmatch(path.name))
    with explained(folder):
        for path in left:
            path.unlink(missing_ok=True)
    return left
