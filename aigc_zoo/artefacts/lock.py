"""A folder that one process holds at a time, through `flock`: the system drops the lock when the process dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from aigc_zoo.artefacts.atomic import explained, make_folder
from aigc_zoo.errors import LockedError

NAME = ".lock"
TRIES = 100  # half a second, for holders that come, go, or have not yet written their number


def hold(folder: Path) -> int:
    """Makes the folder and locks it; returns the descriptor for `let_go`. Raises LockedError, naming the process."""
    for _ in range(TRIES):
        make_folder(folder)
        with explained(folder):
            try:
                descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:  # its last holder has just removed the folder
                continue
            if _taken(descriptor, folder / NAME):
                return descriptor
            process = _holder(descriptor)
            os.close(descriptor)
        if process:
            raise LockedError(f"run {folder} is being written by process {process}: wait, or choose another --out")
        time.sleep(0.005)
    raise LockedError(f"run {folder} is being written by another process: wait, or choose another --out")


def let_go(descriptor: int) -> None:
    """Unlocks, and leaves no number behind that the next holder could be taken for."""
    os.ftruncate(descriptor, 0)
    os.close(descriptor)


def _taken(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between open and lock the file may have been renamed or removed: then this is not the folder's lock.
        if not os.path.samestat(os.fstat(descriptor), path.stat()):
            return False
    except (BlockingIOError, FileNotFoundError):
        return False
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    return True


def _holder(descriptor: int) -> int:
    """The process that wrote its number; 0 where there is none, or one that was killed."""
    text = os.pread(descriptor, 32, 0).strip()
    if not text.isdigit():
        return 0
    process = int(text)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return 0
    except PermissionError:  # it lives, and is another user's
        return process
    return process
