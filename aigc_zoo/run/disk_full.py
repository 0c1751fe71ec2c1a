"""Keeps a run alive while the disk is full: a file that cannot be written is reported, and training continues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aigc_zoo.errors import StorageError

FAILURES = 3
"""Number of consecutive checkpoints that may fail to be saved; the last of them ends the run."""


class TolerateFullDisk:
    """`with tolerate("grid"): ...` reports a StorageError with `say` instead of raising it.

    Consecutive failures of one kind of file are reported once. An `essential` file (a checkpoint) is reported each
    time, and after FAILURES consecutive failures the error is raised.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._failed: Counter[str] = Counter()

    @contextmanager
    def __call__(self, file: str, *, essential: bool = False) -> Iterator[None]:
        try:
            yield
        except StorageError as error:
            self._failed[file] += 1
            failures, (first, *_) = self._failed[file], str(error).splitlines()
            if essential and failures >= FAILURES:
                raise StorageError(
                    f"{first}\n{failures} {file}s in a row could not be saved, so training stops; "
                    f"the same command resumes from the last {file} that was saved"
                ) from error
            if essential or failures == 1:
                self._say(f"warning: {first}; training continues without this {file}")
        else:
            del self._failed[file]
