"""Locks on files that the system drops when their holder dies: `flock` on Unix, a locked byte on Windows.

The descriptor of a lock is ours and `filelock` locks it: a run directory may be renamed or removed between opening and
locking its lock file, which only a comparison of that descriptor with the path shows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import lock_descriptor

from aigc_zoo.artefacts.atomic import explained, make_folder
from aigc_zoo.errors import LockedError, StorageError

NAME = ".lock"
TRIES = 100
"""Attempts, half a second in all: the holder may be about to release, or may not have written its process id yet."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file `path` inside the block, after waiting until no other process does."""
    try:
        descriptor = _open(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    try:
        lock_descriptor(descriptor)
        yield
    finally:
        os.close(descriptor)


ELSEWHERE = "choose another --out"
"""How the commands that write runs choose another directory."""


def acquire(directory: Path) -> int:
    """Creates the directory and locks it; returns the descriptor for `release`.

    Raises LockedError, which names the process that holds the lock, and StorageError.
    """
    for _ in range(TRIES):
        make_folder(directory, ELSEWHERE)
        with explained(directory, ELSEWHERE):
            try:
                descriptor = _open(directory / NAME)
            except FileNotFoundError:  # the last holder has just removed the directory
                continue
            if _lock(descriptor, directory / NAME):
                return descriptor
            process = _holder(descriptor)
            os.close(descriptor)
        if process:
            raise LockedError(f"run {directory} is being written by process {process}: wait, or {ELSEWHERE}")
        time.sleep(0.005)
    raise LockedError(f"run {directory} is being written by another process: wait, or {ELSEWHERE}")


def release(descriptor: int) -> None:
    """Unlocks, and erases the process id, so that it cannot be mistaken for that of the next holder."""
    os.ftruncate(descriptor, 0)
    os.close(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def _lock(descriptor: int, path: Path) -> bool:
    """Locks the file and writes the process id into it. Returns False where another process holds the lock."""
    try:
        if not lock_descriptor(descriptor, blocking=False):
            return False
        # If the file was renamed or removed between open and lock, this is no longer the lock of the directory.
        if not os.path.samestat(os.fstat(descriptor), path.stat()):
            return False
    except FileNotFoundError:
        return False
    os.ftruncate(descriptor, 0)
    os.write(descriptor, b"%d\n" % os.getpid())
    return True


def _holder(descriptor: int) -> int:
    """The process whose id is in the lock file; 0 where there is none or it has died.

    Windows does not let other processes read a locked file, and `os.kill` ends the process there.
    """
    if os.name == "nt":
        return 0
    text = os.read(descriptor, 32).strip()
    if not text.isdigit():
        return 0
    process = int(text)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return 0
    except PermissionError:  # it is alive and belongs to another user
        return process
    return process
